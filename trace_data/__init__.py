"""TRACE toolkit without torch: datasets, body models and shards on disk."""
