"""Verify one sequence: its annotation, its frames, and their consistency."""

from __future__ import annotations

import io
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path

import numpy as np

from trace_data.adapters import read_record
from trace_data.adapters.base import SequenceRef
from trace_data.assets.bodies import load_bodies
from trace_data.consistency.sequence import Consistency, judge, measure
from trace_data.defects import Applied, known_defects, take_out
from trace_data.errors import AnnotationError, TraceError
from trace_data.frames.image import decode, file_header, image_size, read_bytes
from trace_data.frames.orientation import UPRIGHT, orientation
from trace_data.frames.video import check_edits, contents
from trace_data.os_errors import MOUNT_AGAIN, TOO_LITTLE_MEMORY, in_words
from trace_data.progress import Progress
from trace_data.schema.check import check_record
from trace_data.schema.findings import Finding, any_error
from trace_data.schema.frame import Frame, PaddedFrame, TurnedFrame, VideoFrame, file_of
from trace_data.schema.record import SequenceRecord
from trace_data.verify.memory import Remembered, stamp, stamp_of_all
from trace_data.workers import in_order

AT_ONCE = 64
"""Images per step, since a step costs more than checking an image."""
PADDED, LYING = "\0padded", "\0lying"


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyTask:
    """A sequence and the options of its verification."""

    ref: SequenceRef
    geometry: bool
    """Whether annotations are checked for consistency."""
    packs: Path | None
    defects: bool
    """Whether known defects are removed first."""
    decode: bool
    """Whether every image is fully decoded."""
    context: str
    """Everything besides the files that the result depends on."""
    known: Remembered | None
    """Result of an earlier run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyResult:
    """Result for one sequence."""

    findings: tuple[Finding, ...]
    people: int = 0
    synthetic: bool = False
    sides_agree: bool | None = None
    """See `SequenceRecord.sides_agree`."""
    consistency: Consistency | None = None
    applied: tuple[Applied, ...] = ()
    """Known defects that were removed."""
    kept: bool = False
    """Whether the result is an earlier run's, since nothing has changed."""
    known: Remembered | None = None
    """Record for later runs."""


def verify_sequence(task: VerifyTask, progress: Progress) -> VerifyResult:
    """Check one sequence. All errors become findings, including failures of the adapter."""
    if (before := _unchanged(task)) is not None:
        progress.skip(task.ref.frames)
        return before
    counted = _Left(progress, task.ref.frames)
    try:
        return _verify(task, counted)
    except TraceError as error:
        return VerifyResult(findings=(finding("annotation", error),))
    except OSError as error:
        what, hint = in_words(error)
        return VerifyResult(
            findings=(Finding(severity="error", key="files", what=f"{what} ({error.filename})", hint=hint),)
        )
    except Exception as error:  # noqa: BLE001  a defect of an adapter must not end the check of everything else
        return VerifyResult(findings=(failure(error),))
    finally:
        progress.advance(counted.left)


def finding(key: str, error: TraceError) -> Finding:
    """The finding for an error."""
    where = f" ({error.where})" if error.where else ""
    return Finding(severity="error", key=key, what=f"{error.message}{where}", hint=error.hint or "")


def failure(error: Exception) -> Finding:
    """What is said of an adapter that failed in a way that it does not know itself."""
    if isinstance(error, MemoryError):
        return Finding(severity="error", key="memory", what="there is too little memory for it", hint=TOO_LITTLE_MEMORY)
    last = traceback.extract_tb(error.__traceback__)[-1]
    what = f"the adapter failed: {type(error).__name__}: {error} ({last.filename}:{last.lineno})"
    return Finding(severity="error", key="adapter", what=what, hint="a defect of the adapter, or data it never met")


class _Left(Progress):
    """Forwards progress and counts the remaining steps, since a sequence may be shorter than expected, or broken."""

    def __init__(self, progress: Progress, total: int) -> None:
        self.left = total
        self._progress = progress

    def advance(self, amount: int = 1, detail: str = "") -> None:
        amount = min(amount, self.left)
        self.left -= amount
        self._progress.advance(amount, detail)


def _unchanged(task: VerifyTask) -> VerifyResult | None:
    """The result of an earlier run, if none of its files has changed."""
    known = task.known
    if known is None or known.result is None or known.context != task.context:
        return None
    if known.reads == 0 or known.reads != stamp_of_all(task.ref.reads):
        return None
    try:
        good, kept = known.good(), known.result
        if not good or any(stamp(*_split(file, kept["size"], task.decode)) != mark for file, mark in good.items()):
            return None
        return VerifyResult(
            findings=tuple(Finding(**entry) for entry in kept["findings"]),
            people=kept["people"],
            synthetic=kept["synthetic"],
            sides_agree=kept["sides_agree"],
            consistency=None if kept["consistency"] is None else Consistency.from_json(kept["consistency"]),
            applied=tuple(Applied(**entry) for entry in kept["applied"]),
            kept=True,
        )
    except (OSError, KeyError, TypeError, AttributeError):
        return None  # a file is gone, or the record has another form


def _verify(task: VerifyTask, progress: Progress) -> VerifyResult:
    reads = stamp_of_all(task.ref.reads)  # before reading, so that concurrent changes are noticed next time
    whole = read_record(task.ref, defects=False)
    record, applied = take_out(whole, known_defects(whole.dataset) if task.defects else ())
    findings = check_record(record, files=False) + check_edits(record.frames)
    if task.ref.frames > len(whole.frames):
        what = f"{task.ref.frames} images, {len(whole.frames)} annotated frames"
        gaps = len(set(np.diff(whole.frame_ids).tolist())) > 1
        hint = f"images {'without annotation' if gaps else 'after the last annotated frame'} are not used"
        findings.append(Finding(severity="warning", key="frames", what=what, hint=hint))
    looked = _Look(record, task)
    findings += looked.check(progress)
    wrong = any_error(findings)
    consistency = None
    if task.geometry and not wrong:
        consistency = measure(record, None if task.packs is None else load_bodies(task.packs))
        findings += judge(consistency, record)
        wrong = any_error(findings)
    result = VerifyResult(
        findings=tuple(findings),
        people=len(record.people),
        synthetic=record.provenance.get("synthetic") == "true",
        sides_agree=record.sides_agree,
        consistency=consistency,
        applied=applied,
    )
    return _with_memory(result, task, reads, looked, wrong=wrong)


def _with_memory(result: VerifyResult, task: VerifyTask, reads: int, looked: _Look, *, wrong: bool) -> VerifyResult:
    """The result with a record for later runs."""
    content = asdict(result)
    kept = {key: content[key] for key in ("findings", "people", "synthetic", "sides_agree", "consistency", "applied")}
    known = Remembered.of(task.context, reads, looked.good, None if wrong else {**kept, "size": looked.size})
    return VerifyResult(**{name: getattr(result, name) for name in kept}, known=known)


class _Look:
    """Checks that each frame of a record opens, is complete, and has the sequence's size."""

    def __init__(self, record: SequenceRecord, task: VerifyTask) -> None:
        self.size = f"{record.camera.width}x{record.camera.height}"
        self.good: dict[str, int] = {}
        """File to its stamp; 0 until it is known to be valid. The key also has a video's last frame number, or `PADDED`
        for an image smaller than its frame, or `LYING` for one that is turned by a right angle."""
        self._frames = record.frames
        self._expected = (record.camera.width, record.camera.height)
        self._decode = task.decode
        self._turned: list[tuple[str, int]] = []
        """Images that EXIF says to turn, and how."""
        self._before = {} if task.known is None else task.known.good()

    def check(self, progress: Progress) -> list[Finding]:
        """All problems of the frames."""
        findings: list[Finding] = []
        for video, frames in groupby(self._frames, lambda frame: isinstance(frame, VideoFrame) and frame.video):
            if video:
                findings += self._video(list(frames), progress)
            else:
                findings += self._images([_name(frame) for frame in frames], progress)
        if self._turned:
            file, how = min(self._turned)
            what = f"{len(self._turned)} of {len(self._frames)} images have an EXIF orientation, first {how} ({file})"
            hint = "pixels are taken as they are stored: look with  trace preview  whether the labels are about these"
            findings.append(Finding(severity="warning", key="orientation", what=what, hint=hint))
        return findings

    def _images(self, names: list[str], progress: Progress) -> Iterator[Finding]:
        parts = [names[start : start + AT_ONCE] for start in range(0, len(names), AT_ONCE)]
        for part, looked in zip(parts, in_order(self._part, parts, light=not self._decode)):
            for name, (mark, problem) in zip(part, looked):
                self.good[name] = mark
                if problem is not None:
                    yield problem
            progress.advance(len(part))
            if all(problem is not None and problem.hint == MOUNT_AGAIN for _, problem in looked):
                return  # every further file would run into the same timeout

    def _part(self, names: Sequence[str]) -> list[tuple[int, Finding | None]]:
        """Stamp and problem of each image; the stamp is 0 when there is a problem."""
        return [self._image(name) for name in names]

    def _image(self, name: str) -> tuple[int, Finding | None]:
        file = name.partition("\0")[0]
        try:
            mark = stamp(*_split(name, self.size, self._decode))
            if self._before.get(name) == mark:
                return mark, None
            size, turned = _decoded_header(Path(file)) if self._decode else file_header(Path(file))
            self._compare(size[::-1] if name.endswith(LYING) else size, file, padded=name.endswith(PADDED))
            if turned != UPRIGHT:
                self._turned.append((file, turned))
                return 0, None  # not remembered, so that it is counted each time
        except AnnotationError as error:
            return 0, finding("image", error)
        except OSError as error:
            what, hint = in_words(error)
            what = f"the frame {what}" if what == "is missing" else what
            return 0, Finding(severity="error", key="image", what=f"{what} ({file})", hint=hint)
        return mark, None

    def _video(self, frames: list[Frame], progress: Progress) -> Iterator[Finding]:
        """Check a video up to its first error."""
        last = frames[-1]
        assert isinstance(last, VideoFrame)
        name = f"{last.video}\0{last.number}"
        self.good[name] = 0
        try:
            mark = stamp(*_split(name, self.size, self._decode))
            if self._before.get(name) != mark:
                for content in contents(frames):
                    if not isinstance(content, Path):
                        self._compare(content.pixels.shape[1::-1], str(content.frame))
                    progress.advance()
            self.good[name] = mark
        except AnnotationError as error:
            yield finding("video", error)
        except OSError as error:
            what, hint = in_words(error)
            what = f"the video {what}" if what == "is missing" else what
            yield Finding(severity="error", key="video", what=f"{what} ({last.video})", hint=hint)

    def _compare(self, size: Sequence[int], where: str, *, padded: bool = False) -> None:
        (width, height), (most_width, most_height) = size, self._expected
        if (width, height) == self._expected or (padded and width <= most_width and height <= most_height):
            return
        most = "at most " if padded else ""
        raise AnnotationError(f"{width}x{height} px, expected {most}{most_width}x{most_height}", where=where)


def _name(frame: Frame) -> str:
    """The key of an image in `_Look.good`."""
    padded, lying = isinstance(frame, PaddedFrame), isinstance(frame, TurnedFrame) and frame.quarter_turns % 2 == 1
    return f"{file_of(frame)}{PADDED if padded else LYING if lying else ''}"


def _split(name: str, size: str, decode: bool) -> tuple[str, str]:
    """The file of a key of `_Look.good`, and what its validity depends on."""
    file, _, kind = name.partition("\0")
    return file, f"{size} {kind} {decode}"


def _decoded_header(file: Path) -> tuple[tuple[int, int], int]:
    """As `file_header`, of an image that decodes."""
    data = read_bytes(file)
    size = image_size(data, file)
    decode(data, file, reduce=8, strict=True)
    return size, orientation(io.BytesIO(data))
