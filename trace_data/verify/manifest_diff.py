"""Compare datasets with a manifest. Differences are grouped by kind and folder, with a hint for each."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from trace_data.adapters import canonical_names
from trace_data.adapters.base import DatasetRoots
from trace_data.progress import SILENT, Progress
from trace_data.schema.findings import EXAMPLES, Problem
from trace_data.verify.manifest import Line, ManifestFile, open_manifest, write_manifest

KINDS = {
    "missing": ("missing here", "copy or unpack them again"),
    "extra": ("only here", "archives, files of another release, or leftovers"),
    "size": ("of another size", "cut short, or of another release: copy them again"),
    "content": ("of the same size with other content", "damaged, or of another release: copy them again"),
}
"""Kinds of differences: description and hint."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Differences:
    """Result of a comparison."""

    manifest: Path
    files: int
    """Files compared, including those on one side only."""
    sequences: int
    """Sequences compared, including those on one side only."""
    problems: tuple[Problem, ...]

    @property
    def ok(self) -> bool:
        """Whether the data are the same."""
        return not self.problems


def compare_with(
    manifest: Path,
    names: Sequence[str],
    root: Path | DatasetRoots,
    *,
    examples: int | None = EXAMPLES,
    jobs: int = 1,
    progress: Progress = SILENT,
) -> Differences:
    """Compare the named datasets (all of the manifest when empty) under `root` with a manifest.

    Files are hashed as in the manifest. `examples`: number of cases listed for each difference; None for all. Raises
    DatasetLayoutError when the manifest is incomplete or a dataset is missing.
    """
    with open_manifest(manifest) as stream, tempfile.TemporaryDirectory() as folder:
        expected = ManifestFile(stream, manifest)
        datasets = canonical_names(names or expected.datasets)
        made = Path(folder) / "here.jsonl"
        write_manifest(datasets, root, made, hash=expected.hash, jobs=jobs, progress=progress)
        with made.open(encoding="utf-8") as text:
            here = ManifestFile(text, made)
            cases = {kind: _Cases(every=examples is None) for kind in KINDS}
            files = 0
            for kind, key, difference in _compared(expected, here):
                files += 1
                if kind:
                    cases[kind].add(key, difference)
            wanted = {key: counts for key, counts in expected.sequences().items() if key.split("/")[0] in datasets}
            held = here.sequences()
    problems = [cases[kind].problem(*words, examples) for kind, words in KINDS.items() if cases[kind].count]
    return Differences(
        manifest=manifest,
        files=files,
        sequences=len({*wanted, *held}),
        problems=(*problems, *_sequences(wanted, held, examples)),
    )


def _compared(expected: ManifestFile, here: ManifestFile) -> Iterator[tuple[str, tuple[str, str], str]]:
    """For each file (key of `KINDS` or "", its key, detail), by merging the two sorted lists."""
    wanted = (line for line in expected.files() if line[0][0] in here.datasets)
    held = here.files()
    ours, theirs = next(held, None), next(wanted, None)
    while ours is not None or theirs is not None:
        if ours is None or (theirs is not None and theirs[0] < ours[0]):
            assert theirs is not None
            yield "missing", theirs[0], ""
            theirs = next(wanted, None)
        elif theirs is None or ours[0] < theirs[0]:
            yield "extra", ours[0], ""
            ours = next(held, None)
        else:
            yield _unlike(ours, theirs)
            ours, theirs = next(held, None), next(wanted, None)


def _unlike(ours: Line, theirs: Line) -> tuple[str, tuple[str, str], str]:
    """The difference between two files of the same name, in the form of `_compared`."""
    (size, digest), (expected, other) = ours[1], theirs[1]
    if size != expected:
        return "size", ours[0], f"{size:,} bytes, expected {expected:,}"
    return ("content" if digest != other else ""), ours[0], ""


class _Cases:
    """Files with one kind of difference, by folder; individual files are kept only when all are asked for."""

    def __init__(self, *, every: bool) -> None:
        self.count = 0
        self._every = every
        self._lines: list[str] = []
        self._folders: dict[str, tuple[int, str]] = {}
        """Number of cases, and the first one."""

    def add(self, key: tuple[str, str], told: str) -> None:
        self.count += 1
        folder, _, name = "/".join(key).rpartition("/")
        words = f" ({told})" if told else ""
        if self._every:
            self._lines.append(f"{folder}/{name}{words}")
        else:
            count, first = self._folders.get(folder, (0, f"{name}{words}"))
            self._folders[folder] = (count + 1, first)

    def problem(self, what: str, hint: str, examples: int | None) -> Problem:
        lines = self._lines or [
            f"{folder}: " + (first if count == 1 else f"{count:,} files, first {first}")
            for folder, (count, first) in self._folders.items()
        ]
        return _problem(f"{self.count:,} file{'s' * (self.count != 1)} {what}", hint, lines, self.count, examples)


def _sequences(
    wanted: dict[str, tuple[int, int]], held: dict[str, tuple[int, int]], examples: int | None
) -> Iterator[Problem]:
    """Sequences on one side only, or with other numbers of annotations."""
    other = [
        f"{key}: {held[key][0]:,} frames with {held[key][1]:,} people, expected {wanted[key][0]:,} with "
        f"{wanted[key][1]:,}"
        for key in sorted(wanted.keys() & held.keys())
        if wanted[key] != held[key]
    ]
    for what, lines in (
        ("missing here", sorted(wanted.keys() - held.keys())),
        ("only here", sorted(held.keys() - wanted.keys())),
        ("with other samples", other),
    ):
        if lines:
            what = f"{len(lines):,} sequence{'s' * (len(lines) != 1)} {what}"
            yield _problem(what, "trace verify-datasets says what is wrong with them", lines, len(lines), examples)


def _problem(what: str, hint: str, lines: Sequence[str], count: int, examples: int | None) -> Problem:
    return Problem(severity="error", what=what, count=count, examples=tuple(lines[:examples]), hint=hint)
