"""Body models: packs made from the official files, their checks, and the SMPL body in NumPy."""
