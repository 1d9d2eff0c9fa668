"""Verify datasets before a build, at three depths, each of which includes the previous one.

layout: folders, files and names. content: every image and annotation. geometry: consistency of the annotations.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from itertools import islice
from pathlib import Path
from time import monotonic
from typing import Any, Literal

from trace_data.adapters import adapter_identity, canonical_names, find_sequences, left_out, load_adapter
from trace_data.adapters.base import DatasetRoots, SequenceRef, absolute_roots
from trace_data.assets.bodies import load_bodies
from trace_data.builder.folder import versions
from trace_data.consistency.sequence import Consistency
from trace_data.consistency.sides import judge_sides
from trace_data.defects import Applied, known_defects
from trace_data.errors import ConfigError, TraceError
from trace_data.os_errors import in_words
from trace_data.progress import SILENT, Progress
from trace_data.schema.findings import EXAMPLES, Finding, Problem, any_error, grouped
from trace_data.schema.record import Split
from trace_data.verify.memory import VerifyMemory
from trace_data.verify.sequence import VerifyResult, VerifyTask, failure, finding, verify_sequence
from trace_data.workers import spread

Depth = Literal["layout", "content", "geometry"]
DEPTHS: tuple[Depth, ...] = ("layout", "content", "geometry")


@dataclass(frozen=True, slots=True, kw_only=True)
class DefectCount:
    """How often a known defect occurred."""

    reason: str
    effect: str
    sequences: int
    frames: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetReport:
    """Result for one dataset."""

    name: str
    layout: str
    """Recognised release layout, in words; "" when none was found."""
    sequences: Mapping[str, int]
    """Split to number of verified sequences."""
    frames: int
    people: int
    """0 at depth layout, where no annotation is opened."""
    synthetic: bool | None
    """Whether any sequence comes from the sample world; None at depth layout, where no annotation is opened."""
    problems: tuple[Problem, ...]
    defects: tuple[DefectCount, ...]
    """Known defects that were removed before the check; empty at depth layout."""
    kept: int
    """Number of sequences that were valid in an earlier run, have not changed since, and so were not read again."""
    geometry: tuple[Consistency, ...]
    """One per sequence at depth geometry, the worst reprojection first."""

    @property
    def ok(self) -> bool:
        """No errors; warnings do not count."""
        return not any_error(self.problems)


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """Result for all datasets."""

    depth: Depth
    roots: DatasetRoots
    datasets: tuple[DatasetReport, ...]
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether shards can be built from every dataset; the command exits 3 otherwise."""
        return all(dataset.ok for dataset in self.datasets)

    @property
    def largest_reprojection_px(self) -> float | None:
        """Largest distance between a projected 3D joint and its 2D joint, over everything measured."""
        spreads = [consistency.reprojection_px for dataset in self.datasets for consistency in dataset.geometry]
        return max((spread.worst for spread in spreads if spread is not None), default=None)

    def to_json(self) -> dict[str, Any]:
        """The report as one JSON object."""
        content = dataclasses.asdict(self)
        for written, dataset in zip(content["datasets"], self.datasets):
            written["ok"] = dataset.ok
        del content["roots"]
        return {**content, "root": str(self.roots.root), "seconds": round(self.seconds, 2), "ok": self.ok}


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyOptions:
    """Options of a verification."""

    depth: Depth = "layout"
    packs: Path | None = None
    """Prepared body models, to compare bodies with joints at depth geometry."""
    defects: bool = True
    """Whether known defects are removed first."""
    decode: bool = False
    """Whether every image is fully decoded; otherwise only its beginning and end are read."""
    limit: int | None = None
    """Maximum number of sequences of each split."""
    examples: int | None = EXAMPLES
    """Number of cases listed for each problem; None for all."""
    anew: bool = False
    """Whether results of earlier runs are ignored."""

    def context(self, adapter: str) -> str:
        """Everything besides its files that a sequence's result depends on."""
        packs = load_bodies(self.packs).identity() if self.packs is not None and self.depth == "geometry" else ""
        return f"{versions()['tool']} {adapter} {self.depth} {self.defects} {self.decode} {packs}"


def verify_datasets(
    names: Sequence[str],
    root: Path | DatasetRoots,
    *,
    depth: Depth = "layout",
    packs: Path | None = None,
    defects: bool = True,
    decode: bool = False,
    limit: int | None = None,
    examples: int | None = EXAMPLES,
    state: Path | None = None,
    anew: bool = False,
    jobs: int = 1,
    progress: Progress = SILENT,
) -> VerifyReport:
    """Verify the named datasets (all built-in ones when empty) under `root`. Problems are reported, never raised.

    `state`: file that records valid sequences, so that a later run reads only what has changed; without it everything
    is read. For the other options see `VerifyOptions`. Raises ConfigError on an unknown name or depth,
    AssetError when a pack is missing.
    """
    if depth not in DEPTHS:
        raise ConfigError(f"unknown depth {depth!r}", hint=f"depths are {', '.join(DEPTHS)}")
    began = monotonic()
    options = VerifyOptions(
        depth=depth, packs=packs, defects=defects, decode=decode, limit=limit, examples=examples, anew=anew
    )  # fmt: skip
    if packs is not None and depth == "geometry":
        load_bodies(packs)
    roots = absolute_roots(root)  # workers may stand elsewhere
    memory = VerifyMemory(state) if state is not None and depth != "layout" else None
    known = canonical_names(names)
    datasets = {name: _find(name, roots.of(name), options.limit) for name in known}
    refs = [ref for _, refs in datasets.values() for ref in refs]
    results: Iterator[VerifyResult] = iter(())
    if depth != "layout" and refs:
        with contextlib.nullcontext() if memory is None else memory.writing(progress):
            results = iter(_results(known, refs, options, memory, jobs, progress))
    reports = [
        _report(name, findings, refs, list(islice(results, len(refs))), options)
        for name, (findings, refs) in datasets.items()
    ]
    return VerifyReport(depth=depth, roots=roots, datasets=tuple(reports), seconds=monotonic() - began)


def _report(
    name: str,
    layout: Sequence[tuple[str, Finding]],
    refs: Sequence[SequenceRef],
    results: Sequence[VerifyResult],
    options: VerifyOptions,
) -> DatasetReport:
    """What the findings about the layout and the results of the sequences (none at depth layout) come to."""
    findings = list(layout)
    for ref, result in zip(refs, results):
        findings += [(ref.key, finding) for finding in result.findings]
    findings += judge_sides(name, [(ref.key, result.sides_agree) for ref, result in zip(refs, results)])
    measured = [result.consistency for result in results if result.consistency is not None]
    measured.sort(key=lambda a: -(a.reprojection_px.median if a.reprojection_px else 0.0))
    return DatasetReport(
        name=name,
        layout=", ".join(sorted({ref.layout for ref in refs})),
        sequences={split: sum(ref.split == split for ref in refs) for split in load_adapter(name).SPEC.splits},
        frames=sum(ref.frames for ref in refs),
        people=sum(result.people for result in results),
        synthetic=any(result.synthetic for result in results) if results else None,
        problems=grouped(findings, options.examples),
        defects=_counted([entry for result in results for entry in result.applied]),
        kept=sum(result.kept for result in results),
        geometry=tuple(measured),
    )


def _results(
    names: Sequence[str],
    refs: Sequence[SequenceRef],
    options: VerifyOptions,
    memory: VerifyMemory | None,
    jobs: int,
    progress: Progress,
) -> list[VerifyResult]:
    """Results of all sequences, in order; each is recorded as soon as it is known.

    All datasets share one pool of processes, since starting it and reading body models takes seconds.
    """
    frames = sum(ref.frames for ref in refs)
    progress.begin(f"verify {names[0] if len(names) == 1 else f'{len(names)} datasets'}", frames, "frames")
    contexts = {
        name: options.context(f"{adapter_identity(name)} {sha256(repr(known_defects(name)).encode()).hexdigest()}")
        for name in names
    }
    keys = [f"{ref.key} {ref.images}" for ref in refs]
    tasks = [
        VerifyTask(
            ref=ref,
            geometry=options.depth == "geometry",
            packs=options.packs,
            defects=options.defects,
            decode=options.decode,
            context=f"{contexts[ref.dataset]} {ref.layout} {ref.options} {ref.frames}",
            known=None if memory is None or options.anew else memory.recall(key),
        )
        for key, ref in zip(keys, refs)
    ]
    results: dict[int, VerifyResult] = {}
    for number, result in spread(verify_sequence, tasks, jobs=jobs, progress=progress):
        if memory is not None and result.known is not None:
            memory.remember(keys[number], result.known)
        results[number] = dataclasses.replace(result, known=None)
    kept = sum(result.kept for result in results.values())
    unchanged = f", {kept} not changed since they were found good" if kept else ""
    progress.end(f"{len(refs):,} sequences, {frames:,} frames{unchanged}")
    return [results[number] for number in range(len(tasks))]


def _counted(applied: Sequence[Applied]) -> tuple[DefectCount, ...]:
    counts: dict[tuple[str, str], list[int]] = {}
    for entry in applied:
        counts.setdefault((entry.reason, entry.effect), []).append(entry.frames)
    return tuple(
        DefectCount(reason=reason, effect=effect, sequences=len(frames), frames=sum(frames))
        for (reason, effect), frames in sorted(counts.items())
    )


def _find(name: str, root: Path, limit: int | None) -> tuple[list[tuple[str, Finding]], list[SequenceRef]]:
    """Findings about the layout, with their locations, and the sequences."""
    adapter = load_adapter(name)
    refs: list[SequenceRef] = []
    findings: list[tuple[str, Finding]] = []

    def attempt(look: Callable[[], None]) -> None:
        """Report an error once and go on with the other checks."""
        try:
            look()
            return
        except TraceError as error:
            case = (error.where or name, finding("layout", error))
        except OSError as error:
            what, hint = in_words(error)
            case = (str(error.filename), Finding(severity="error", key="layout", what=what, hint=hint))
        except Exception as error:  # noqa: BLE001  a defect of an adapter must not end the check of everything else
            case = (name, failure(error))
        if case not in findings:
            findings.append(case)

    def look_for(split: Split) -> None:
        for ref in find_sequences(name, root, split)[:limit]:
            if ref.broken is None:
                refs.append(ref)
            elif (case := (ref.broken.where or name, finding("layout", ref.broken))) not in findings:
                findings.append(case)

    for split in adapter.SPEC.splits:
        attempt(partial(look_for, split))
    attempt(lambda: findings.extend((name, finding) for finding in adapter.inspect(root)))
    attempt(lambda: findings.extend((name, found) for found in left_out(name, root) if (name, found) not in findings))
    if not refs and not any_error(entry for _, entry in findings):
        hint = adapter.SPEC.expected
        findings.append((str(root), Finding(severity="error", key="layout", what="no sequences", hint=hint)))
    return findings, refs
