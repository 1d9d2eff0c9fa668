"""`make_sample`: draw the whole sample world from a seed, in parallel and resumable."""

from __future__ import annotations

import errno
import json
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

from trace_data.errors import ConfigError, OutputError
from trace_data.files import atomic_write
from trace_data.motions.amass import fingerprint, motion_files
from trace_data.progress import SILENT, Progress
from trace_data.sample_world.allocation import FURTHER, Allocation, allocate, further
from trace_data.sample_world.bodies import write_body_models
from trace_data.sample_world.film import FPS, FRAMES, actors_in, name_of
from trace_data.sample_world.film_files import VIDEO
from trace_data.sample_world.people import cast
from trace_data.sample_world.recorded import MotionClip, allocate_clips
from trace_data.sample_world.tasks import (
    DATASETS,
    FOLDERS,
    VIDEOS,
    draw,
    films_of,
    movers,
    people_of,
    tasks_of,
    waiting,
    waiting_films,
    with_motions,
)
from trace_data.text_files import content_of, parse_json
from trace_data.workers import spread

NOTE, MOTIONS = "SYNTHETIC.txt", "MOTIONS.txt"
"""What the world is, and what its recorded motions come from. The latter, beside a dataset, is told by its readers."""
STARTED, DONE = "sample.started.json", "sample.json"
NOTE_TEXT = """\
Everything in this folder is SYNTHETIC: the sample world of the TRACE toolkit.

No person was filmed. {sources} the datasets whose
names the folders have; only the file formats agree with the official ones, so that every reader works on them. Do not
report numbers measured on this data as results on those datasets.

  body_models/            body-model files for male, female, neutral and infant
  datasets/3DPW/          people before a camera held in the hand
  datasets/DynaCam/       people before a camera that turns, or moves
  datasets/h36m/          Human3.6M: a few people in videos of two fixed cameras
  datasets/mpi_inf_3dhp/  MPI-INF-3DHP: a few people in videos of several fixed cameras
  datasets/Penn_Action/   people before a fixed camera, with 2D points and the poses of every second frame
  datasets/BEDLAM/        where it was asked for: people in videos of cameras that move, zoom or stand on their side
  datasets/BEDLAM2/       where it was asked for: the same, of cameras that are carried and zoom
  datasets/EMDB/          where it was asked for: a person before a phone that is carried along
  datasets/MultiPersonTestSet/  where it was asked for: MuPoTS-3D, two people before a fixed camera
  datasets/RICH/          where it was asked for: a person or two before several fixed cameras
  videos/                 videos to predict (only with --videos), each with NAME.truth.npz, all that is true of it

Each dataset has the layout of its official release. A small world has fewer of them.
"""
FREE = "The bodies come from a free (CC0) mesh, nothing is derived from SMPL or from"
MOVED = f"""\
The bodies come from a free (CC0) mesh. THEIR MOTIONS ARE RECORDED ONES: the licence of the
files that {MOTIONS} lists says who may have datasets/ and videos/. Nothing else is derived from SMPL or from"""
MOTIONS_TEXT = """\
The people here move as in recorded motions of {number} files in the form of AMASS. Whoever made this world had them;
their licence and that of their collections holds for these datasets and videos too, and says whether and to whom they
may be passed on. Of a file, stretches of joint rotations and of the pelvis's path were taken, resampled in time, turned
and moved; the bodies are others.

"""
SLOWEST = 25.0
"""Frames a second of the slowest dataset: the motion that a sequence needs at most."""


@dataclass(frozen=True, slots=True)
class Parameters:
    """Everything that determines the bytes of a sample world."""

    seed: int = 0
    sequences: int = 320
    frames: int = 16
    height: int = 240
    videos: int = 0
    also: tuple[str, ...] = ()
    """Datasets beyond the five: `FURTHER`."""
    video_height: int | None = None
    """None: `height`."""
    motions: str | None = None
    """Names and sizes of the files of recorded motions, hashed; None where motions are drawn."""

    def __post_init__(self) -> None:
        limits = {"seed": (0, 2**32), "sequences": (3, 9999), "frames": (2, 10000), "height": (64, 2160)}
        limits |= {"videos": (0, 99), "video_height": limits["height"]}
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise ConfigError(
                    f"{name} is {value}, expected {low} to {high}",
                    hint=f"give --{name.replace('_', '-')} {max(low, 0)}",
                )
        if strange := set(self.also) - set(FURTHER):
            raise ConfigError(f"also {', '.join(sorted(strange))}, expected {', '.join(FURTHER)}")

    def stored(self) -> dict[str, Any]:
        """As written into the world."""
        given = {name: value for name, value in asdict(self).items() if value is not None}
        return {**given, "also": sorted(self.also)}


@dataclass(frozen=True, slots=True)
class SampleSummary:
    """Content of a sample world."""

    folder: Path
    sequences: int
    sequences_of: Mapping[str, int]
    """Number of sequences per existing dataset; for Human3.6M and MPI-INF-3DHP a sequence is a video."""
    frames: int
    """Frames of all sequences together."""
    people: int
    """In the datasets."""
    seconds: float
    """Wall time of the run that completed it; 0 when it already existed."""
    videos: tuple[Path, ...] = ()
    """The videos, which are not among the sequences; the truth of NAME.mp4 is NAME.truth.npz."""
    motion_files: int = 0
    """Number of files that motions come from; their licence holds for the world."""

    @property
    def body_models(self) -> Path:
        return self.folder / "body_models"

    @property
    def datasets(self) -> Path:
        """The folder that holds the datasets' folders."""
        return self.folder / DATASETS


def make_sample(
    out: Path,
    *,
    seed: int = 0,
    sequences: int = 320,
    frames: int = 16,
    height: int = 240,
    videos: int = 0,
    also: Sequence[str] = (),
    video_height: int | None = None,
    motions: Path | None = None,
    jobs: int = 2,
    force: bool = False,
    progress: Progress = SILENT,
) -> SampleSummary:
    """Write body models, datasets and videos of the sample world into `out`; deterministic for the same parameters.

    `frames`: length of a sequence at 30 fps; `height`: side of the square pictures, px; `videos`: number of longer
    clips with their truth, of people who are in no training sequence, `video_height` px high or as high as the
    pictures; `also`: datasets of `FURTHER`, whose sequences come on top; `motions`: a folder of AMASS files, in which
    people's motions are looked for. The same call resumes an interrupted run. Raises ConfigError on sizes out of range
    and motions that are too short, AnnotationError on a broken one, OutputError when `out` holds other content (unless
    `force`), cannot be written, or the disk is full.
    """
    begun = time.monotonic()
    files = [] if motions is None else motion_files(motions)
    digest = None if motions is None else fingerprint(files, motions)
    parameters = Parameters(seed, sequences, frames, height, videos, tuple(also), video_height, digest)
    if jobs < 1:
        raise ConfigError(f"jobs is {jobs}, expected 1 or more", hint="give --jobs 2")
    allocation = allocate(cast(seed, sequences)) | {name: further(name, seed, sequences) for name in sorted(also)}
    clips = _allocate_motions(files, allocation, videos, frames, seed, progress) if files else []
    motion_clips = iter(clips)
    all_films = films_of(videos, video_height or height, motion_clips)
    allocation = with_motions(allocation, motion_clips)
    used = sorted({clip.file for clip in clips})
    sequences = sum(map(len, allocation.values()))
    with _writing(out):
        _claim(out, parameters, force)
        progress.log(f"sample world (synthetic): {sequences} sequences of {frames} frames into {out}")
        write_body_models(out / "body_models")
        if motions is not None:
            _tell(out, used, motions, [name for name, roles in allocation.items() if roles])
        tasks = waiting(out / DATASETS, tasks_of(allocation))
        films = waiting_films(out / VIDEOS, all_films)
        progress.begin("drawing the sample world", sequences + videos, "sequences")
        progress.skip(sequences + videos - len(films) - sum(len(task.roles) for task in tasks))
        work = partial(draw, out, seed, frames, height)
        for _ in spread(work, [*films, *tasks], jobs=jobs, progress=progress, apart=True):
            pass  # the files are the result
        summary = SampleSummary(
            folder=out,
            sequences=sequences,
            sequences_of={name: len(allocation[name]) for name in sorted(allocation) if allocation[name]},
            frames=sequences * frames,
            people=len(people_of(allocation)),
            seconds=time.monotonic() - begun,
            videos=_videos(out, videos),
            motion_files=len(used),
        )
        numbers: dict[str, Any] = {"motion_files": len(used)} if used else {}
        numbers |= {"people": summary.people, "frames_in_all": summary.frames, "sequences_of": summary.sequences_of}
        _write(out / DONE, json.dumps({**parameters.stored(), **numbers, "synthetic": True}, indent=1))
        (out / STARTED).unlink()
    progress.end(f"{summary.frames} frames of {summary.people} people")
    return summary


def read_summary(out: Path, parameters: Parameters) -> SampleSummary | None:
    """Summary of the sample world in `out`; None unless it is complete and was made with these parameters."""
    try:
        content = parse_json(content_of(out / DONE, error=OutputError), where=out / DONE, error=OutputError)
        wanted = parameters.stored()
        if any(content.get(part.name) != wanted.get(part.name) for part in fields(Parameters)):
            return None
        return SampleSummary(
            folder=out,
            sequences=sum(content["sequences_of"].values()),
            sequences_of=content["sequences_of"],
            frames=content["frames_in_all"],
            people=content["people"],
            seconds=0.0,
            videos=_videos(out, parameters.videos),
            motion_files=content.get("motion_files", 0),
        )
    except (FileNotFoundError, OutputError, KeyError, TypeError):
        return None


def _videos(out: Path, number: int) -> tuple[Path, ...]:
    return tuple(out / VIDEOS / f"{name_of(film)}{VIDEO}" for film in range(number))


def _allocate_motions(
    files: Sequence[Path], allocation: Allocation, videos: int, frames: int, seed: int, progress: Progress
) -> list[MotionClip]:
    """Motions of everybody: first for the videos, then for the sequences, those of a split together, so that splits
    share no file as long as there are enough."""
    actors = sum(map(actors_in, range(videos)))
    people = sum(number for _, _, number in movers(allocation))
    return allocate_clips(files, [FRAMES / FPS] * actors + [frames / SLOWEST] * people, seed, progress)


def _tell(out: Path, used: Sequence[Path], folder: Path, names: Sequence[str]) -> None:
    """Say in the world and in each of its datasets which files its motions come from."""
    listed = "".join(f"{file.relative_to(folder).as_posix()}\n" for file in used)
    for place in (out, *(out / DATASETS / FOLDERS[name] for name in names)):
        place.mkdir(parents=True, exist_ok=True)
        _write(place / MOTIONS, MOTIONS_TEXT.format(number=f"{len(used):,}") + listed)


def _claim(out: Path, parameters: Parameters, force: bool) -> None:
    """Claim `out` or raise OutputError. Only folders of a sample world are ever removed."""
    wanted = json.dumps(parameters.stored())
    started = out / STARTED
    if started.is_file() and started.read_text(encoding="utf-8") == wanted and not force:
        return
    ours = [out / "body_models", out / VIDEOS, *(out / DATASETS / name for name in FOLDERS.values())]
    known = any((out / name).is_file() for name in (STARTED, DONE, NOTE))
    if out.exists() and (not out.is_dir() or any(file.name != f"{STARTED}.partial" for file in out.iterdir())):
        if not force:
            whole = " (a complete sample world)" if (out / DONE).is_file() else ""
            raise OutputError(
                f"is not empty{whole}, and nothing is overwritten unasked",
                where=out,
                hint="choose another folder, or add --force to replace the sample world in it",
            )
        for folder in ours:
            if folder.exists() and not known:
                raise OutputError(
                    f"holds {folder.relative_to(out)}, which is not a sample world's, for there is no {NOTE}",
                    where=out,
                    hint="choose another folder; --force replaces a sample world, nothing else",
                )
        for old in (out / DONE, out / MOTIONS, started):
            old.unlink(missing_ok=True)
        for folder in ours:
            if folder.is_dir():
                shutil.rmtree(folder)
    out.mkdir(parents=True, exist_ok=True)
    _write(started, wanted)
    _write(out / NOTE, NOTE_TEXT.format(sources=FREE if parameters.motions is None else MOVED))


def _write(file: Path, text: str) -> None:
    with atomic_write(file) as partial:
        partial.write_text(text, encoding="utf-8")


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
