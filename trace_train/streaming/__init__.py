"""Shards become training batches: views, augmentation, decoding."""
