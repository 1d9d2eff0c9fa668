"""What `index.json` says of shards and sequences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trace_data.schema.clip import ClipRef

Run = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardEntry:
    """One shard file."""

    file: str
    """Name within the folder."""
    dataset: str
    split: str
    bytes: int
    """Length of the file."""
    sha256: str
    """Of the whole file, hexadecimal."""
    sequences: int
    frames: int
    rows: int
    """Person-frame rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceEntry:
    """One sequence; enough to find every valid clip without opening its shard."""

    dataset: str
    split: str
    name: str
    """Sequence name within dataset and split."""
    shard: int
    """Row in `ShardIndex.shards`."""
    first_frame: int
    """Number of its first frame within the shard."""
    frames: int
    """Number of frames T."""
    people: tuple[str, ...]
    """Names of its people; a row's `people/person` counts in this list."""
    first_person: int
    """Number of its first person over the whole index."""
    fps: float
    width: int
    """Original frame width, px."""
    height: int
    """Original frame height, px."""
    moving: bool
    """Whether the camera moves."""
    world_valid: bool
    world_reason: str
    synthetic: bool
    """Whether the sequence comes from the sample world."""
    frame_id_runs: tuple[tuple[int, int, int], ...]
    """(first id, step, count) of consecutive frames with equally spaced ids."""
    usable: tuple[tuple[Run, ...], ...]
    """For each person the ranges [first, end) of frames in which it is seen and can be learnt from."""
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
        """(T,) those of a clip's frames."""
        return self.frame_ids()[ref.start :: ref.stride][: ref.length]


@dataclass(frozen=True, slots=True, kw_only=True)
class BadSequence:
    """A sequence that was left out of a build, and why."""

    key: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardIndex:
    """Everything in `index.json`, and where it stands."""

    folder: Path | str
    """Its folder, or the URL of that as it may be shown."""
    shards: tuple[ShardEntry, ...]
    sequences: tuple[SequenceEntry, ...]
    bad: tuple[BadSequence, ...]
    """Sequences left out."""
    settings: Mapping[str, Any]
    """What the build was asked for, and the SHA-256 of the body models it used."""
    provenance: Mapping[str, str] = field(default_factory=dict)
    """Versions of the tool, of the encoder and of HDF5."""
    datasets: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    """For each dataset what its sequences' provenance says: release, layout, adapter, defects applied."""
    enlarged_crops: Mapping[str, int] = field(default_factory=dict)
    """How many usual crops of the network's size need which enlargement, see `levels.ENLARGEMENT_BINS`."""

    @property
    def synthetic(self) -> bool:
        """Whether anything in it comes from the sample world."""
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
    "dynacam": ("train", "val", "test"),
    "h36m": ("train", "val"),
    "mpi-inf-3dhp": ("train", "val", "test"),
    "penn-action": ("train", "test"),
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


def usual_step(ids: npt.NDArray[np.int64]) -> int:
    """The distance of consecutive frames of a sequence in frame ids: the most frequent one; 1 for a single frame.

    Where two are equally frequent it is the smaller one: a gap of the release makes distances larger, never smaller.
    """
    steps, counts = np.unique(np.diff(ids), return_counts=True)
    return int(steps[counts.argmax()]) if len(steps) else 1


def sequence_from_json(values: Mapping[str, Any]) -> SequenceEntry:
    """A SequenceEntry from what json reads, lists made tuples again."""
    changed: dict[str, Any] = {
        "people": tuple(values["people"]),
        "frame_id_runs": tuple((int(a), int(b), int(c)) for a, b, c in values["frame_id_runs"]),
        "usable": tuple(tuple((int(a), int(b)) for a, b in runs) for runs in values["usable"]),
    }
    return SequenceEntry(**{**values, **changed})
