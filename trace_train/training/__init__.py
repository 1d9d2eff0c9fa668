"""The trainer: the loop, one update, processes, precision, stages, optimizer."""
