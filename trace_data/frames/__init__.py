"""Pixels of sequences: image files and video frames."""
