"""Rotations, the camera of the crop, Procrustes alignment, in torch."""
