"""Rotations, the crop's camera model and Procrustes alignment in torch."""
