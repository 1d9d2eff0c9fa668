"""Extract video frames as image files, for tools that need them. Builds read videos directly.

Frames are written atomically, so an interrupted run can be resumed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from time import monotonic
from typing import Any

from trace_data.adapters import adapter_of, canonical_name, find_sequences, load_adapter, read_record, root_of
from trace_data.adapters.base import DatasetRoots, FrameFile, SequenceRef, absolute_roots, folder_of
from trace_data.errors import AnnotationError, ConfigError, DatasetLayoutError, OutputError, TraceError
from trace_data.files import atomic_write, writable_folder
from trace_data.frames.image import ORIGINAL_QUALITY, encode
from trace_data.frames.video import Picture, contents
from trace_data.progress import SILENT, Progress
from trace_data.schema.findings import Finding, Problem, grouped
from trace_data.schema.frame import VideoFrame
from trace_data.schema.record import Split
from trace_data.verify.sequence import failure, finding
from trace_data.workers import spread


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractReport:
    """Result of an extraction."""

    name: str
    out: Path
    videos: int
    """Videos with frames to extract."""
    written: int
    """Frames written now."""
    kept: int
    """Frames that existed already."""
    without_video: int
    """Sequences whose frames are images already, or missing."""
    problems: tuple[Problem, ...]
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether every frame exists now; the command exits 3 otherwise."""
        return not self.problems

    def to_json(self) -> dict[str, Any]:
        """The report as one JSON object."""
        content: dict[str, Any] = {name: getattr(self, name) for name in self.__slots__}
        return {**content, "seconds": round(self.seconds, 2), "ok": self.ok}


def extract_frames(
    name: str,
    root: Path | DatasetRoots,
    *,
    out: Path | None = None,
    splits: Sequence[Split] = ("train", "val", "test"),
    every: int = 1,
    again: bool = False,
    quality: int = ORIGINAL_QUALITY,
    limit: int | None = None,
    jobs: int = 1,
    progress: Progress = SILENT,
) -> ExtractReport:
    """Write the annotated frames of a dataset's videos as JPEGs.

    An adapter with `frame_file` determines the file names, below `out` (default: the dataset's folder). Otherwise they
    are `{out}/{sequence}/{number:06d}.jpg` (default: its folder `frames`), numbered from 0 in the video. `every`:
    extract every N-th annotated frame. `again`: overwrite existing frames. `quality`: of the JPEGs, 1 to 100.
    Raises ConfigError, DatasetLayoutError, OutputError.
    """
    if every < 1 or not 1 <= quality <= 100:
        raise ConfigError(f"every {every} must be at least 1, quality {quality} from 1 to 100")
    began, name, root = monotonic(), canonical_name(name), absolute_roots(root)
    adapter = load_adapter(name)
    refs = [
        ref for split in adapter.SPEC.splits if split in splits for ref in find_sequences(name, root, split)[:limit]
    ]
    if not refs:
        raise DatasetLayoutError("no sequences", where=root_of(name, root), hint=f"trace verify-datasets {name}")
    folder = folder_of(adapter.SPEC, root_of(name, root), refs)
    out = (out or (folder if hasattr(adapter, "frame_file") else folder / "frames")).absolute()
    writable_folder(out)
    groups: dict[Path, list[SequenceRef]] = {}
    for ref in refs:
        groups.setdefault(ref.images, []).append(ref)
    tasks = [_Task(refs=tuple(group), out=out, every=every, again=again, quality=quality) for group in groups.values()]
    progress.begin(f"extract {name}", sum(-(-ref.frames // every) for ref in refs), "frames")
    results = [result for _, result in sorted(spread(_extract, tasks, jobs=jobs, progress=progress))]
    written, kept = sum(result.written for result in results), sum(result.kept for result in results)
    progress.end(f"{written:,} frames written, {kept:,} existed")
    return ExtractReport(
        name=name,
        out=out,
        videos=sum(result.videos for result in results),
        written=written,
        kept=kept,
        without_video=sum(result.without_video for result in results),
        problems=grouped([case for result in results for case in result.findings]),
        seconds=monotonic() - began,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    """Sequences that share a video."""

    refs: tuple[SequenceRef, ...]
    out: Path
    every: int
    again: bool
    quality: int


@dataclass(slots=True, kw_only=True)
class _Done:
    """Result of a task."""

    videos: int = 0
    written: int = 0
    kept: int = 0
    without_video: int = 0
    findings: list[tuple[str, Finding]]


def _extract(task: _Task, progress: Progress) -> _Done:
    done = _Done(findings=[])
    targets: dict[VideoFrame, Path] = {}
    for ref in task.refs:
        try:
            frames = read_record(ref, defects=False).frames[:: task.every]
            wanted = {frame: _target(ref, frame, task.out) for frame in frames if isinstance(frame, VideoFrame)}
        except TraceError as error:
            done.findings.append((ref.key, finding("annotation", error)))
        except Exception as error:  # noqa: BLE001  a defect of an adapter must not end the other videos
            done.findings.append((ref.key, failure(error)))
        else:
            done.without_video += not wanted
            targets |= wanted
    there = set() if task.again else {frame for frame, target in targets.items() if target.is_file()}
    done.kept = len(there)
    progress.skip(len(there))
    done.videos = len({frame.video for frame in targets})
    for video in sorted({frame.video for frame in targets}):
        frames_left = sorted(frame for frame in targets if frame.video == video and frame not in there)
        try:
            for content in contents(frames_left):
                assert isinstance(content, Picture)
                _save(encode(content.pixels, task.quality), targets[content.frame])
                done.written += 1
                progress.advance()
        except AnnotationError as error:
            done.findings.append((str(video), finding("video", error)))
    return done


def _target(ref: SequenceRef, frame: VideoFrame, out: Path) -> Path:
    """Output file of a frame. Raises ConfigError when the adapter names a path outside of `out`."""
    named: FrameFile | None = getattr(adapter_of(ref), "frame_file", None)
    inner = PurePath(ref.name, f"{frame.number:06d}.jpg") if named is None else PurePath(named(ref, frame.number))
    if inner.is_absolute() or ".." in inner.parts:
        raise ConfigError(f"frame_file gave {inner}, expected a path inside the dataset's folder", where=ref.key)
    return out / inner


def _save(data: bytes, target: Path) -> None:
    """Raises OutputError."""
    try:
        with atomic_write(target, durable=False) as partial:
            partial.write_bytes(data)
    except OSError as error:
        raise OutputError(
            f"cannot be written: {error.strerror}",
            where=target,
            hint="make room or give another --out DIR; the same command continues where it stopped",
        ) from error
