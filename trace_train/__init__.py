"""The part of the toolkit that learns: network, trainer, evaluation."""
