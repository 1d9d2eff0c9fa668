"""Datasets become shards: what goes where, worker processes, resumption."""
