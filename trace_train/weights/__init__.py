"""Checkpoints, and import and export of released weights."""
