"""Tasks for drawing the sample world in parallel: a video, a sequence of 3DPW, or another dataset as a whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from trace_data.progress import Progress
from trace_data.sample_world import bedlam, bedlam2, emdb, human36m_clips, mpi_inf_3dhp, mupots, rich
from trace_data.sample_world.allocation import FURTHER, REST, Allocation
from trace_data.sample_world.dynacam import write_dynacam
from trace_data.sample_world.film import actors_in, name_of
from trace_data.sample_world.film_files import TRUTH, write_film
from trace_data.sample_world.human36m import write_human36m
from trace_data.sample_world.mpi_inf_3dhp import write_mpi_inf_3dhp
from trace_data.sample_world.penn_action import write_penn_action
from trace_data.sample_world.people import PEOPLE, Role
from trace_data.sample_world.recorded import MotionClip
from trace_data.sample_world.threedpw import write_sequence

DATASETS, VIDEOS = "datasets", "videos"
"""Folders of the world."""
FOLDERS: Mapping[str, str] = {
    "3dpw": "3DPW",
    "bedlam": bedlam.FOLDER,
    "bedlam2": bedlam2.FOLDER,
    "dynacam": "DynaCam",
    "emdb": emdb.FOLDER,
    "h36m": "h36m",
    "mpi-inf-3dhp": mpi_inf_3dhp.FOLDER,
    "mupots": mupots.FOLDER,
    "penn-action": "Penn_Action",
    "rich": rich.FOLDER,
}
"""Name of a dataset to its folder."""

LAST: Mapping[str, str] = {
    "bedlam": bedlam.LAST,
    "bedlam2": bedlam2.LAST,
    "dynacam": "annotations/panorama_train.npz",
    "emdb": emdb.LAST,
    "h36m": "metadata.xml",
    "mpi-inf-3dhp": "MPI-INF-3DHP_SMPL_NeuralAnnot.json",
    "mupots": mupots.LAST,
    "penn-action": "eft_annots.npz",
    "rich": rich.LAST,
}
"""The file of a dataset that is written last, atomically, and so marks it complete."""


@dataclass(frozen=True, slots=True)
class DrawTask:
    """The unit of work of one process."""

    dataset: str
    roles: tuple[tuple[int, Role], ...]
    """Sequences by index: one of 3DPW, which has its own files; else all of a dataset, which share some files."""


@dataclass(frozen=True, slots=True)
class FilmTask:
    """One video, by its number from 0."""

    number: int
    height: int
    """Pixels."""
    motions: tuple[MotionClip, ...] = ()
    """As in a role."""


def tasks_of(allocation: Allocation) -> list[DrawTask]:
    """All tasks, longest first."""
    whole = [DrawTask(name, tuple(roles)) for name, roles in allocation.items() if roles and name != REST]
    whole.sort(key=lambda task: -len(task.roles))
    return [*whole, *(DrawTask(REST, (entry,)) for entry in allocation[REST])]


def people_of(allocation: Allocation) -> set[int]:
    """All people who appear. Studio datasets film one person at a time, repeatedly."""
    seen = {
        person
        for name in (REST, *FURTHER, "dynacam", "penn-action")
        for _, role in allocation.get(name, ())
        for person in role.people
    }
    return seen | human36m_clips.players(_clips(allocation["h36m"])) | mpi_inf_3dhp.actors(allocation["mpi-inf-3dhp"])


VIEWS = {"h36m": human36m_clips.VIEWS, "rich": rich.VIEWS}
"""Datasets in which as many sequences in a row show one performance, by its first one's role."""


def movers(allocation: Allocation) -> list[tuple[str, int, int]]:
    """Dataset, index, and number of people of each sequence in which somebody moves, not merely before another camera;
    those of a split together."""
    performing: list[tuple[str, int, Role]] = []
    for name, roles in allocation.items():
        indices = mpi_inf_3dhp.performed(roles) if name == "mpi-inf-3dhp" else None
        entries = roles[:: VIEWS.get(name, 1)]
        performing += [(name, index, role) for index, role in entries if indices is None or index in indices]
    alone = ("h36m", "mpi-inf-3dhp")
    return [
        (name, index, 1 if name in alone else len(role.people))
        for split in PEOPLE
        for name, index, role in performing
        if role.split == split
    ]


def with_motions(allocation: Allocation, clips: Iterator[MotionClip]) -> Allocation:
    """The same sequences, their people moving as in these clips, one for each in the order of `movers`."""
    motions = {(name, index): tuple(islice(clips, people)) for name, index, people in movers(allocation)}
    return {
        name: [(index, replace(role, motions=motions.get((name, index), ()))) for index, role in roles]
        for name, roles in allocation.items()
    }


def films_of(number: int, height: int, clips: Iterator[MotionClip]) -> list[FilmTask]:
    """The first `number` videos, `height` px high; with clips, one for each person, they move like these."""
    return [FilmTask(film, height, tuple(islice(clips, actors_in(film)))) for film in range(number)]


def _clips(roles: Sequence[tuple[int, Role]]) -> Sequence[tuple[int, Role]]:
    """The sequences of Human3.6M that are performed; each of the others is the second camera's view of one."""
    return roles[:: human36m_clips.VIEWS]


def draw(out: Path, seed: int, frames: int, height: int, task: DrawTask | FilmTask, progress: Progress) -> None:
    """Write the files of a task below `out`, the folder of the world, completing those of an interrupted call."""
    if isinstance(task, FilmTask):
        write_film(out / VIDEOS, seed, task.number, task.height, motions=task.motions)
        progress.advance()
        return
    datasets = out / DATASETS
    folder = datasets / FOLDERS[task.dataset]
    if task.dataset == REST:
        [(index, role)] = task.roles
        write_sequence(folder, seed, index, role, frames, height)
        progress.advance()
    elif task.dataset == "h36m":
        write_human36m(folder, seed, _clips(task.roles), frames, height, progress)
    elif task.dataset == "mpi-inf-3dhp":
        write_mpi_inf_3dhp(datasets, seed, task.roles, frames, height, progress)
    elif task.dataset == "bedlam":
        bedlam.write_bedlam(folder, seed, task.roles, frames, height, progress=progress)
    elif task.dataset == "bedlam2":
        bedlam2.write_bedlam2(folder, seed, task.roles, frames, height, progress=progress)
    elif task.dataset == "emdb":
        emdb.write_emdb(folder, seed, task.roles, frames, height, progress)
    elif task.dataset == "mupots":
        mupots.write_mupots(folder, seed, task.roles, frames, height, progress=progress)
    elif task.dataset == "rich":
        rich.write_rich(folder, seed, task.roles, frames, height, progress)
    elif task.dataset == "dynacam":
        write_dynacam(folder, seed, task.roles, frames, height, progress=progress)
    else:
        write_penn_action(folder, seed, task.roles, frames, height, progress=progress)


def waiting(datasets: Path, tasks: Sequence[DrawTask]) -> list[DrawTask]:
    """The unfinished tasks, whose last file does not exist."""
    threedpw = datasets / FOLDERS[REST] / "sequenceFiles"
    numbers = {int(file.stem.rsplit("_", 1)[1]) for file in threedpw.glob("*/*.pkl")}

    def finished(task: DrawTask) -> bool:
        if task.dataset == REST:
            return task.roles[0][0] in numbers
        return (datasets / FOLDERS[task.dataset] / LAST[task.dataset]).exists()

    return [task for task in tasks if not finished(task)]


def waiting_films(videos: Path, films: Sequence[FilmTask]) -> list[FilmTask]:
    """The videos that are not there, whose truth does not exist."""
    return [film for film in films if not (videos / f"{name_of(film.number)}{TRUTH}").exists()]
