"""Finds what each source teaches, and losses without any valid entry, from a few clips, before hours of training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trace_data.progress import counted
from trace_data.shards.entries import ShardIndex
from trace_data.shards.reader import ShardReader
from trace_data.shards.storage.store import Store
from trace_train.build import body_layers
from trace_train.config import Config, at_stage, stage_name
from trace_train.losses.table import LOSSES
from trace_train.network.flow import NoFlow
from trace_train.network.model import TraceNetwork
from trace_train.protocols.loading import APPROXIMATE
from trace_train.streaming.batch import LoadedClip, collate
from trace_train.streaming.stream import TrainStream, load_clip, mixing
from trace_train.training.loss_module import LossModule
from trace_train.training.update import valid_counts

LOOKED_AT = 8
"""Clips checked per dataset and stage, the first ones of an epoch."""
MOST = 500
"""Number of clips of an epoch searched for those of every dataset."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceEntries:
    """What some clips of one dataset hold for the losses of a stage."""

    stage: str
    dataset: str
    share: float
    """Of the clips drawn in the stage."""
    clips: int
    counts: dict[str, int]
    """Valid entries by loss."""
    shapes: bool
    """Whether any shape is known; losses have entries for unknown ones too, which pull them to the mean."""


def count_entries(config: Config, store: Store, packs: Path, network: TraceNetwork) -> list[SourceEntries]:
    """Valid entries of every loss for every stage and dataset. Raises ShardError, AssetError."""
    stream = TrainStream(ShardReader(store), config)
    layer = body_layers(packs)["neutral"]
    found = []
    for number in range(len(config.stages)):
        module = LossModule(network, layer, at_stage(config, number), NoFlow())
        sampler = stream.samplers[number]
        weights, _ = mixing(config.data, sampler.tables)
        weights = weights or {name: len(table) for name, table in sampler.tables.items()}
        clips: dict[str, list[LoadedClip]] = {}
        for position in range(min(MOST, len(sampler))):
            ref = sampler.clip(0, position)
            own = clips.setdefault(stream.reader.index.sequences[ref.sequence].dataset, [])
            if len(own) < LOOKED_AT:
                own.append(load_clip(stream.reader, ref, config.network.input_size))
        for dataset, own in clips.items():
            counts = valid_counts(module, [collate([clip]) for clip in own])
            found.append(
                SourceEntries(
                    stage=stage_name(config, number),
                    dataset=dataset,
                    share=weights[dataset] / sum(weights.values()),
                    clips=len(own),
                    counts={name: int(count) for name, count in counts.items()},
                    shapes=any(clip.annotations.masks["shape"].any() for clip in own),
                )
            )
    return found


def terms_without_entries(found: Sequence[SourceEntries]) -> list[str]:
    """A message for each stage in which some loss has no valid entry."""
    lines = []
    for stage in dict.fromkeys(one.stage for one in found):
        sources = [one for one in found if one.stage == stage]
        if absent := [name for name in sources[0].counts if not sum(one.counts[name] for one in sources)]:
            clips = counted(sum(one.clips for one in sources), "clip")
            lines.append(
                f"stage {stage}: no entry in {clips} of {', '.join(one.dataset for one in sources)} for"
                f" {', '.join(absent)}: nothing in these shards may teach it"
            )
    return lines


def taught_by_sources(found: Sequence[SourceEntries], index: ShardIndex) -> list[str]:
    """A line for each dataset: its share, whether its cameras move, and what its clips teach over all stages."""
    lines = []
    for dataset in dict.fromkeys(one.dataset for one in found):
        own = [one for one in found if one.dataset == dataset]
        terms = dict.fromkeys(name for one in own for name in one.counts)
        taught = [name for name in terms if any(one.counts.get(name) for one in own)]
        headings = list(dict.fromkeys(LOSSES[name].heading for name in taught))
        if not any(one.shapes for one in own):
            headings = [heading for heading in headings if heading != "shape"]
        nothing = [name for name in terms if name not in taught]
        entries = [entry for entry in index.sequences if entry.dataset == dataset and entry.split == "train"]
        moving = sum(entry.moving for entry in entries)
        cameras = "still cameras" if not moving else "moving cameras"
        if 0 < moving < len(entries):
            cameras = f"{moving:,} of {len(entries):,} cameras move"
        shares = list(dict.fromkeys(f"{one.share:.0%}" for one in own))
        lines.append(
            f"{dataset}: {', '.join(shares)} of the clips, {cameras}; teaches {', '.join(headings) or 'nothing'}"
            + (f"; nothing of {', '.join(nothing)}" if nothing else "")
            + ("; poses are those of SMPL-X, about" * any(APPROXIMATE in entry.provenance for entry in entries))
        )
    return lines
