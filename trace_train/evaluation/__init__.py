"""Scores of a network on held-out videos: camera, detection, world."""
