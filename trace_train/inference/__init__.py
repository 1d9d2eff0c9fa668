"""Decoding of the network's maps: detections, and trajectories in the world."""
