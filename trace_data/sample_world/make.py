"""`make_sample`: the whole sample world in one folder, from a seed, by several processes, resumed when interrupted."""

from __future__ import annotations

import errno
import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from trace_data.errors import ConfigError, OutputError
from trace_data.progress import SILENT, Progress
from trace_data.sample_world.bodies import write_body_models
from trace_data.sample_world.people import Role, cast
from trace_data.sample_world.threedpw import write_sequence
from trace_data.workers import spread

NOTE = "SYNTHETIC.txt"
STARTED, DONE = "sample.started.json", "sample.json"
NOTE_TEXT = """\
Everything in this folder is SYNTHETIC: the sample world of the TRACE toolkit.

No person was filmed. The bodies come from a free (CC0) mesh, nothing is derived from SMPL or from 3DPW; only the
file formats agree with the official ones, so that every reader works on them. Do not report numbers measured on
this data as results on 3DPW.

  body_models/    body-model files for male, female, neutral and infant
  datasets/3DPW/  moving people before a moving camera, in the layout of the official release
"""


@dataclass(frozen=True, slots=True)
class Parameters:
    """What decides every byte of a sample world."""

    seed: int = 0
    sequences: int = 320
    frames: int = 16
    height: int = 240

    def __post_init__(self) -> None:
        limits = {"seed": (0, 2**32), "sequences": (3, 9999), "frames": (2, 10000), "height": (64, 2160)}
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise ConfigError(f"{name} is {value}, expected {low} to {high}", hint=f"give --{name} {max(low, 0)}")


@dataclass(frozen=True, slots=True)
class SampleSummary:
    """What a sample world holds."""

    folder: Path
    sequences: int
    frames: int
    """In all sequences together."""
    people: int
    seconds: float
    """Wall time of the run that completed it; 0 when the files were read only."""

    @property
    def body_models(self) -> Path:
        return self.folder / "body_models"

    @property
    def datasets(self) -> Path:
        """The folder that holds `3DPW/`, and a folder for every further dataset."""
        return self.folder / "datasets"


def make_sample(
    out: Path,
    *,
    seed: int = 0,
    sequences: int = 320,
    frames: int = 16,
    height: int = 240,
    jobs: int = 2,
    force: bool = False,
    progress: Progress = SILENT,
) -> SampleSummary:
    """Write body models and 3DPW of the sample world into `out`: the same bytes for the same parameters.

    `frames` is the length of a sequence at 30 frames a second, `height` that of the pictures, which are square. An
    interrupted run is resumed by the same call. Raises ConfigError on sizes out of range, OutputError when `out` holds
    something else (unless `force`), cannot be written, or the disk is full.
    """
    begun = time.monotonic()
    parameters = Parameters(seed, sequences, frames, height)
    if jobs < 1:
        raise ConfigError(f"jobs is {jobs}, expected 1 or more", hint="give --jobs 2")
    roles = cast(seed, sequences)
    with _writing(out):
        _claim(out, parameters, force)
        progress.say(f"sample world (synthetic): {sequences} sequences of {frames} frames into {out}")
        write_body_models(out / "body_models")
        folder = out / "datasets" / "3DPW"
        finished = _finished(folder)
        waiting = [(index, roles[index]) for index in range(sequences) if index not in finished]
        progress.begin("drawing the sample world", sequences, "sequences")
        progress.advance(len(finished))
        for _ in spread(partial(_draw, folder, parameters), waiting, jobs=jobs, progress=progress, apart=True):
            pass  # the files are the result
        summary = SampleSummary(
            folder=out,
            sequences=sequences,
            frames=sequences * frames,
            people=len({person for role in roles for person in role.people}),
            seconds=time.monotonic() - begun,
        )
        numbers = {**asdict(parameters), "people": summary.people, "frames_in_all": summary.frames}
        _write(out / DONE, json.dumps({**numbers, "synthetic": True}, indent=1))
        (out / STARTED).unlink()
    progress.end(f"{summary.frames} frames of {summary.people} people")
    return summary


def _draw(folder: Path, parameters: Parameters, task: tuple[int, Role], progress: Progress) -> None:
    index, role = task
    write_sequence(folder, parameters.seed, index, role, parameters.frames, parameters.height)
    progress.advance()


def read_summary(out: Path, parameters: Parameters) -> SampleSummary | None:
    """What the sample world in `out` holds; None unless it is complete and was made with these parameters."""
    try:
        found = json.loads((out / DONE).read_text(encoding="utf-8"))
        if any(found[name] != value for name, value in asdict(parameters).items()):
            return None
        return SampleSummary(out, found["sequences"], found["frames_in_all"], found["people"], 0.0)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _claim(out: Path, parameters: Parameters, force: bool) -> None:
    """Make `out` ours, or refuse it. Only our own two folders are ever removed."""
    wanted = json.dumps(asdict(parameters))
    started = out / STARTED
    if started.is_file() and started.read_text(encoding="utf-8") == wanted and not force:
        return
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        if not force:
            whole = " (a complete sample world)" if (out / DONE).is_file() else ""
            raise OutputError(
                f"is not empty{whole}, and nothing is overwritten unasked",
                where=out,
                hint="choose another folder, or add --force to replace the sample world in it",
            )
        for old in (out / DONE, started):
            old.unlink(missing_ok=True)
        for folder in (out / "body_models", out / "datasets" / "3DPW"):
            if folder.is_dir():
                shutil.rmtree(folder)
    out.mkdir(parents=True, exist_ok=True)
    _write(started, wanted)
    _write(out / NOTE, NOTE_TEXT)


def _finished(folder: Path) -> set[int]:
    """Numbers of the sequences that have their annotation, which is written last."""
    return {int(file.stem.rsplit("_", 1)[1]) for file in (folder / "sequenceFiles").glob("*/*.pkl")}


def _write(file: Path, text: str) -> None:
    unfinished = file.with_name(file.name + ".part")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(file)


@contextmanager
def _writing(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        hint = "free some space, or" if error.errno == errno.ENOSPC else "make it writable, or"
        raise OutputError(
            f"cannot be written: {error.strerror or error}",
            where=error.filename or out,
            hint=f"{hint} choose another folder, then run the same command again",
        ) from error
