"""Predicts one video from its frames to its result file, in flat memory, and goes on where it was interrupted."""

from __future__ import annotations

import io
import resource
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trace_data.errors import InterruptedRun, OutputError, ResultError, printable
from trace_data.frames.footage import Footage, FootageFrame
from trace_data.frames.lens import ChosenLens, choose_lens
from trace_data.progress import SILENT, Progress
from trace_data.results.camera_files import CameraFile, read_camera_file
from trace_data.results.file import is_result, read_result
from trace_data.results.result import ASSUMED_UP
from trace_data.results.writer import ResultWriter
from trace_train.config.tracker import TrackerConfig
from trace_train.inference.camera.camera_path import WorldCamera
from trace_train.inference.camera.given import GivenPath
from trace_train.inference.model import PredictionModel
from trace_train.inference.video_state import SeenFrame, VideoState, rows_of
from trace_train.training.precision import whole_float32
from trace_train.training.signals import stop_signals

SLOW = 1.0
"""Seconds of a frame from which one is enough to say how long a video will take."""
LICENCE = "SMPL parameters: use of bodies made from them follows the licence of the body model"


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoOptions:
    """What the user says of a video. Without a lens it is the file's own, or a field of view of 50 degrees."""

    start: float | None = None
    """First second."""
    end: float | None = None
    """Second before which to end."""
    stride: int = 1
    """Every n-th frame; times stay true."""
    frame_rate: float | None = None
    """Frames a second of images; for a video it replaces its own times."""
    focal: float | None = None
    """Focal length, px."""
    focal_mm: float | None = None
    """Focal length as on a 35 mm camera, mm."""
    fov: float | None = None
    """Field of view over the longer side, degrees."""
    intrinsics: Path | None = None
    """File of `frames.lens.read_intrinsics`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a prediction takes, measured."""

    seconds_per_frame: float
    """Without decoding, by the network alone."""
    memory: int
    """Bytes at most, of the GPU if that is used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionReport:
    """What became of a video."""

    out: Path
    frames: int
    gaps: int
    """Frames that could not be read."""
    people: int
    rows: int
    """Person-frames."""
    seconds: float
    """That this call took."""
    continued: int
    """Frames that an interrupted run had done before."""
    camera: Mapping[str, Any]
    """Source and figures of the camera path."""
    warnings: tuple[str, ...]

    @property
    def frames_per_second(self) -> float:
        """Of this call."""
        return (self.frames - self.continued) / max(self.seconds, 1e-9)


@dataclass(slots=True, kw_only=True)
class _Gaps:
    """Frames that could not be read."""

    count: int = 0
    first: str = ""

    def note(self, frame: FootageFrame) -> None:
        if frame.gap is not None:
            self.first = self.first or f"frame {frame.number:,}, {frame.gap}"
            self.count += 1


class VideoPrediction:
    """A video that was opened and can be predicted."""

    lens: ChosenLens
    """The lens, and where it comes from."""

    def __init__(self, model: PredictionModel, footage: Footage, options: VideoOptions) -> None:
        """Reads the lens and the camera file. Raises ConfigError, CameraFileError."""
        self.model, self.footage, self.options = model, footage, options
        self._frames()  # impossible options are refused at once
        file = model.config.world.camera_file
        self._given = None if file is None else read_camera_file(file)
        if self._given is not None and footage.facts.frames_listed and options.start is None and options.end is None:
            GivenPath(self._given).check_length(self.expected_frames or 0)
        self.lens = choose_lens(
            footage.facts.size,
            focal=options.focal,
            focal_mm=options.focal_mm,
            fov=options.fov,
            intrinsics=options.intrinsics,
            camera=_lens_of(self._given, footage.facts.size),
            lens=footage.facts.lens,
        )

    @property
    def expected_frames(self) -> int | None:
        """About how many frames there will be, by what the file claims."""
        facts, options = self.footage.facts, self.options
        if facts.frames is None:
            return None
        rate = facts.frame_rate
        begin = 0 if options.start is None or rate is None else options.start * rate
        end = facts.frames if options.end is None or rate is None else min(facts.frames, options.end * rate)
        return max(1, -(-int(end - begin) // options.stride))

    def cost(self) -> Cost:
        """What a frame takes on this machine, by grey ones: by a chunk of them unless one alone is slow."""
        width, height = self.footage.facts.size
        grey = np.full((height, width, 3), 128, np.uint8)
        state = self.model.state((width, height), self.lens.matrix)
        each = SLOW
        for count in (1, self.model.config.chunk):  # the first one also prepares kernels
            begin = time.perf_counter()
            with whole_float32():
                state.stream.see([grey] * count)
            each = (time.perf_counter() - begin) / count
            if each > SLOW:
                break
        if self.model.source.device.type == "cuda":
            memory = torch.cuda.max_memory_allocated(self.model.source.device)
        else:
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        return Cost(seconds_per_frame=each, memory=memory)

    def finished(self, out: Path) -> PredictionReport | None:
        """The report of a result that this prediction has written before; None where it would be another one.

        Raises ResultError if the file is damaged.
        """
        if not out.is_file() or not is_result(out):
            return None
        result, about = read_result(out), self.about()
        own = ("weights", "options", "intrinsics_source", "body_model")
        if any(result.about.get(key) != about[key] for key in own):
            return None
        if result.about["video"].get("fingerprint") != about["video"]["fingerprint"]:
            return None
        return PredictionReport(
            out=out,
            frames=len(result.time),
            gaps=result.about["video"].get("gaps", 0),
            people=len(result.person),
            rows=len(result.row_frame),
            seconds=0.0,
            continued=len(result.time),
            camera=result.about.get("camera", {}),
            warnings=tuple(result.about.get("warnings", ())),
        )

    def write(self, out: Path, *, force: bool = False, progress: Progress = SILENT) -> PredictionReport:
        """Predict the video and write its result.

        Interrupted, it saves what is done beside `out`, and goes on from there when called again with the same options.
        Raises InterruptedRun, FootageError, OutputError, ResultError.
        """
        begin, config = time.perf_counter(), self.model.config
        about = self.about()
        writer = None if force else ResultWriter.resume(out)
        if writer is not None and writer.about != about:
            writer.close()
            raise OutputError(
                "an unfinished prediction of this name was begun with other options, another video or other weights",
                where=out,
                hint="add --force to begin anew, or give another --out",
            )
        lens = self.lens.matrix
        size = self.footage.facts.size
        given = None if self._given is None else GivenPath(self._given)
        state = self.model.state(size, lens, given)
        with (
            writer or ResultWriter(out, about=about, image_size=size, intrinsics=lens, force=force) as writer,
            _nothing_left_of_nothing(writer),
            stop_signals() as stop,
            whole_float32(),
        ):
            continued, last, gaps = writer.frames, None, _Gaps()
            if (saved := writer.state) is not None:
                last, gaps = _restore(state, saved)
            progress.begin("predict", self.expected_frames or 0, "frames")
            progress.skip(continued)
            for chunk in read_ahead(self._frames(last), config.chunk):
                _add(writer, state, chunk, gaps)
                last = chunk[-1].number
                progress.advance(len(chunk))
                if writer.part_is_due or stop():
                    writer.commit(_save(state, last, gaps))
                if stop():
                    raise InterruptedRun(
                        f"stopped after {writer.frames:,} frames; the same command goes on from there", where=out
                    )
            saved = _save(state, last, gaps)  # should there be no room for the result, only the end is done again
            settled, world = state.finish()
            _add_rows(writer, settled)
            writer.commit(saved)
            report = self._finish(writer, world, gaps, state.stream.best)
            progress.end(f"{writer.frames:,} frames")
        return PredictionReport(**report, out=out, seconds=time.perf_counter() - begin, continued=continued)

    def _frames(self, after: int | None = None) -> Iterator[FootageFrame]:
        options = self.options
        return self.footage.frames(start=options.start, end=options.end, stride=options.stride, after=after)

    def _finish(self, writer: ResultWriter, world: WorldCamera, gaps: _Gaps, best: float) -> dict[str, Any]:
        columns = writer.columns("person", "frame")
        person, frame = columns["person"], columns["frame"]
        warnings = (*self.footage.facts.warnings, *self._warnings(writer.frames, gaps), *world.warnings)
        if not len(person):
            warnings = (*warnings, _nobody(best, self.model.config.tracker))
        outcome = self.footage.outcome()
        about = self.about()
        video = {
            **about["video"],
            "rate": outcome.frame_rate or self.footage.facts.frame_rate,
            "variable_rate": outcome.variable_rate or self.footage.facts.variable_rate,
            "gaps": gaps.count,
        }
        up = world.up
        writer.finish(
            camera_from_world=world.camera_from_world,
            camera_observed=world.observed,
            body=self.model.body,
            up=ASSUMED_UP if up is None else up,
            about={
                **about,
                "video": video,
                "camera": world.facts,
                "camera_source": world.facts.get("source"),
                "up_source": "assumed: the first camera was level" if up is None else "the camera file",
                "warnings": [*warnings],
            },
            world_residual=np.array(
                [world.residual.get((f, p), np.nan) for f, p in zip(frame.tolist(), person.tolist())], np.float64
            ),
        )
        return {
            "frames": writer.frames,
            "gaps": gaps.count,
            "people": len(np.unique(person)),
            "rows": len(person),
            "camera": world.facts,
            "warnings": tuple(warnings),
        }

    def _warnings(self, frames: int, gaps: _Gaps) -> list[str]:
        outcome = self.footage.outcome()
        said = []
        if gaps.count:
            said.append(f"{gaps.count:,} of {frames:,} frames could not be read, the first: {gaps.first}")
        if outcome.repaired:
            said.append(f"{outcome.repaired:,} time stamps stood still or went back and were replaced")
        return said + ([outcome.ended] if outcome.ended else [])

    def about(self) -> dict[str, Any]:
        """Facts of the run that are known before it begins, as JSON."""
        facts, model = self.footage.facts, self.model
        options = {key: str(value) if isinstance(value, Path) else value for key, value in asdict(self.options).items()}
        assumed = self.lens.source.startswith("assumed")
        return {
            "video": {
                "name": printable(facts.path.name),
                "folder": printable(str(facts.path.absolute().parent)),
                "kind": facts.kind,
                "fingerprint": self.footage.fingerprint(),
                "decoder": facts.decoder,
                "rotation": facts.rotation,
                "hdr": facts.hdr,
                "bit_depth": facts.bit_depth,
                "rate": facts.frame_rate,
                "rate_source": "the user" if self.options.frame_rate else "time stamps",
            },
            "intrinsics_source": self.lens.source,
            "scale": "assumed from fov 50" if assumed else "size of the body model and focal length",
            "weights": model.source.sha256,
            "weights_name": f"{model.source.name}, step {model.source.step}",
            "padding": model.padding,
            "bn": model.bn,
            "options": {**options, **model.config.model_dump(mode="json")},
            "body_model": model.body_model(),
            "packs": str(model.packs.absolute()),
            "warnings": [],
            "licence": LICENCE,
        }


def _nobody(best: float, tracker: TrackerConfig) -> str:
    """Why nobody was found, by the best score of the video."""
    if best < tracker.score:
        return f"nobody was found: the best score is {best:.2g}, people need {tracker.score:g} (--score)"
    return (
        f"nobody was found: scores reach {best:.2g}, which suffices (--score {tracker.score:g}), but nobody was seen"
        " often enough in a row (tracker.birth_hits, birth_share)"
    )


@contextmanager
def _nothing_left_of_nothing(writer: ResultWriter) -> Iterator[None]:
    """After an error before the first part, remove what was begun: it must not stand in the way of another attempt."""
    try:
        yield
    except BaseException:
        if not writer.begun:
            shutil.rmtree(writer.folder, ignore_errors=True)
        raise


def _lens_of(camera: CameraFile | None, size: tuple[int, int]) -> tuple[Any, str] | None:
    """The lens of a camera file, if it is one for all frames and about pictures of this size."""
    if camera is None or camera.intrinsics is None or camera.image_size not in (None, size):
        return None
    if np.ptp(camera.intrinsics, axis=0).max() > 1e-6:
        return None
    return camera.intrinsics[0], f"the camera file {camera.source}"


def read_ahead(frames: Iterable[FootageFrame], size: int) -> Iterator[list[FootageFrame]]:
    """Chunks of `size` frames; the next one is decoded while this one is used."""
    iterator = iter(frames)

    def take() -> list[FootageFrame]:
        return list(islice(iterator, size))

    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(take)
        while chunk := coming.result():
            coming = pool.submit(take)
            yield chunk


def _add(writer: ResultWriter, state: VideoState, chunk: list[FootageFrame], gaps: _Gaps) -> None:
    for frame in chunk:
        gaps.note(frame)
        writer.add_frame(frame.time, frame.number)
    settled = state.add([frame.time for frame in chunk], [frame.pixels for frame in chunk])
    _add_rows(writer, settled)


def _add_rows(writer: ResultWriter, settled: list[SeenFrame]) -> None:
    if (rows := rows_of(settled)) is not None:
        writer.add_rows(rows)


def _save(state: VideoState, number: int | None, gaps: _Gaps) -> bytes:
    stream = io.BytesIO()
    torch.save({"video": state.state_dict(), "number": number, "gaps": asdict(gaps)}, stream)
    return stream.getvalue()


def _restore(state: VideoState, saved: bytes) -> tuple[int | None, _Gaps]:
    """Load `_save`'s bytes; returns the number of the last frame in the footage, and the gaps so far."""
    try:
        found = torch.load(io.BytesIO(saved), weights_only=True)
        state.load_state_dict(found["video"])
    except (RuntimeError, KeyError, ValueError, EOFError) as error:
        raise ResultError(
            f"the state of the interrupted run is damaged: {error}", hint="add --force to begin anew"
        ) from error
    return found["number"], _Gaps(**found["gaps"])
