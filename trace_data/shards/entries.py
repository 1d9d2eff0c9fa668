"""Entries of `index.json` for shards and sequences. The types are its schema, used by `index.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import ConfigDict, Field

from trace_data.schema.clip import ClipRef

LARGEST = 1 << 62
"""Maximum of integers in an index, so that sums of a few of them do not overflow."""
Count = Annotated[int, Field(ge=0, le=LARGEST)]
Whole = Annotated[int, Field(ge=-LARGEST, le=LARGEST)]
Run = tuple[Count, Count]
NOTHING_ELSE = ConfigDict(extra="forbid")
"""Unknown keys in an entry are errors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardEntry:
    """One shard file."""

    __pydantic_config__ = NOTHING_ELSE

    file: str
    """Name within the folder."""
    dataset: str
    split: str
    bytes: Count
    """Length of the file."""
    sha256: str
    """SHA-256 of the whole file, hexadecimal."""
    sequences: Count
    frames: Count
    rows: Count
    """Person-frame rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceEntry:
    """One sequence, with all that is needed to list its valid clips without opening the shard."""

    __pydantic_config__ = NOTHING_ELSE

    dataset: str
    split: str
    name: str
    """Sequence name within dataset and split."""
    shard: Count
    """Row in `ShardIndex.shards`."""
    first_frame: Count
    """Number of its first frame within the shard."""
    frames: Count
    """Number of frames T."""
    people: tuple[str, ...]
    """Names of its people; a row's `people/person` counts in this list."""
    first_person: Count
    """Number of its first person over the whole index."""
    fps: float
    width: Count
    """Original frame width, px."""
    height: Count
    """Original frame height, px."""
    moving: bool
    """Whether the camera moves."""
    world_valid: bool
    world_reason: str
    synthetic: bool
    """Whether the sequence comes from the sample world."""
    frame_id_runs: tuple[tuple[Whole, Whole, Count], ...]
    """(first id, step, count) of consecutive frames with equally spaced ids."""
    usable: tuple[tuple[Run, ...], ...]
    """For each person the ranges [first, end) of frames in which it is visible and supervised."""
    provenance: Mapping[str, str]
    """Release, layout, adapter and defects applied."""

    @property
    def key(self) -> str:
        """`dataset/split/name`."""
        return f"{self.dataset}/{self.split}/{self.name}"

    def frame_ids(self) -> npt.NDArray[np.int64]:
        """(T,) the release's frame numbers."""
        runs = [first + step * np.arange(count, dtype=np.int64) for first, step, count in self.frame_id_runs]
        return np.concatenate(runs) if runs else np.zeros(0, np.int64)

    def clip_ids(self, ref: ClipRef) -> npt.NDArray[np.int64]:
        """(T,) frame numbers of a clip."""
        return self.frame_ids()[ref.start :: ref.stride][: ref.length]


@dataclass(frozen=True, slots=True, kw_only=True)
class BadSequence:
    """A sequence that was left out of a build, with the reason."""

    __pydantic_config__ = NOTHING_ELSE

    key: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardIndex:
    """The content of `index.json` and its location."""

    folder: Path | str
    """The folder, or its URL without secrets."""
    shards: tuple[ShardEntry, ...]
    sequences: tuple[SequenceEntry, ...]
    bad: tuple[BadSequence, ...]
    """Sequences left out."""
    settings: Mapping[str, Any]
    """Settings of the build, and the SHA-256 of its body models."""
    provenance: Mapping[str, str] = field(default_factory=dict)
    """Versions of the tool, of the encoder and of HDF5."""
    datasets: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    """Per dataset, the provenance of its sequences: release, layout, adapter, defects applied."""
    enlarged_crops: Mapping[str, int] = field(default_factory=dict)
    """Counts of typical crops by enlargement, see `levels.ENLARGEMENT_BINS`."""

    @property
    def synthetic(self) -> bool:
        """Whether any sequence comes from the sample world."""
        return any(entry.synthetic for entry in self.sequences)

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that have sequences, sorted."""
        return tuple(sorted({entry.split for entry in self.sequences}))

    @property
    def people(self) -> int:
        """Number of people over all sequences."""
        return sum(len(entry.people) for entry in self.sequences)


SPLITS = {
    "3dpw": ("train", "val", "test"),
    "bedlam": ("train", "val"),
    "bedlam2": ("train",),
    "dynacam": ("train", "val", "test"),
    "emdb": ("test",),
    "h36m": ("train", "val"),
    "mpi-inf-3dhp": ("train", "val", "test"),
    "mupots": ("test",),
    "penn-action": ("train", "test"),
    "rich": ("train", "val", "test"),
}
"""The splits of each dataset that comes with the project, as its adapter has them."""


def build_split(index: ShardIndex, split: str) -> str:
    """The command that builds a split that an index lacks, of those of its datasets that have it."""
    held = sorted({entry.dataset for entry in index.sequences})
    able = [name for name in held if split in SPLITS.get(name, (split,))]
    if held and not able:
        others = [name for name, splits in SPLITS.items() if split in splits]
        return f"{', '.join(held)} has no split {split!r}; {', '.join(others)} have one" if others else ""
    return " ".join(["trace build-shards", *able, f"--split {split}"])


def numbered(shards: Sequence[Sequence[SequenceEntry]]) -> tuple[SequenceEntry, ...]:
    """The sequences of these shards, with shard and people numbered over the whole index."""
    entries: list[SequenceEntry] = []
    people = 0
    for shard, own in enumerate(shards):
        for entry in own:
            entries.append(replace(entry, shard=shard, first_person=people))
            people += len(entry.people)
    return tuple(entries)


def usual_step(ids: npt.NDArray[np.int64]) -> int:
    """The distance of consecutive frames of a sequence in frame ids: the most frequent one; 1 for a single frame.

    If two are equally frequent, the smaller one: gaps in a release make distances larger, never smaller.
    """
    steps, counts = np.unique(np.diff(ids), return_counts=True)
    return int(steps[counts.argmax()]) if len(steps) else 1
