"""Training batches from shards: views, augmentation, decoding."""
