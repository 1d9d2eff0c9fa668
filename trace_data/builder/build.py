"""Build shards from datasets, in parallel and resumable. The bytes do not depend on the number of workers.

A plan assigns whole sequences to shards by their estimated size. Each finished shard leaves a record in `.build/` with
the file's hash; a restarted build verifies these shards and builds the rest. `index.json` is written last.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any, TypeVar

import numpy as np

from trace_data.adapters import canonical_names, own_adapters
from trace_data.adapters.base import DatasetRoots, absolute_roots
from trace_data.assets.bodies import load_bodies
from trace_data.builder.engines import Engine, LocalEngine
from trace_data.builder.folder import BuildFolder, made_with
from trace_data.builder.plan import BuildPart, Selection, ShardPlan, part_of, plan_shards
from trace_data.builder.shard import CHECKS, Check, ShardResult, Work, build_shard, finished_shard
from trace_data.builder.size import correction
from trace_data.consistency.sides import judge_sides
from trace_data.errors import ConfigError, ShardError
from trace_data.frames.image import JPEG_QUALITY
from trace_data.progress import SILENT, Progress, counted, size_in_words
from trace_data.shards.entries import BadSequence, SequenceEntry, ShardIndex, numbered
from trace_data.shards.index import save_index
from trace_data.shards.layout import FORMAT_VERSION, SHARD_BYTES
from trace_data.shards.levels import ENLARGEMENT_BINS, Storage

Result = TypeVar("Result")

NAMED = 8
"""Number of missing shards named in an error; a whole part may be missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildReport:
    """Result of a build."""

    index: ShardIndex
    """The index; for a part, its own entries."""
    part: BuildPart | None
    """The part that was built; None for a whole build, which also writes the index."""
    kept: int
    """Shards of an earlier run that were verified and kept."""
    built: int
    """Shards written in this run."""
    frames: int
    """Frames written in this run."""
    bytes: int
    """Bytes of shards written in this run."""
    seconds: float
    """Time of this run."""
    warnings: tuple[str, ...]
    """Warnings, one line each."""

    @property
    def bad(self) -> tuple[BadSequence, ...]:
        """Sequences left out, with their reasons; the command exits 3 when there are any."""
        return self.index.bad

    def to_json(self) -> dict[str, Any]:
        """The report as one JSON object."""
        return {
            "folder": str(self.index.folder),
            "part": None if self.part is None else str(self.part),
            "shards": len(self.index.shards),
            "bytes": sum(entry.bytes for entry in self.index.shards),
            "sequences": len(self.index.sequences),
            "frames": sum(entry.frames for entry in self.index.shards),
            "people": self.index.people,
            "synthetic": self.index.synthetic,
            "kept": self.kept,
            "built": self.built,
            "frames_written": self.frames,
            "bytes_written": self.bytes,
            "seconds": round(self.seconds, 2),
            "frames_per_second": round(self.frames / self.seconds, 1) if self.seconds else 0.0,
            "bad": [dataclasses.asdict(bad) for bad in self.bad],
            "with_known_defects": sum(bool(entry.provenance.get("defects")) for entry in self.index.sequences),
            "enlarged_crops": dict(self.index.enlarged_crops),
            "warnings": list(self.warnings),
        }


def build_shards(
    names: Sequence[str],
    root: Path | DatasetRoots,
    out: Path,
    *,
    packs: Path | None = None,
    splits: Sequence[str] = ("train", "val", "test"),
    sequences: Sequence[str] = (),
    limit: int | None = None,
    every: int = 1,
    storage: Storage = Storage(),  # noqa: B008  frozen
    defects: bool = True,
    check: Check = "content",
    shard_bytes: int = SHARD_BYTES,
    part: BuildPart | None = None,
    finish: bool = False,
    jobs: int = 1,
    engine: Engine | None = None,
    force: bool = False,
    progress: Progress = SILENT,
) -> BuildReport:
    """Build shards of the named datasets (all known ones when empty) under `root` into the folder `out`.

    `packs`: prepared body models; without them only the release's own joints are kept and neutral betas stay empty.
    `splits`, `sequences`, `limit`, `every`: see `Selection`. `storage`: sizes of stored frames. `defects`: whether
    known defects of a dataset are removed. `check`: see `shard.CHECKS`.
    `shard_bytes`: a shard is closed once it exceeds this. `part`: build only these shards and no index; `finish`: build
    nothing, but write the index once all shards exist. `engine`: where tasks run (default: `jobs` local processes).
    A bad sequence is left out and listed in the report.
    Raises ConfigError, DatasetLayoutError, AssetError before anything is written; OutputError when `out` holds other
    content or cannot be written; ShardError when `finish` finds a shard missing or damaged.
    """
    began = monotonic()
    selection = Selection(splits=tuple(splits), sequences=tuple(sequences), limit=limit, every=every)
    if check not in CHECKS:
        raise ConfigError(f"unknown check {check!r}", hint=f"checks are {', '.join(CHECKS)}")
    settings = _settings(names, selection, storage, shard_bytes, packs) | {"defects": defects, "check": check}
    root, out, packs = absolute_roots(root), out.absolute(), packs and packs.absolute()  # workers may stand elsewhere
    plans = plan_shards(names, root, selection, storage=storage, shard_bytes=shard_bytes)
    numbers = range(len(plans)) if part is None else part_of(plans, part)
    engine = engine or LocalEngine(jobs=jobs)
    folder = BuildFolder(out)
    with folder.held(None if part is None else numbers) as lock:
        folder.claim(settings, lock, part=part, force=force, say=progress.log)
        mine = [plans[number] for number in numbers]
        tasks = [
            Work(
                plan=plan,
                root=root.of(plan.dataset),
                out=out,
                record=folder.record(plan.name),
                packs=packs,
                storage=storage,
                defects=defects,
                check=check,
            )
            for plan in mine
        ]
        read = [*dict.fromkeys(task.root for task in tasks), *([] if packs is None else [packs])]
        if finish:
            finished = _run(engine, finished_shard, tasks, "verify shards", progress, folder, read)
            results = _complete(out, plans, finished, folder.parts())
        else:
            _announce(folder, mine, storage, engine, progress)
            results = _run(engine, build_shard, tasks, "build shards", progress, folder, read)
        index = _assemble(out, results, settings)
        if part is None:
            folder.drop_all_but(plans)
            save_index(index)
    warnings = [line for result in results for line in result.warnings] + _of_whole_datasets(mine, results)
    if packs is None:
        warnings.insert(0, "no body models: neutral shapes stay empty and only the release's own joints are kept")
    for line in warnings:
        progress.log(line)
    new = [result.shard for result in results if result.shard is not None and not result.kept]
    return BuildReport(
        index=index,
        part=part,
        kept=sum(result.kept for result in results),
        built=len(new),
        frames=sum(shard.frames for shard in new),
        bytes=sum(shard.bytes for shard in new),
        seconds=monotonic() - began,
        warnings=tuple(warnings),
    )


def _settings(
    names: Sequence[str], selection: Selection, storage: Storage, shard_bytes: int, packs: Path | None
) -> dict[str, Any]:
    """Everything besides the input that determines the bytes of a build; also written into the index."""
    selection.check()
    if min(storage.heights, default=16) < 16 or shard_bytes < 1:
        raise ConfigError(f"heights {list(storage.heights)} px and {shard_bytes} bytes a shard are too small")
    return {
        "names": canonical_names(names),
        "adapters": own_adapters(names),
        "splits": sorted(set(selection.splits)),
        "sequences": sorted(set(selection.sequences)),
        "limit": selection.limit,
        "every": selection.every,
        "heights": list(storage.heights),
        "raised": storage.raised,
        "jpeg_quality": JPEG_QUALITY,
        "shard_bytes": shard_bytes,
        "body_models": {} if packs is None else load_bodies(packs).identity(),
        "format_version": FORMAT_VERSION,
        **made_with(storage),
    }


def _announce(
    folder: BuildFolder, plans: Sequence[ShardPlan], storage: Storage, engine: Engine, progress: Progress
) -> None:
    """Check the disk space and announce the build."""
    if not plans:
        progress.log("this part is empty: there are fewer shards than parts; a smaller --shard-size makes more of them")
        return
    unwritten = folder.unwritten(plans)
    needed = 0.0
    for dataset in sorted({plan.dataset for plan in unwritten}):
        own = [plan for plan in unwritten if plan.dataset == dataset]
        refs = [ref for plan in own for ref in plan.refs]
        needed += correction(refs, storage, own[0].every) * sum(plan.guess for plan in own)
    largest = sorted((plan.guess for plan in unwritten), reverse=True)
    free = folder.check_space(int(needed), sum(largest[: engine.jobs]))
    there = len(plans) - len(unwritten)
    facts = [
        f"needs about {size_in_words(needed)}, {size_in_words(free)} free" if unwritten else "",
        f"{there} of {counted(len(plans), 'shard')} there already" if there else "",
        engine.words,
        counted(sum(len(plan.refs) for plan in plans), "sequence"),
        "resumes after any interruption",
    ]
    progress.log(" · ".join(fact for fact in facts if fact))


def _run(
    engine: Engine,
    function: Callable[[Work, Progress], Result],
    tasks: Sequence[Work],
    title: str,
    progress: Progress,
    folder: BuildFolder,
    read: Sequence[Path],
) -> list[Result]:
    """Results of `function` for each task, in order."""
    frames = sum(task.plan.frames for task in tasks)
    progress.begin(title, frames, "frames")
    results = dict(engine.run(function, tasks, progress, shared=folder.state, read=read))
    progress.end(counted(len(tasks), "shard"))
    return [results[number] for number in range(len(tasks))]


def _complete(
    out: Path, plans: Sequence[ShardPlan], results: Sequence[ShardResult | None], parts: int
) -> list[ShardResult]:
    """All results. Raises ShardError that names the missing shards and the parts they belong to."""
    missing = {plan.name for plan, result in zip(plans, results) if result is None}
    if missing:
        of = [BuildPart(number=number + 1, of=parts) for number in range(parts)]
        again = [str(part) for part in of if missing & {plans[number].name for number in part_of(plans, part)}]
        named = ", ".join(sorted(missing)[:NAMED]) + (", …" if len(missing) > NAMED else "")
        hint = "the same command without --finish builds whatever is missing and writes the index"
        if parts > 1:
            hint += f";\n  with --part {' and with --part '.join(again)} in place of --finish it builds these parts"
        raise ShardError(
            f"{len(missing)} of {len(plans)} shards are missing or not as they were written: {named}",
            where=out,
            hint=hint,
        )
    return [result for result in results if result is not None]


def _of_whole_datasets(plans: Sequence[ShardPlan], results: Sequence[ShardResult]) -> list[str]:
    """What only the sequences of a dataset together show: one line for each."""
    votes: dict[str, list[tuple[str, bool | None]]] = {}
    for plan, result in zip(plans, results):
        votes.setdefault(plan.dataset, []).extend(result.sides)
    found = [case for dataset, cast in votes.items() for case in judge_sides(dataset, cast)]
    return [f"{where}: {finding.key}: {finding.what}; {finding.hint}" for where, finding in found]


def _assemble(out: Path, results: Sequence[ShardResult], settings: dict[str, Any]) -> ShardIndex:
    """The index of all results."""
    import cv2
    import h5py

    shards = tuple(result.shard for result in results if result.shard is not None)
    sequences = numbered([result.sequences for result in results if result.shard is not None])
    bins = ("1", *(f"{low:g}+" for low in ENLARGEMENT_BINS))
    enlarged = [sum(counts) for counts in zip(*(result.enlarged for result in results))]
    return ShardIndex(
        folder=out,
        shards=shards,
        sequences=sequences,
        bad=tuple(bad for result in results for bad in result.bad),
        settings=settings,
        provenance={
            **made_with(Storage()),
            "opencv": str(cv2.__version__),
            "numpy": np.__version__,
            "hdf5": str(h5py.version.hdf5_version),
        },
        datasets=_datasets(sequences),
        enlarged_crops=dict(zip(bins, enlarged)),
    )


def _datasets(sequences: Sequence[SequenceEntry]) -> dict[str, dict[str, tuple[str, ...]]]:
    """Per dataset, all provenance values of its sequences."""
    facts: dict[str, dict[str, set[str]]] = {}
    for entry in sequences:
        for key, value in entry.provenance.items():
            facts.setdefault(entry.dataset, {}).setdefault(key, set()).update([value] if value else [])
    return {
        name: {key: tuple(sorted(values)) for key, values in sorted(values.items())} for name, values in facts.items()
    }
