"""Body models: official files in, packs out, and the SMPL body in NumPy."""
