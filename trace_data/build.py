"""Datasets to shards: planned, spread over processes, resumable, the same bytes whatever the number of workers.

A plan puts whole sequences into shards by their estimated size alone. Each finished shard leaves a record in `.build/`
with the hash of the file; a build that starts again checks those and redoes the rest. `index.json` comes last.
"""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np

from trace_data.adapters import canonical_names, load_adapter
from trace_data.adapters.base import SequenceRef
from trace_data.build_shard import BUILD_FOLDER, ShardPlan, ShardResult, Work, build_shard
from trace_data.completion import load_bodies
from trace_data.errors import AnnotationError, ConfigError, DatasetLayoutError, OutputError
from trace_data.frames import JPEG_QUALITY, image_size, read_bytes
from trace_data.output import exclusive, writable_folder
from trace_data.progress import SILENT, Progress
from trace_data.shards.index import BadSequence, SequenceEntry, ShardEntry, ShardIndex, save_index, write_json
from trace_data.shards.layout import FORMAT_VERSION, INDEX_FILE
from trace_data.shards.levels import ENLARGEMENT_BINS, Storage
from trace_data.workers import spread

SHARD_FILE = re.compile(r".+-(train|val|test)-\d{5}\.h5(\.partial)?")
BYTES_PER_PIXEL = 0.25
"""Of a stored JPEG; measured 0.24 on 720p video at quality 90 (fact sheet performance.md, section 3)."""
ROW_BYTES = 2048
"""Annotations of a frame: one or two people of 1.6 KB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildReport:
    """What a build did."""

    index: ShardIndex
    """The finished index."""
    kept: int
    """Shards that were finished before and verified."""
    built: int
    """Shards written now."""
    frames: int
    """Frames written now."""
    seconds: float
    """Time of this run."""
    warnings: tuple[str, ...]
    """What somebody should know, one line each."""
    enlarged: tuple[int, ...]
    """How many usual crops of 512 px need which enlargement, see `shards.levels.ENLARGEMENT_BINS`."""

    @property
    def bad(self) -> tuple[BadSequence, ...]:
        """Sequences left out, with their reasons; the command exits 3 when there are any."""
        return self.index.bad

    def to_json(self) -> dict[str, Any]:
        """The report as one JSON object."""
        return {
            "folder": str(self.index.folder),
            "shards": len(self.index.shards),
            "bytes": sum(entry.bytes for entry in self.index.shards),
            "sequences": len(self.index.sequences),
            "frames": sum(entry.frames for entry in self.index.shards),
            "people": self.index.people,
            "synthetic": self.index.synthetic,
            "kept": self.kept,
            "built": self.built,
            "frames_written": self.frames,
            "seconds": round(self.seconds, 2),
            "frames_per_second": round(self.frames / self.seconds, 1) if self.seconds else 0.0,
            "bad": [dataclasses.asdict(bad) for bad in self.bad],
            "enlarged_crops": dict(zip(("1", *(f"{low:g}+" for low in ENLARGEMENT_BINS)), self.enlarged)),
            "warnings": list(self.warnings),
        }


def build_shards(
    names: Sequence[str],
    root: Path,
    out: Path,
    *,
    packs: Path | None = None,
    splits: Sequence[str] = ("train", "val", "test"),
    limit: int | None = None,
    storage: Storage = Storage(),  # noqa: B008  frozen
    shard_bytes: int = 512 << 20,
    jobs: int = 1,
    force: bool = False,
    progress: Progress = SILENT,
) -> BuildReport:
    """Build shards of the named datasets (all known ones when empty) under `root` into the folder `out`.

    `packs`: prepared body models; without them the 44 joints are those of the release and neutral betas stay empty.
    `limit`: at most so many sequences of each dataset and split. `storage`: in which sizes frames are
    stored.
    `shard_bytes`: a shard is closed when it has grown beyond this. A bad sequence is left out and listed in the report.
    Raises ConfigError, DatasetLayoutError, AssetError before anything is written; OutputError when `out` holds
    something else or cannot be written.
    """
    began = monotonic()
    plans, frame_bytes = plan_shards(names, root, splits=splits, limit=limit, storage=storage, shard_bytes=shard_bytes)
    settings = _settings(names, splits, limit, storage, shard_bytes, packs)
    writable_folder(out)
    with exclusive(out / BUILD_FOLDER):
        _claim(out, settings, force=force)
        _check_space(out, frame_bytes)
        warnings = []
        if packs is None:
            warnings.append("no body models: neutral shapes stay empty and only the release's own joints are kept")
        results = _run([Work(plan=plan, out=out, packs=packs, storage=storage) for plan in plans], jobs, progress)
        index = _assemble(out, results, settings)
        save_index(index)
    for result in results:
        warnings.extend(result.warnings)
    for line in (*warnings, *(f"left out: {bad.key}: {bad.reason}" for bad in index.bad)):
        progress.say(line)
    return BuildReport(
        index=index,
        kept=sum(result.kept for result in results),
        built=sum(not result.kept and result.shard is not None for result in results),
        frames=sum(result.shard.frames for result in results if result.shard is not None and not result.kept),
        seconds=monotonic() - began,
        warnings=tuple(warnings),
        enlarged=tuple(np.sum([result.enlarged for result in results], axis=0).tolist()),
    )


def plan_shards(
    names: Sequence[str],
    root: Path,
    *,
    splits: Sequence[str],
    limit: int | None,
    storage: Storage,
    shard_bytes: int,
) -> tuple[list[ShardPlan], int]:
    """Which sequences go into which shard, and the estimated bytes of all. The same files give the same plan.

    A shard holds whole sequences of one dataset and split.
    """
    plans: list[ShardPlan] = []
    total = 0
    for name in canonical_names(names):
        adapter = load_adapter(name)
        unknown = [split for split in splits if split not in adapter.SPEC.splits]
        if unknown:
            raise ConfigError(f"{name} has no split {unknown[0]!r}", hint=f"it has {', '.join(adapter.SPEC.splits)}")
        for split in (split for split in adapter.SPEC.splits if split in splits):
            group: list[SequenceRef] = []
            size = 0
            refs = adapter.find(root, split)[:limit]
            for ref in refs:
                group.append(ref)
                size += _estimate(ref, storage)
                if size >= shard_bytes or ref is refs[-1]:
                    count = sum(plan.split == split and plan.dataset == name for plan in plans)
                    plans.append(ShardPlan(name=f"{name}-{split}-{count:05d}", dataset=name, split=split,
                                           refs=tuple(group)))  # fmt: skip
                    total, group, size = total + size, [], 0
    if not plans:
        raise DatasetLayoutError(
            f"no sequences of {', '.join(canonical_names(names))}", where=root, hint="trace verify-datasets"
        )
    return plans, total


def _estimate(ref: SequenceRef, storage: Storage) -> int:
    """Bytes that a sequence will take: from its first image, the others being alike."""
    first = min(ref.images.glob("*"), default=None) if ref.images.is_dir() else None
    if first is None:
        return 0
    try:
        data = read_bytes(first)
        size = image_size(data, first)
    except AnnotationError:
        return 0  # the sequence will be left out, and the build says why
    frame = 0
    for height in storage.heights or (min(size),):
        scale = min(1.0, height / min(size))
        frame += len(data) if scale == 1.0 else int(size[0] * size[1] * scale**2 * BYTES_PER_PIXEL)
    return ref.frames * (frame + ROW_BYTES)


def _settings(
    names: Sequence[str],
    splits: Sequence[str],
    limit: int | None,
    storage: Storage,
    shard_bytes: int,
    packs: Path | None,
) -> dict[str, Any]:
    """Everything that decides the bytes of a build, besides the input; also written into the index."""
    identity: dict[str, str] = {}
    if packs is not None:
        identity = load_bodies(packs).identity()
    if min(storage.heights, default=16) < 16 or shard_bytes < 1 or (limit is not None and limit < 1):
        raise ConfigError(
            f"heights {list(storage.heights)} px, {shard_bytes} bytes a shard and limit {limit} are too small"
        )
    return {
        "names": canonical_names(names),
        "splits": sorted(set(splits)),
        "limit": limit,
        "heights": list(storage.heights),
        "raised": storage.raised,
        "jpeg_quality": JPEG_QUALITY,
        "shard_bytes": shard_bytes,
        "body_models": identity,
        "format_version": FORMAT_VERSION,
    }


def _claim(out: Path, settings: dict[str, Any], *, force: bool) -> None:
    """Make `out` ours: empty, or begun with the same settings, or cleared by `force`. Raises OutputError."""
    file = out / BUILD_FOLDER / "settings.json"
    if file.is_file():
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            found = {}
        differing = sorted(key for key in settings if found.get(key) != settings[key])
        if not differing and not force:
            return
        if not force:
            key = differing[0]
            raise OutputError(
                f"the folder holds a build with other settings: {key} {found.get(key)}, now {settings[key]}",
                where=out,
                hint="give another --out DIR, or --force to build anew here",
            )
    elif not force and any(entry.name != BUILD_FOLDER for entry in out.iterdir()):
        raise OutputError(
            "the folder is not empty and holds no build", where=out, hint="give another --out DIR, or --force"
        )
    shards = [file for file in out.iterdir() if SHARD_FILE.fullmatch(file.name)]
    for entry in [out / INDEX_FILE, *shards, *(out / BUILD_FOLDER).glob("*.json")]:
        entry.unlink(missing_ok=True)
    write_json(file, settings)


def _check_space(out: Path, needed: int) -> None:
    """Raises OutputError unless the disk has room. What an earlier run has written is already taken off."""
    present = sum(file.stat().st_size for file in out.glob("*.h5"))
    free = shutil.disk_usage(out).free
    if needed - present > free:
        raise OutputError(
            f"the shards need about {needed - present:,} bytes more, {free:,} are free",
            where=out,
            hint="choose a larger disk with --out DIR, a smaller --height, or fewer datasets",
        )


def _run(tasks: Sequence[Work], jobs: int, progress: Progress) -> list[ShardResult]:
    frames = sum(ref.frames for task in tasks for ref in task.plan.refs)
    progress.begin("build shards", frames, "frames")
    results = dict(spread(build_shard, tasks, jobs=jobs, progress=progress))
    progress.end(f"{len(tasks)} shards, {frames:,} frames")
    return [results[number] for number in range(len(tasks))]


def _assemble(out: Path, results: Sequence[ShardResult], settings: dict[str, Any]) -> ShardIndex:
    """Number shards and people over the whole folder."""
    import cv2
    import h5py

    shards: list[ShardEntry] = []
    sequences: list[SequenceEntry] = []
    people = 0
    for result in results:
        if result.shard is None:
            continue
        for entry in result.sequences:
            sequences.append(dataclasses.replace(entry, shard=len(shards), first_person=people))
            people += len(entry.people)
        shards.append(result.shard)
    return ShardIndex(
        folder=out,
        shards=tuple(shards),
        sequences=tuple(sequences),
        bad=tuple(bad for result in results for bad in result.bad),
        settings=settings,
        provenance={
            "tool": f"trace-5d {metadata.version('trace-5d')}",
            "opencv": str(cv2.__version__),
            "hdf5": str(h5py.version.hdf5_version),
        },
    )
