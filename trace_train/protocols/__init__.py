"""Evaluation protocols and published scores as data: what a number means, and whose numbers mean the same."""
