"""Imports released checkpoints into a folder, using the restricted unpickler and checking names; all or nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from trace_data.errors import CheckpointError, ConfigError
from trace_data.files import open_regular, read_within
from trace_data.progress import SILENT, Progress
from trace_data.unpickle.torch_file import read_state
from trace_train.weights.checks import Array, Checked, check, count, some
from trace_train.weights.folder import write
from trace_train.weights.published import PARTS, TensorUse, needed, table

LIMIT_BYTES = 1 << 31


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorGroup:
    """Tensors of one module that are imported in the same way."""

    module: str
    fate: TensorUse
    tensors: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PartReport:
    """Result of importing one file."""

    part: str
    """`image`, `head`, `flow`, or `start` for BEV heads from which a head is initialised."""
    source: str
    """The file that was read."""
    source_sha256: str
    source_bytes: int
    tensors: int
    prefixed: bool
    """Whether the names had DataParallel's prefix."""
    wrapper: str | None
    """Key of the weights in the file."""
    converted: int
    """Number of tensors converted to float32 or int64."""
    groups: tuple[TensorGroup, ...]
    missing: tuple[str, ...]
    """Published names missing in the file; none is needed."""
    unexpected: tuple[str, ...]
    """Names that the published file does not have."""
    notes: tuple[str, ...]
    """Messages for the user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """Result of an import."""

    out: Path
    parts: tuple[PartReport, ...]


def import_weights(
    files: Mapping[str, Path],
    out: Path,
    *,
    from_bev: Path | None = None,
    allow_unexpected: bool = False,
    force: bool = False,
    progress: Progress = SILENT,
) -> ImportReport:
    """Read the published files, given by part, and write the folder `out`.

    `from_bev`: an image checkpoint with BEV's heads. It gives the image part, and tensors of its heads with the name
    and shape of one of TRACE's initialise a head. Raises UnsafePickleError, AssetError, CheckpointError for a wrong
    file, OutputError for the folder; then nothing is written.
    """
    given = dict(files) | ({"image": from_bev} if from_bev is not None else {})
    if from_bev is not None and ("image" in files or "head" in files):
        raise ConfigError("--from-bev brings the image model and starts a head, so --image and --head exclude it")
    if not given:
        raise ConfigError("no file is named", hint="trace import-weights --help")
    parts: dict[str, dict[str, Array]] = {}
    reports = []
    progress.begin("read", len(given), "files")
    for name, path in given.items():
        option = "--from-bev" if name == "image" and from_bev is not None else f"--{name}"
        checked, report = _read(name, path, option, allow_unexpected)
        parts[name] = checked.tensors
        reports.append(report)
        progress.advance(1, path.name)
    progress.end()
    if from_bev is not None:
        parts["start"], report = _start(parts["image"], reports[list(given).index("image")])
        reports.append(report)
    write(out, parts, {report.part: asdict(report) for report in reports}, force=force)
    return ImportReport(out=out, parts=tuple(reports))


def _read(name: str, path: Path, option: str, allow_unexpected: bool) -> tuple[Checked, PartReport]:
    part = PARTS[name]
    try:
        with open_regular(path) as stream:
            data = read_within(stream, LIMIT_BYTES)
    except OSError as error:
        raise CheckpointError(
            f"cannot be read: {error.strerror}", where=path, hint=f"{option} takes {part.file}; see  trace docs weights"
        ) from error
    if len(data) > LIMIT_BYTES:
        raise CheckpointError(f"is larger than {LIMIT_BYTES:,} bytes, more than any published file", where=path)
    state = read_state(data, where=str(path))
    checked = check(part, state.tensors, where=str(path), option=option, allow_unexpected=allow_unexpected)
    notes = []
    twice = [n for n in checked.tensors if checked.fates[n] == "double"]
    differing = [n for n in twice if not np.array_equal(checked.tensors[n], checked.tensors[_other(n)])]
    if differing:
        notes.append(f"{count(len(differing), 'tensor')} differ from their double, which holds: {some(differing)}")
    if state.widened:
        notes.append(f"{count(len(state.widened), 'tensor')} had element type bfloat16, now float32 of the same values")
    if checked.converted:
        notes.append(f"{count(checked.converted, 'tensor')} had another element type, now float32 or int64")
    return checked, PartReport(
        part=name,
        source=path.name,
        source_sha256=hashlib.sha256(data).hexdigest(),
        source_bytes=len(data),
        tensors=len(checked.tensors),
        prefixed=checked.prefixed,
        wrapper=state.wrapper,
        converted=checked.converted,
        groups=_groups(checked.fates),
        missing=checked.missing,
        unexpected=tuple(n for n, fate in checked.fates.items() if fate == "unexpected"),
        notes=tuple(notes),
    )


def _other(name: str) -> str:
    return name.replace(".norm3.", ".downsample.1.")


def _groups(fates: Mapping[str, TensorUse]) -> tuple[TensorGroup, ...]:
    counts: dict[tuple[str, TensorUse], int] = {}
    for name, fate in fates.items():
        key = name.split(".")[0], fate
        counts[key] = counts.get(key, 0) + 1
    return tuple(TensorGroup(module=module, fate=fate, tensors=number) for (module, fate), number in counts.items())


def _start(image: Mapping[str, Array], read: PartReport) -> tuple[dict[str, Array], PartReport]:
    """Tensors of BEV's heads with the names and shapes of TRACE's; the published training starts from these."""
    head = table("temporal_published")
    start = {name: image[name] for name, shape in head.items() if name in image and image[name].shape == shape}
    missing = tuple(name for name in head if name not in start)
    if not start:
        raise CheckpointError(
            "has no head that fits TRACE's, only a backbone",
            where=read.source,
            hint="give it as --image; a head then starts from nothing",
        )
    report = PartReport(
        part="start",
        source=read.source,
        source_sha256=read.source_sha256,
        source_bytes=read.source_bytes,
        tensors=len(start),
        prefixed=read.prefixed,
        wrapper=read.wrapper,
        converted=0,
        groups=_groups(dict.fromkeys(start, "mapped")),
        missing=missing,
        unexpected=(),
        notes=(f"{len(needed(PARTS['head']) - start.keys()):,} tensors of the head begin from nothing",),
    )
    return start, report
