"""Monitoring of a run: unusual losses, non-finite values, TensorBoard and Weights & Biases."""
