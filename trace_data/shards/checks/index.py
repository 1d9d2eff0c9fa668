"""Whether an index agrees with itself: what can be known of a folder of shards without opening one."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import get_args

import numpy as np

from trace_data.schema.findings import Finding, wrong
from trace_data.schema.record import Split
from trace_data.shards.entries import LARGEST, SequenceEntry, ShardEntry, ShardIndex
from trace_data.shards.layout import FRAME_COLUMNS, PEOPLE_COLUMNS

LARGEST_SIDE = 65_535
"""Of a frame, px: JPEG knows no larger ones."""
ROW_BYTES = {
    name: sum(math.prod((np.dtype(column.dtype).itemsize, *column.shape)) for column in columns.values())
    for name, columns in (("frames", FRAME_COLUMNS), ("rows", PEOPLE_COLUMNS))
}
"""What a frame and a person-frame row take at least."""


def index_findings(index: ShardIndex) -> list[tuple[str, Finding]]:
    """(where, what is wrong) with the entries of an index; an empty list is a clean one."""
    findings = [(f"shards[{i}]", finding) for i, entry in enumerate(index.shards) for finding in _shard(entry)]
    findings += [(f"sequences[{i}]", finding) for i, e in enumerate(index.sequences) for finding in _sequence(e, index)]
    if findings:
        return findings  # with such entries nothing can be added up
    for kind, names in (("shard", [e.file for e in index.shards]), ("sequence", [e.key for e in index.sequences])):
        repeated = [name for name, count in Counter(names).items() if count > 1]
        findings += [(name, wrong(kind, f"the {kind} is listed twice")) for name in repeated]
    own: list[list[SequenceEntry]] = [[] for _ in index.shards]
    for sequence in index.sequences:
        own[sequence.shard].append(sequence)
    for entry, sequences in zip(index.shards, own):
        findings += [(entry.file, finding) for finding in _sums(entry, sequences)]
    firsts = accumulate((len(entry.people) for entry in index.sequences), initial=0)
    if [entry.first_person for entry in index.sequences] != list(firsts)[:-1]:
        findings.append(("sequences", wrong("first_person", "people are not numbered one after the other")))
    return findings


def _shard(entry: ShardEntry) -> Iterator[Finding]:
    # an index from elsewhere must not send the reader out of its folder
    if Path(entry.file).name != entry.file or not entry.file.endswith(".h5") or not entry.file.isprintable():
        yield wrong("file", f"{entry.file!r:.80} is no name of a shard in this folder")
    if not re.fullmatch(r"[0-9a-f]{64}", entry.sha256):
        yield wrong("sha256", f"{entry.sha256[:80]!r} is no SHA-256")
    least = entry.frames * ROW_BYTES["frames"] + entry.rows * ROW_BYTES["rows"]
    if least > entry.bytes:
        yield wrong("bytes", f"{entry.frames:,} frames and {entry.rows:,} rows in {entry.bytes:,} bytes")


def _sequence(entry: SequenceEntry, index: ShardIndex) -> Iterator[Finding]:
    if not entry.shard < len(index.shards):
        yield wrong("shard", f"{entry.key:.80} lies in shard {entry.shard}, there are {len(index.shards)}")
    if entry.split not in get_args(Split):
        yield wrong("split", f"{entry.split!r:.80}, expected one of {', '.join(get_args(Split))}")
    sides = entry.width, entry.height
    if not (1.0 <= entry.fps <= 1000.0 and min(*sides, entry.frames) > 0 and max(sides) <= LARGEST_SIDE):
        yield wrong("size", f"{entry.frames} frames of {entry.width}x{entry.height} px at {entry.fps} fps")
    if (listed := sum(count for _, _, count in entry.frame_id_runs)) != entry.frames:
        yield wrong("frame_id_runs", f"ids of {listed} frames, expected {entry.frames}")
    elif not _rising(entry):
        yield wrong("frame_id_runs", f"the ids of {entry.key:.80} do not rise, or leave 64 bits")
    if len(set(entry.people)) != len(entry.people) or len(entry.usable) != len(entry.people):
        yield wrong("people", f"{list(entry.people)!s:.200} with usable ranges of {len(entry.usable)}")
    for runs in entry.usable:
        edges = [edge for run in runs for edge in run]
        if edges and (edges != sorted(set(edges)) or edges[-1] > entry.frames):
            yield wrong("usable", f"ranges {runs!s:.200} of {entry.frames} frames")
    if entry.synthetic != (entry.provenance.get("synthetic") == "true"):
        yield wrong("synthetic", f"{entry.key:.80} is marked {entry.synthetic}, its provenance says otherwise")


def _rising(entry: SequenceEntry) -> bool:
    last = None
    for first, step, count in entry.frame_id_runs:
        if count < 1 or (last is not None and first <= last) or (count > 1 and step < 1):
            return False
        last = first + step * (count - 1)
    return last is None or last <= LARGEST


def _sums(entry: ShardEntry, sequences: list[SequenceEntry]) -> Iterator[Finding]:
    expected = accumulate((sequence.frames for sequence in sequences), initial=0)
    if [sequence.first_frame for sequence in sequences] != list(expected)[:-1]:
        yield wrong("first_frame", "its sequences do not follow each other without gap")
    counts = (len(sequences), sum(sequence.frames for sequence in sequences))
    if counts != (entry.sequences, entry.frames):
        yield wrong(
            "sequences", f"{counts[0]} of {counts[1]} frames are listed, expected {entry.sequences} of {entry.frames}"
        )
    strangers = [e.key for e in sequences if (e.dataset, e.split) != (entry.dataset, entry.split)]
    if strangers:
        yield wrong("dataset", f"holds {strangers[0]:.80}, expected {entry.dataset:.80}/{entry.split:.80} only")
