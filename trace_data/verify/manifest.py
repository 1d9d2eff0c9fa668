"""Manifests: files and sequences of a dataset folder, for checking that two copies are the same.

JSON lines: a header; one line per file, sorted by dataset and name; one per sequence, sorted; a last one with the
counts, which marks a complete manifest. It may be long, so it is written and read line by line.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import IO, Any, Literal

from trace_data.adapters import canonical_names, find_sequences, load_adapter, read_record
from trace_data.adapters.base import DatasetRoots, SequenceRef, absolute_roots, folder_of
from trace_data.errors import DatasetLayoutError, OutputError
from trace_data.files import atomic_write, open_regular
from trace_data.os_errors import SpecialFile, in_words, is_missing
from trace_data.progress import SILENT, Progress
from trace_data.text_files import parse_json
from trace_data.workers import spread

FORMAT = "trace dataset manifest 1"
Hash = Literal["sha256", "fast"]
EDGE = 1 << 20
"""Bytes at the beginning and end of a file that the fast hash covers."""
CHUNK = 1 << 22
AT_ONCE = 256
"""Files of one task."""
NOT_DATA = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})
"""Files that operating systems create in any folder."""

Line = tuple[tuple[str, str], tuple[int, str]]
"""(dataset, file name relative to its folder, with `/`), (bytes, hash)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Totals of a manifest."""

    files: int
    bytes: int
    sequences: int


def write_manifest(
    names: Sequence[str],
    root: Path | DatasetRoots,
    file: Path,
    *,
    hash: Hash = "sha256",
    jobs: int = 1,
    progress: Progress = SILENT,
) -> Counts:
    """Write a manifest of the datasets under `root`: every file is hashed, every annotation read. Atomic.

    `hash`: of all bytes, or `fast`: of the first and last MB. An unreadable sequence counts 0 frames. Raises
    DatasetLayoutError when a dataset is missing or a file cannot be read, OutputError.
    """
    try:
        with atomic_write(file) as partial, partial.open("w", encoding="utf-8") as stream:
            counts = _write(canonical_names(names), absolute_roots(root), stream, hash, jobs, progress)
    except OSError as error:
        raise OutputError(f"cannot be written: {error.strerror}", where=file, hint="name another file") from error
    return counts


class ManifestFile:
    """Sequential reader of a manifest: `hash` and `datasets` on opening, then `files`, then `sequences`."""

    def __init__(self, stream: IO[str], where: Path) -> None:
        """Raises DatasetLayoutError when this is no manifest."""
        self._stream, self._where = stream, where
        head = self._next()
        if head.get("format") != FORMAT:
            raise self._wrong(f"its format is {head.get('format')!r}, expected {FORMAT!r}")
        self.hash: Hash = "fast" if head.get("hash") == "fast" else "sha256"
        self.datasets: list[str] = [str(name) for name in head.get("datasets", ())]
        self._after: dict[str, Any] = {}

    def files(self) -> Iterator[Line]:
        """The files, in order. Raises DatasetLayoutError."""
        while "file" in (entry := self._next("file", "dataset", "bytes", "hash")):
            yield (str(entry["dataset"]), str(entry["file"])), (int(entry["bytes"]), str(entry["hash"]))
        self._after = entry

    def sequences(self) -> dict[str, tuple[int, int]]:
        """Key to (annotated frames, annotated people summed over them). Raises DatasetLayoutError."""
        sequences = {}
        entry = self._after
        while "sequence" in entry:
            sequences[str(entry["sequence"])] = (int(entry["frames"]), int(entry["samples"]))
            entry = self._next("sequence", "frames", "samples")
        return sequences

    def _next(self, kind: str = "format", *others: str) -> dict[str, Any]:
        """The next line. If it has the key `kind`, it must have the others."""
        try:
            entry = parse_json(next(self._stream), where=self._where, error=DatasetLayoutError)
            if not isinstance(entry, dict) or (kind in entry and not set(others) <= entry.keys()):
                raise TypeError(f"a line holds {entry!r}")
        except StopIteration:
            raise self._wrong("it ends too early") from None
        except DatasetLayoutError as error:
            raise self._wrong(error.message) from error
        except (ValueError, TypeError) as error:
            raise self._wrong(str(error)) from error
        return entry

    def _wrong(self, what: str) -> DatasetLayoutError:
        hint = "write it again: trace verify-datasets --write-manifest FILE"
        return DatasetLayoutError(f"not a complete manifest: {what}", where=self._where, hint=hint)


def open_manifest(file: Path) -> IO[str]:
    """Open the text of a manifest. Raises DatasetLayoutError when it is missing or cannot be read."""
    try:
        return io.TextIOWrapper(open_regular(file), encoding="utf-8")
    except OSError as error:
        what, hint = in_words(error)
        raise DatasetLayoutError(f"the manifest {what}", where=file, hint=hint) from error


def walk(folder: Path) -> Iterator[str]:
    """All files below a folder, as relative names. Links are followed, except to a parent folder.

    Raises DatasetLayoutError for such a link, or when something cannot be read.
    """
    waiting: list[tuple[str, tuple[tuple[int, int], ...]]] = [("", ())]
    while waiting:
        inner, above = waiting.pop()
        here = os.path.join(folder, inner)  # noqa: PTH118  strings are much faster than paths
        try:
            state = os.stat(here)  # noqa: PTH116
            if (state.st_dev, state.st_ino) in above:
                what = "a symbolic link to a folder that it lies in"
                raise DatasetLayoutError(what, where=here.rstrip("/"), hint="remove the link")
            path = (*above, (state.st_dev, state.st_ino))
            with os.scandir(here) as entries:
                for entry in entries:
                    name = f"{inner}/{entry.name}" if inner else entry.name
                    if entry.is_dir():
                        waiting.append((name, path))
                    elif entry.name not in NOT_DATA and not entry.name.startswith("._"):
                        yield name
        except OSError as error:
            what, hint = in_words(error)
            raise DatasetLayoutError(what, where=error.filename or here, hint=hint or None) from error


def _write(
    names: Sequence[str], roots: DatasetRoots, stream: IO[str], hash: Hash, jobs: int, progress: Progress
) -> Counts:
    def line(**entry: object) -> None:
        stream.write(json.dumps(entry) + "\n")

    line(format=FORMAT, hash=hash, datasets=list(names))
    sequences: dict[str, tuple[int, int]] = {}
    files = total = 0
    for dataset in names:
        spec = load_adapter(dataset).SPEC
        refs = [ref for split in spec.splits for ref in find_sequences(dataset, roots, split)]
        folder = folder_of(spec, roots.of(dataset), refs)
        for name, (size, digest) in _hashes(dataset, folder, hash, jobs, progress):
            line(dataset=dataset, file=name, bytes=size, hash=digest)
            files, total = files + 1, total + size
        progress.begin(f"count {dataset}", len(refs), "sequences")
        for number, sizes in spread(_samples, refs, jobs=jobs, progress=progress):
            sequences[refs[number].key] = sizes
        progress.end(f"{len(refs):,} sequences")
    for key, (frames, samples) in sorted(sequences.items()):
        line(sequence=key, frames=frames, samples=samples)
    counts = Counts(files=files, bytes=total, sequences=len(sequences))
    line(end={"files": counts.files, "bytes": counts.bytes, "sequences": counts.sequences})
    return counts


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """Files of one task."""

    folder: Path
    names: tuple[str, ...]
    hash: Hash


def _hashes(
    dataset: str, folder: Path, hash: Hash, jobs: int, progress: Progress
) -> Iterator[tuple[str, tuple[int, str]]]:
    """(name, (bytes, hash)) of each file, sorted."""
    held = sorted(walk(folder))
    parts = [
        _Part(folder=folder, names=tuple(held[start : start + AT_ONCE]), hash=hash)
        for start in range(0, len(held), AT_ONCE)
    ]
    progress.begin(f"hash {dataset}", len(held), "files")
    early: dict[int, list[tuple[int, str]]] = {}
    written = 0
    for number, facts in spread(_hashed, parts, jobs=jobs, progress=progress):
        early[number] = facts
        while written in early:
            yield from zip(parts[written].names, early.pop(written))
            written += 1
    progress.end(f"{len(held):,} files, {'first and last MB' if hash == 'fast' else 'SHA-256'}")


def _hashed(part: _Part, progress: Progress) -> list[tuple[int, str]]:
    """(bytes, hash) of each file."""
    facts = []
    for name in part.names:
        file = part.folder / name
        try:
            with open_regular(file) as stream:
                facts.append(_digest(stream, part.hash))
        except (SpecialFile, IsADirectoryError):
            facts.append((0, "no regular file"))
        except OSError as error:
            if not is_missing(error):
                what, hint = in_words(error)
                raise DatasetLayoutError(what, where=file, hint=hint or None) from error
            facts.append((0, "a link to nothing"))
        progress.advance()
    return facts


def _digest(stream: IO[bytes], hash: Hash) -> tuple[int, str]:
    state = os.fstat(stream.fileno())
    digest = sha256()
    if hash == "fast" and state.st_size > 2 * EDGE:
        digest.update(stream.read(EDGE))
        stream.seek(-EDGE, os.SEEK_END)
    while chunk := stream.read(CHUNK):
        digest.update(chunk)
    return state.st_size, digest.hexdigest()


def _samples(ref: SequenceRef, progress: Progress) -> tuple[int, int]:
    """(frames, person-frames); (0, 0) when the sequence cannot be read."""
    try:
        record = read_record(ref, defects=False)
        return len(record.frames), sum(int(person.present.sum()) for person in record.people)
    except Exception:  # noqa: BLE001  problems are reported by the verification, not by the manifest
        return 0, 0
    finally:
        progress.advance()
