"""Finds losses without any valid entry, from a few clips, before hours of training."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from trace_data.progress import counted
from trace_data.shards.reader import ShardReader
from trace_data.shards.storage.store import Store
from trace_train.build import body_layers
from trace_train.config import Config, at_stage, stage_name
from trace_train.network.flow import NoFlow
from trace_train.network.model import TraceNetwork
from trace_train.streaming.batch import collate
from trace_train.streaming.stream import TrainStream, load_clip
from trace_train.training.loss_module import LossModule
from trace_train.training.update import valid_counts

LOOKED_AT = 8
"""Clips checked per dataset and stage, the first ones of an epoch."""
MOST = 500
"""Number of clips of an epoch searched for those of every dataset."""


def terms_without_entries(config: Config, store: Store, packs: Path, network: TraceNetwork) -> list[str]:
    """A message for each stage in which some loss has no valid entry. Raises ShardError, AssetError."""
    stream = TrainStream(ShardReader(store), config)
    layer = body_layers(packs)["neutral"]
    lines = []
    for number in range(len(config.stages)):
        module = LossModule(network, layer, at_stage(config, number), NoFlow())
        sampler, datasets = stream.samplers[number], Counter[str]()
        clips = []
        for position in range(min(MOST, len(sampler))):
            ref = sampler.clip(0, position)
            dataset = stream.reader.index.sequences[ref.sequence].dataset
            if datasets[dataset] < LOOKED_AT:
                datasets[dataset] += 1
                clips.append(load_clip(stream.reader, ref, config.network.input_size))
        counts = valid_counts(module, [collate([clip]) for clip in clips])
        if absent := [name for name, count in counts.items() if not int(count)]:
            lines.append(
                f"stage {stage_name(config, number)}: no entry in {counted(len(clips), 'clip')} of"
                f" {', '.join(datasets)} for {', '.join(absent)}: nothing in these shards may teach it"
            )
    return lines
