"""Optical flow stored beside shards: one file for each shard, and `flow.json`, written last."""
