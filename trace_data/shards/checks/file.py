"""Whether a shard file is what the layout says: its datasets, how they lie in it, and how its tables hang together.

A file may come from anywhere: links are looked at and never followed, and nothing is read that lies outside the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from trace_data.schema.findings import Finding, wrong
from trace_data.shards.checksums import of_values
from trace_data.shards.entries import SequenceEntry, ShardEntry
from trace_data.shards.layout import (
    ANNOTATION_CHECKSUM,
    FORMAT,
    FORMAT_VERSION,
    FRAME_BYTES,
    FRAME_COLUMNS,
    FRAME_OFFSET,
    FRAME_SIZE,
    IMAGE_CHECKSUM,
    PEOPLE_COLUMNS,
    PEOPLE_OFFSET,
    SEQUENCE_COLUMNS,
    SEQUENCE_NAME,
    SEQUENCE_OFFSET,
    TABLE_CHECKSUM,
    TABLES,
)

Shape = tuple[int | None, ...]
BROKEN = (OSError, LookupError, ValueError, RuntimeError, TypeError, AttributeError, ArithmeticError, MemoryError)
"""All that h5py makes of a file that is broken inside."""


def expected_datasets(entry: ShardEntry) -> dict[str, tuple[str, Shape]]:
    """Type and shape of every dataset of a shard; None where the layout leaves a length open."""
    frames, rows, sequences = entry.frames, entry.rows, entry.sequences
    return {
        FRAME_BYTES: ("|u1", (None,)),
        FRAME_OFFSET: ("<i8", (None, frames + 1)),
        FRAME_SIZE: ("<i4", (None, frames, 2)),
        IMAGE_CHECKSUM: ("<u4", (None, frames)),
        ANNOTATION_CHECKSUM: ("<u4", (frames,)),
        PEOPLE_OFFSET: ("<i8", (frames + 1,)),
        SEQUENCE_OFFSET: ("<i8", (sequences + 1,)),
        SEQUENCE_NAME: ("|S", (sequences,)),
        **{
            name: (column.dtype, (count, *column.shape))
            for count, columns in ((frames, FRAME_COLUMNS), (rows, PEOPLE_COLUMNS), (sequences, SEQUENCE_COLUMNS))
            for name, column in columns.items()
        },
    }


def structure_findings(content: Any, entry: ShardEntry) -> list[Finding]:
    """What is wrong with the datasets of an open file. Only when nothing is may their values be read."""
    return [*_attributes(content, entry), *dataset_findings(content, expected_datasets(entry), "a shard")]


def dataset_findings(content: Any, expected: Mapping[str, tuple[str, Shape]], kind: str) -> list[Finding]:
    """What is wrong with the datasets of an open file, of some kind in words, that holds just these."""
    findings: list[Finding] = []
    datasets: dict[str, Any] = {}
    for name, link, item in _members(content, {name.partition("/")[0] for name in expected if "/" in name}):
        if not isinstance(link, h5py.HardLink):
            target = getattr(link, "filename", None) or link.path
            findings.append(wrong(name, f"a link to {target!r}; {kind} holds no links, and it was not followed"))
        elif name not in expected or not isinstance(item, h5py.Dataset):
            findings.append(wrong(name, f"a {type(item).__name__.lower()} that the format does not know"))
        else:
            datasets[name] = item
    linked = {finding.key for finding in findings}
    for name, (dtype, shape) in expected.items():
        if name in datasets:
            findings += _dataset(name, datasets[name], dtype, shape, Path(content.filename).stat().st_size)
        elif name not in linked and name.partition("/")[0] not in linked:
            findings.append(wrong(name, "the dataset is missing"))
    return findings


def _attributes(content: Any, entry: ShardEntry) -> Iterator[Finding]:
    expected = {"format": FORMAT, "format_version": FORMAT_VERSION, "dataset": entry.dataset, "split": entry.split}
    yield from attribute_findings(content, expected, "the shard")


def attribute_findings(content: Any, expected: Mapping[str, object], kind: str) -> Iterator[Finding]:
    """What is wrong with the attributes of an open file, of some kind in words."""
    for name, value in expected.items():
        found = attribute(content, name)
        found = found.decode("utf-8", "replace") if isinstance(found, bytes) else found
        if found != value:
            yield wrong(name, f"{kind} says {name} {found}, expected {value}")


def attribute(item: Any, name: str) -> Any:
    """The single number or text of an attribute, `nothing` where it is none: objects are never read."""
    if name not in item.attrs:
        return "nothing"
    facts = item.attrs.get_id(name)
    return item.attrs[name] if facts.dtype.kind in "iuS" and facts.shape == () else "nothing"


def _members(content: Any, groups: set[str]) -> Iterator[tuple[str, Any, Any]]:
    """(name, link, object) of the file's members and those of its known groups; no object behind other links."""
    for name in content:
        link = content.get(name, getlink=True)
        item = content[name] if isinstance(link, h5py.HardLink) else None
        if not isinstance(item, h5py.Group) or name not in groups:
            yield name, link, item
            continue
        for inner in item:
            link = item.get(inner, getlink=True)
            yield f"{name}/{inner}", link, item[inner] if isinstance(link, h5py.HardLink) else None


def _dataset(name: str, item: Any, dtype: str, shape: Shape, file_bytes: int) -> Iterator[Finding]:
    properties = item.id.get_create_plist()
    kind = "|S" if item.dtype.kind == "S" else item.dtype.str  # names are as wide as the longest of them
    if kind != dtype:
        yield wrong(name, f"type {kind}, expected {dtype}" + _danger(item.dtype))
    elif item.shape is None:
        yield wrong(name, "has no values at all")
    elif len(item.shape) != len(shape) or any(e not in (None, f) for f, e in zip(item.shape, shape)):
        yield wrong(name, f"shape {item.shape}, expected ({', '.join('any' if n is None else str(n) for n in shape)})")
    elif properties.get_layout() != h5py.h5d.CONTIGUOUS:
        yield wrong(name, "stored in chunks or through other files, expected one contiguous range")
    elif properties.get_external_count():
        elsewhere = properties.get_external(0)[0].decode(errors="replace")
        yield wrong(name, f"its values lie in the file {elsewhere!r}, which was not opened")
    elif item.nbytes and (item.id.get_offset() is None or item.id.get_offset() + item.nbytes > file_bytes):
        yield wrong(name, "its values were never written or lie beyond the end of the file")


def _danger(dtype: np.dtype[Any]) -> str:
    return ": objects and variable-length values are never read" if dtype.kind == "O" else ""


def first_sequence(content: Any) -> str | None:
    """The name of a shard's first sequence, to tell which shard a file is; None when that cannot be read safely."""
    size = Path(content.filename).stat().st_size
    for name, _, item in _members(content, {"sequence"}):
        if name == SEQUENCE_NAME and isinstance(item, h5py.Dataset) and item.ndim == 1 and len(item):
            sound = not list(_dataset(name, item, "|S", item.shape, size))
            return item[0].decode("utf-8", "replace") if sound else None
    return None


IN_SEQUENCES = (SEQUENCE_OFFSET, SEQUENCE_NAME, "frame_id", "people/person")
"""What is compared with the index, besides columns and `TABLES`."""


def table_findings(content: Any, entry: ShardEntry, sequences: Sequence[SequenceEntry]) -> list[Finding]:
    """What is wrong with the tables of a file of sound structure, among themselves and beside the index."""
    tables = {name: content[name][:] for name in (*TABLES, *SEQUENCE_COLUMNS, *IN_SEQUENCES)}
    findings = [
        wrong(name, f"the values changed: their CRC-32 is another than {attribute(content[name], TABLE_CHECKSUM)}")
        for name in TABLES
        if of_values(tables[name]) != attribute(content[name], TABLE_CHECKSUM)
    ]
    findings += _offsets(SEQUENCE_OFFSET, tables[SEQUENCE_OFFSET], entry.frames)
    findings += _offsets(PEOPLE_OFFSET, tables[PEOPLE_OFFSET], entry.rows)
    findings += _levels(tables, content[FRAME_BYTES].shape[0], sequences)
    names = [name.decode("utf-8", "replace") for name in tables[SEQUENCE_NAME].tolist()]
    if names != (listed := [sequence.key for sequence in sequences]):
        at = next((i for i, pair in enumerate(zip(names, listed)) if pair[0] != pair[1]), 0)
        findings.append(wrong(SEQUENCE_NAME, f"sequence {at} is {names[at]}, the index has {listed[at]}"))
    if findings:
        return findings
    edges = tables[SEQUENCE_OFFSET].tolist()
    for row, sequence in enumerate(sequences):
        findings += _sequence(tables, sequence, row, (edges[row], edges[row + 1]))
    return findings


def _offsets(name: str, offset: Any, end: int) -> Iterator[Finding]:
    if offset[0] != 0 or offset[-1] != end or (offset[1:] < offset[:-1]).any():  # differences could wrap
        yield wrong(name, f"runs from {offset[0]} to {offset[-1]}, falling on the way or not from 0 to {end}")


def _levels(tables: Mapping[str, Any], image_bytes: int, sequences: Sequence[SequenceEntry]) -> Iterator[Finding]:
    """Whether the images of all levels lie back to back, and have the sizes that their sequence allows."""
    offset, size = tables[FRAME_OFFSET], tables[FRAME_SIZE]
    if not 0 < len(offset) == len(size) == len(tables[IMAGE_CHECKSUM]):
        yield wrong(
            FRAME_OFFSET,
            f"{len(offset)} levels, {FRAME_SIZE} has {len(size)} and {IMAGE_CHECKSUM} {len(tables[IMAGE_CHECKSUM])},"
            " expected the same, at least one",
        )
        return
    lengths = np.diff(offset, axis=1)
    if (offset[:, 1:] < offset[:, :-1]).any() or offset[0, 0] != 0 or (offset[1:, 0] != offset[:-1, -1]).any():
        yield wrong(FRAME_OFFSET, "images do not lie back to back, level after level")
    elif offset[-1, -1] != image_bytes:
        yield wrong(FRAME_OFFSET, f"ends at {offset[-1, -1]}, {image_bytes} bytes are stored")
    elif ((lengths > 0) != (size > 0).all(axis=2)).any() or not (lengths[0] > 0).all():
        yield wrong(FRAME_SIZE, "a frame without bytes has a size, or one with bytes has none")
    original = np.concatenate([np.tile((s.width, s.height), (s.frames, 1)) for s in sequences])
    # a scaled side is rounded to whole px, so the two scales of a frame may differ by a px
    size = size.astype(np.int64)
    skew = np.abs(size[..., 0] * original[:, 1] - size[..., 1] * original[:, 0]) > original.sum(axis=1)
    if ((size < 0) | (size > original)).any() or skew.any():
        yield wrong(FRAME_SIZE, "stored frames are larger than the original, or of another shape")


def _sequence(tables: Mapping[str, Any], entry: SequenceEntry, row: int, frames: tuple[int, int]) -> Iterator[Finding]:
    """One row of the index beside the same row of the shard."""
    if frames != (entry.first_frame, entry.first_frame + entry.frames):
        yield wrong(
            SEQUENCE_OFFSET,
            f"{entry.key} has frames {frames}, the index counts {entry.frames} from {entry.first_frame}",
        )
        return
    for name in SEQUENCE_COLUMNS:
        found, listed = tables[name][row], getattr(entry, name.rpartition("/")[2])
        if found != listed:
            yield wrong(name, f"{entry.key} has {found}, the index {listed}")
    ids = tables["frame_id"][slice(*frames)]
    if not np.array_equal(ids, entry.frame_ids()):
        yield wrong("frame_id", f"the ids of {entry.key} are others than in the index")
    if (np.diff(ids) <= 0).any():
        yield wrong("frame_id", f"the ids of {entry.key} do not rise")
    offset = tables[PEOPLE_OFFSET][frames[0] : frames[1] + 1]
    person = tables["people/person"][offset[0] : offset[-1]].astype(np.int64)
    if len(person) and not (person.min() >= 0 and person.max() < len(entry.people)):
        yield wrong("people/person", f"{entry.key} names person {person.max()}, the index has {len(entry.people)}")
    place = np.repeat(np.arange(entry.frames), np.diff(offset)) * (len(entry.people) + 1) + person
    if (np.diff(place) <= 0).any():
        yield wrong("people/person", f"{entry.key} has somebody twice in a frame, or people out of order")
