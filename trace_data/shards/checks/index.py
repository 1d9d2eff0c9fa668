"""Whether an index agrees with itself: what can be known of a folder of shards without opening one."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any, get_args

from trace_data.schema.findings import Finding, wrong
from trace_data.schema.record import Split
from trace_data.shards.entries import SequenceEntry, ShardEntry, ShardIndex

_TYPES: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "str": (str,),
    "float": (int, float),
    "bool": (bool,),
    "Mapping[str, str]": (dict,),
}
"""What a field of an entry may hold, by its annotation; JSON writes a whole float as an integer in other hands."""


def index_findings(index: ShardIndex) -> list[tuple[str, Finding]]:
    """(where, what is wrong) with the entries of an index; an empty list is a clean one."""
    found = [(f"shards[{i}]", finding) for i, entry in enumerate(index.shards) for finding in _shard(entry)]
    found += [(f"sequences[{i}]", finding) for i, e in enumerate(index.sequences) for finding in _sequence(e, index)]
    if found:
        return found  # with entries of the wrong type nothing can be added up
    for kind, names in (("shard", [e.file for e in index.shards]), ("sequence", [e.key for e in index.sequences])):
        repeated = [name for name, count in Counter(names).items() if count > 1]
        found += [(name, wrong(kind, f"the {kind} is listed twice")) for name in repeated]
    for number, entry in enumerate(index.shards):
        own = [sequence for sequence in index.sequences if sequence.shard == number]
        found += [(entry.file, finding) for finding in _sums(entry, own)]
    firsts = accumulate((len(entry.people) for entry in index.sequences), initial=0)
    if [entry.first_person for entry in index.sequences] != list(firsts)[:-1]:
        found.append(("sequences", wrong("first_person", "people are not numbered one after the other")))
    return found


def _typed(entry: Any) -> Iterator[Finding]:
    for field in dataclasses.fields(entry):
        value, allowed = getattr(entry, field.name), _TYPES.get(str(field.type))
        if allowed and (not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed)):
            yield wrong(field.name, f"{value!r} is of type {type(value).__name__}, expected {field.type}")
        elif allowed == (int,) and value < 0:
            yield wrong(field.name, f"{value}, expected 0 or more")


def _shard(entry: ShardEntry) -> Iterator[Finding]:
    yield from (broken := list(_typed(entry)))
    # an index from elsewhere must not send the reader out of its folder
    if not broken and (Path(entry.file).name != entry.file or not entry.file.endswith(".h5")):
        yield wrong("file", f"{entry.file!r} is no name of a shard in this folder")


def _sequence(entry: SequenceEntry, index: ShardIndex) -> Iterator[Finding]:
    yield from (broken := list(_typed(entry)))
    if broken or not all(isinstance(name, str) for name in entry.people):
        yield from [] if broken else [wrong("people", f"{list(entry.people)}, expected names")]
        return
    if not entry.shard < len(index.shards):
        yield wrong("shard", f"{entry.key} lies in shard {entry.shard}, there are {len(index.shards)}")
    if entry.split not in get_args(Split):
        yield wrong("split", f"{entry.split!r}, expected one of {', '.join(get_args(Split))}")
    if not (1.0 <= entry.fps <= 1000.0 and min(entry.width, entry.height, entry.frames) > 0):
        yield wrong("size", f"{entry.frames} frames of {entry.width}x{entry.height} px at {entry.fps} fps")
    if (listed := sum(count for _, _, count in entry.frame_id_runs)) != entry.frames:
        yield wrong("frame_id_runs", f"ids of {listed} frames, expected {entry.frames}")
    if len(set(entry.people)) != len(entry.people) or len(entry.usable) != len(entry.people):
        yield wrong("people", f"{list(entry.people)} with usable ranges of {len(entry.usable)}")
    for runs in entry.usable:
        edges = [edge for run in runs for edge in run]
        if edges and (edges != sorted(set(edges)) or edges[0] < 0 or edges[-1] > entry.frames):
            yield wrong("usable", f"ranges {runs} of {entry.frames} frames")
    if entry.synthetic != (entry.provenance.get("synthetic") == "true"):
        yield wrong("synthetic", f"{entry.key} is marked {entry.synthetic}, its provenance says otherwise")


def _sums(entry: ShardEntry, sequences: list[SequenceEntry]) -> Iterator[Finding]:
    expected = accumulate((sequence.frames for sequence in sequences), initial=0)
    if [sequence.first_frame for sequence in sequences] != list(expected)[:-1]:
        yield wrong("first_frame", "its sequences do not follow each other without gap")
    found = (len(sequences), sum(sequence.frames for sequence in sequences))
    if found != (entry.sequences, entry.frames):
        yield wrong(
            "sequences", f"{found[0]} of {found[1]} frames are listed, expected {entry.sequences} of {entry.frames}"
        )
    strangers = [e.key for e in sequences if (e.dataset, e.split) != (entry.dataset, entry.split)]
    if strangers:
        yield wrong("dataset", f"holds {strangers[0]}, expected {entry.dataset}/{entry.split} only")
