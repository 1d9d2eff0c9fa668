"""Assignment of sequences to shards and of shards to parts; deterministic for the same files."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from trace_data.adapters import canonical_names, find_sequences, load_adapter
from trace_data.adapters.base import DatasetRoots, SequenceRef, absolute_roots
from trace_data.builder.size import frames_of, guess
from trace_data.errors import ConfigError, DatasetLayoutError
from trace_data.schema.record import Split
from trace_data.schema.sequence_patterns import check_patterns, fits
from trace_data.shards.levels import Storage


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The part of the datasets that is built."""

    splits: tuple[str, ...] = ("train", "val", "test")
    sequences: tuple[str, ...] = ()
    """Names or patterns (`*`, `?`) of sequences, with or without `dataset/split/`; all when empty."""
    limit: int | None = None
    """Maximum number of sequences of each dataset and split."""
    every: int = 1
    """Take every N-th frame."""

    def check(self) -> None:
        """Raises ConfigError when a number is too small."""
        if self.every < 1 or (self.limit is not None and self.limit < 1):
            raise ConfigError(f"limit {self.limit} and every {self.every} must be at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildPart:
    """The share of one machine: part `number` of `of`, counted from 1."""

    number: int
    of: int

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardPlan:
    """The content of one shard."""

    name: str
    """File name without `.h5`."""
    dataset: str
    split: Split
    refs: tuple[SequenceRef, ...]
    """Its sequences, in order."""
    every: int
    """Take every N-th frame of them."""
    guess: int
    """Estimated bytes, see `builder.size.guess`."""

    @property
    def frames(self) -> int:
        """Number of frames, by the files on disk."""
        return sum(frames_of(ref, self.every) for ref in self.refs)

    def identity(self) -> str:
        """Hash of the plan's input: sequences, options, frame counts, sizes and times of their files."""
        parts: list[tuple[object, ...]] = []
        for ref in self.refs:
            parts.append((ref.key, ref.layout, ref.options, ref.frames))
            for file in dict.fromkeys((ref.annotation, *(ref.reads or ()))):
                try:
                    state = file.stat()
                    parts.append((state.st_size, state.st_mtime_ns))
                except OSError:
                    parts.append((0, 0))  # reading it will report the problem
        return sha256(repr(parts).encode()).hexdigest()


def plan_shards(
    names: Sequence[str], root: Path | DatasetRoots, selection: Selection, *, storage: Storage, shard_bytes: int
) -> list[ShardPlan]:
    """The shards of the selected sequences. A shard holds whole sequences of one dataset and split.

    Raises ConfigError on an unknown dataset, split or sequence, DatasetLayoutError when there is nothing to build.
    """
    root = absolute_roots(root)
    plans: list[ShardPlan] = []
    for refs in _groups(names, root, selection):
        numbered = 0
        held: list[SequenceRef] = []
        size = 0
        for ref in refs:
            held.append(ref)
            size += guess(ref, storage, selection.every)
            if size >= shard_bytes or ref is refs[-1]:
                name = f"{ref.dataset}-{ref.split}-{numbered:05d}"
                plans.append(
                    ShardPlan(name=name, dataset=ref.dataset, split=ref.split, refs=tuple(held), every=selection.every,
                              guess=size)
                )  # fmt: skip
                numbered, held, size = numbered + 1, [], 0
    if not plans:
        raise DatasetLayoutError(
            f"no sequences of {', '.join(canonical_names(names))}", where=root.root, hint="trace verify-datasets"
        )
    return plans


def _groups(names: Sequence[str], root: DatasetRoots, selection: Selection) -> list[list[SequenceRef]]:
    """The selected sequences of each dataset and split. Raises ConfigError."""
    groups: list[list[SequenceRef]] = []
    here, absent = [], []
    for name in canonical_names(names):
        adapter = load_adapter(name)
        if not set(selection.splits) & set(adapter.SPEC.splits):
            wanted = " or ".join(repr(split) for split in selection.splits)
            raise ConfigError(f"{name} has no split {wanted}", hint=f"it has {', '.join(adapter.SPEC.splits)}")
        try:
            groups += [find_sequences(name, root, split) for split in adapter.SPEC.splits if split in selection.splits]
            here.append(name)
        except DatasetLayoutError:
            if names:
                raise
            absent.append(name)
    if absent:
        raise DatasetLayoutError(
            f"{', '.join(absent)} {'is' if len(absent) == 1 else 'are'} not here"
            + (f"; {', '.join(here)} {'is' if len(here) == 1 else 'are'}" if here else ""),
            where=root.root,
            hint=f"trace build-shards {' '.join(here)} --root {shlex.quote(str(root.root))} …  builds what is here"
            if here
            else f"trace verify-datasets --root {shlex.quote(str(root.root))}  says what was looked for",
        )
    everything = [ref for group in groups for ref in group]
    check_patterns(selection.sequences, everything, where=root.root)
    if selection.sequences:
        groups = [[ref for ref in group if any(fits(ref, p) for p in selection.sequences)] for group in groups]
    return [group[: selection.limit] for group in groups]


def part_of(plans: Sequence[ShardPlan], part: BuildPart) -> list[int]:
    """Numbers of a part's shards. Every shard belongs to one part; the largest are assigned first, each to the part
    with the fewest bytes."""
    loads = [0] * part.of
    taken: list[int] = []
    for number in sorted(range(len(plans)), key=lambda number: (-plans[number].guess, number)):
        least = loads.index(min(loads))
        loads[least] += max(1, plans[number].guess)
        if least == part.number - 1:
            taken.append(number)
    return sorted(taken)
