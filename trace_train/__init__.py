"""Network, trainer and evaluation."""
