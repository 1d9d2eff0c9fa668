"""Predictions on disk: the result file, its reader and its writer. No torch."""
