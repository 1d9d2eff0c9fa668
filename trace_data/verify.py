"""Datasets checked before anything is built from them, at three depths that include each other.

layout: folders, files and names. content: every image and every annotation. geometry: annotations against each other.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any, Literal

from trace_data.adapters import canonical_names, load_adapter, read_record
from trace_data.adapters.base import Adapter, SequenceRef
from trace_data.agreement import Agreement, judge, measure
from trace_data.completion import load_bodies
from trace_data.errors import AnnotationError, ConfigError, TraceError
from trace_data.frames import decode, image_size, read_bytes
from trace_data.problems import Problem, grouped
from trace_data.progress import SILENT, Progress
from trace_data.schema.check import Finding, check_record
from trace_data.schema.record import SequenceRecord
from trace_data.video import contents
from trace_data.workers import spread

Depth = Literal["layout", "content", "geometry"]
DEPTHS: tuple[Depth, ...] = ("layout", "content", "geometry")


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetReport:
    """What was found of one dataset."""

    name: str
    layout: str
    """Release layout found, in words; empty when none was."""
    sequences: Mapping[str, int]
    """Split to number of sequences checked."""
    frames: int
    people: int
    """0 at depth layout, where no annotation is opened."""
    synthetic: bool | None
    """Whether any sequence comes from the sample world; None at depth layout, where no annotation is opened."""
    problems: tuple[Problem, ...]
    geometry: tuple[Agreement, ...]
    """One a sequence at depth geometry, the worst reprojection first."""

    @property
    def ok(self) -> bool:
        """No errors; warnings do not count."""
        return not any(problem.severity == "error" for problem in self.problems)


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """What was found of all datasets."""

    depth: Depth
    root: Path
    datasets: tuple[DatasetReport, ...]
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether everything is ready to build from; the command exits 3 otherwise."""
        return all(dataset.ok for dataset in self.datasets)

    @property
    def largest_reprojection_px(self) -> float | None:
        """Worst distance of a projected 3D joint from its 2D joint, over everything measured."""
        spreads = [agreement.reprojection_px for dataset in self.datasets for agreement in dataset.geometry]
        return max((spread.worst for spread in spreads if spread is not None), default=None)

    def to_json(self) -> dict[str, Any]:
        """The report as one JSON object."""
        content = dataclasses.asdict(self)
        for written, dataset in zip(content["datasets"], self.datasets):
            written["ok"] = dataset.ok
        return {**content, "root": str(self.root), "seconds": round(self.seconds, 2), "ok": self.ok}


def verify_datasets(
    names: Sequence[str],
    root: Path,
    *,
    depth: Depth = "layout",
    packs: Path | None = None,
    limit: int | None = None,
    jobs: int = 1,
    progress: Progress = SILENT,
) -> VerifyReport:
    """Check the named datasets (all known ones when empty) under `root`. Problems are reported, never raised.

    `packs`: prepared body models, with which geometry compares bodies with joints. `limit`: at most so many sequences
    of each split. Raises ConfigError on an unknown name or depth, AssetError when a pack is missing.
    """
    if depth not in DEPTHS:
        raise ConfigError(f"unknown depth {depth!r}", hint=f"depths are {', '.join(DEPTHS)}")
    began = monotonic()
    if packs is not None and depth == "geometry":
        load_bodies(packs)
    reports = [_verify_dataset(name, root, depth, packs, limit, jobs, progress) for name in canonical_names(names)]
    return VerifyReport(depth=depth, root=root, datasets=tuple(reports), seconds=monotonic() - began)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    ref: SequenceRef
    depth: Depth
    packs: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Result:
    findings: tuple[Finding, ...]
    people: int = 0
    synthetic: bool = False
    agreement: Agreement | None = None


def _verify_dataset(
    name: str, root: Path, depth: Depth, packs: Path | None, limit: int | None, jobs: int, progress: Progress
) -> DatasetReport:
    adapter = load_adapter(name)
    found, refs = _find(adapter, root, limit)
    results: list[_Result] = []
    if depth != "layout" and refs:
        frames = sum(ref.frames for ref in refs)
        progress.begin(f"verify {name}", frames, "frames")
        tasks = [_Task(ref=ref, depth=depth, packs=packs) for ref in refs]
        by_number = dict(spread(_verify_sequence, tasks, jobs=jobs, progress=progress))
        results = [by_number[number] for number in range(len(tasks))]
        progress.end(f"{len(refs)} sequences, {frames:,} frames")
    for ref, result in zip(refs, results):
        found += [(ref.key, finding) for finding in result.findings]
    measured = [result.agreement for result in results if result.agreement is not None]
    measured.sort(key=lambda a: -(a.reprojection_px.median if a.reprojection_px else 0.0))
    return DatasetReport(
        name=name,
        layout=", ".join(sorted({ref.layout for ref in refs})),
        sequences={split: sum(ref.split == split for ref in refs) for split in adapter.SPEC.splits},
        frames=sum(ref.frames for ref in refs),
        people=sum(result.people for result in results),
        synthetic=any(result.synthetic for result in results) if results else None,
        problems=grouped(found),
        geometry=tuple(measured),
    )


def _find(adapter: Adapter, root: Path, limit: int | None) -> tuple[list[tuple[str, Finding]], list[SequenceRef]]:
    """Findings about the layout, each with where, and the sequences."""
    refs: list[SequenceRef] = []
    try:
        for split in adapter.SPEC.splits:
            refs += adapter.find(root, split)[:limit]
        found = [(adapter.SPEC.name, finding) for finding in adapter.inspect(root)]
    except TraceError as error:
        return [(error.where or adapter.SPEC.name, _finding("layout", error))], refs
    except OSError as error:
        what = f"cannot be read: {error.strerror}"
        hint = "a permission or a network mount, not a missing file"
        return [(str(error.filename), Finding(severity="error", key="layout", what=what, hint=hint))], refs
    if not refs:
        found.append(
            (str(root), Finding(severity="error", key="layout", what="no sequences", hint=adapter.SPEC.expected))
        )
    return found, refs


def _verify_sequence(task: _Task, progress: Progress) -> _Result:
    """Content, and geometry where asked for, of one sequence."""
    try:
        record = read_record(task.ref)
    except AnnotationError as error:
        progress.advance(task.ref.frames)
        return _Result(findings=(_finding("annotation", error),))
    findings = check_record(record)
    if task.ref.frames > len(record.frames):
        findings.append(
            Finding(
                severity="warning",
                key="frames",
                what=f"{task.ref.frames} images, {len(record.frames)} annotated frames",
                hint="the images after the last annotated frame are not used",
            )
        )
    findings += _images(record, progress)
    progress.advance(task.ref.frames - len(record.frames))
    agreement = None
    if task.depth == "geometry" and not any(finding.severity == "error" for finding in findings):
        agreement = measure(record, None if task.packs is None else load_bodies(task.packs))
        findings += judge(agreement, record)
    return _Result(
        findings=tuple(findings),
        people=len(record.people),
        synthetic=record.provenance.get("synthetic") == "true",
        agreement=agreement,
    )


def _images(record: SequenceRecord, progress: Progress) -> list[Finding]:
    """Every frame opens, is whole, decodes and has the sequence's size. A video is given up at its first failure."""
    findings = []
    expected = (record.camera.width, record.camera.height)
    try:
        for content in contents(record.frames):
            try:
                size = _image(content) if isinstance(content, Path) else content.pixels.shape[1::-1]
                if size != expected:
                    where = content if isinstance(content, Path) else str(content.frame)
                    raise AnnotationError(f"{size[0]}x{size[1]} px, expected {expected[0]}x{expected[1]}", where=where)
            except AnnotationError as error:
                findings.append(_finding("image", error))
            progress.advance()
    except AnnotationError as error:
        findings.append(_finding("video", error))
    return findings


def _image(file: Path) -> tuple[int, ...]:
    """(width, height) of an image that decodes."""
    data = read_bytes(file)
    size = image_size(data, file)
    decode(data, file, reduce=8, strict=True)
    return size


def _finding(key: str, error: TraceError) -> Finding:
    where = f" ({error.where})" if error.where else ""
    return Finding(severity="error", key=key, what=f"{error.message}{where}", hint=error.hint or "")
