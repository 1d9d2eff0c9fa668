"""The SMPL body layer in torch."""
