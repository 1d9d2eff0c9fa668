"""From maps to people: detections, and trajectories in the world."""
