"""How far clips are mixed: over everything in a folder, over a window of shards where they have to be fetched."""

from __future__ import annotations

from trace_data.shards.reader import ShardReader
from trace_data.shards.storage.store import LocalStore
from trace_train.config import Config

MOST_SHARDS = 32
"""In an automatic window. The first batches need nearly all of them, 16 GB of the usual size; with five sequences a
shard two clips of a batch then come from the same sequence in one of 160 pairs."""


def with_shuffle_window(config: Config, reader: ShardReader) -> Config:
    """The configuration with the automatic `data.shuffle_window` replaced by a number, which a run then keeps: the
    order of clips must not change with the size of a cache."""
    if config.data.shuffle_window is not None:
        return config
    data = config.data.model_copy(update={"shuffle_window": automatic_window(config, reader)})
    return config.model_copy(update={"data": data})


def automatic_window(config: Config, reader: ShardReader) -> int:
    """0 for a folder; for a URL as many training shards of each dataset as together fit half of the cache, at least 1.

    Half, so that the next window is fetched while this one is in use.
    """
    store = reader.store
    if isinstance(store, LocalStore):
        return 0
    shards = [entry for entry in reader.index.shards if entry.split == "train"]
    datasets = {entry.dataset for entry in shards if _drawn(config, entry.dataset)}
    largest = max((entry.bytes for entry in shards), default=1)
    return max(1, min(MOST_SHARDS, store.cache.limit // (2 * largest)) // max(1, len(datasets)))


def _drawn(config: Config, dataset: str) -> bool:
    data = config.data
    if data.weights is not None:
        return data.weights.get(dataset, 0.0) > 0
    return dataset not in data.datasets or data.datasets[dataset].share != 0
