"""Checkpoints, and released weights in and out."""
