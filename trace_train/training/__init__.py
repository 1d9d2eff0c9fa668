"""The trainer: training loop, weight update, multi-process training, precision, stages, optimiser."""
