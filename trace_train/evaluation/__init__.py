"""Evaluation on held-out videos: detection, errors in the camera frame and in the world."""
