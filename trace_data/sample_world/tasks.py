"""Drawing the sample world in pieces for several processes: a sequence of 3DPW, or the whole of another dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from trace_data.progress import Progress
from trace_data.sample_world import human36m_clips, mpi_inf_3dhp
from trace_data.sample_world.allocation import REST, Allocation
from trace_data.sample_world.dynacam import write_dynacam
from trace_data.sample_world.human36m import write_human36m
from trace_data.sample_world.mpi_inf_3dhp import write_mpi_inf_3dhp
from trace_data.sample_world.penn_action import write_penn_action
from trace_data.sample_world.people import Role
from trace_data.sample_world.threedpw import write_sequence

FOLDERS: Mapping[str, str] = {
    "3dpw": "3DPW",
    "dynacam": "DynaCam",
    "h36m": "h36m",
    "mpi-inf-3dhp": mpi_inf_3dhp.FOLDER,
    "penn-action": "Penn_Action",
}
"""Name of a dataset to its folder below that of all datasets."""

LAST: Mapping[str, str] = {
    "dynacam": "annotations/panorama_train.npz",
    "h36m": "metadata.xml",
    "mpi-inf-3dhp": "MPI-INF-3DHP_SMPL_NeuralAnnot.json",
    "penn-action": "eft_annots.npz",
}
"""Which file of a dataset is written when all others are whole, and renamed when it is whole itself."""


@dataclass(frozen=True, slots=True)
class DrawTask:
    """What one process draws at a time."""

    dataset: str
    roles: tuple[tuple[int, Role], ...]
    """The sequences by index: one of 3DPW, which has files of its own; else all, for some files serve all of them."""


def tasks_of(allocation: Allocation) -> list[DrawTask]:
    """All tasks, those that take longest first."""
    whole = [DrawTask(name, tuple(roles)) for name, roles in allocation.items() if roles and name != REST]
    whole.sort(key=lambda task: -len(task.roles))
    return [*whole, *(DrawTask(REST, (entry,)) for entry in allocation[REST])]


def people_of(allocation: Allocation) -> set[int]:
    """Everybody who is seen: studios film one person at a time, who comes back."""
    seen = {
        person for name in (REST, "dynacam", "penn-action") for _, role in allocation[name] for person in role.people
    }
    return seen | human36m_clips.players(_clips(allocation["h36m"])) | mpi_inf_3dhp.actors(allocation["mpi-inf-3dhp"])


def _clips(roles: Sequence[tuple[int, Role]]) -> Sequence[tuple[int, Role]]:
    """Of the sequences of Human3.6M those that are played; each of the others is the same seen by the second camera."""
    return roles[:: human36m_clips.VIEWS]


def draw(datasets: Path, seed: int, frames: int, height: int, task: DrawTask, progress: Progress) -> None:
    """Write the files of a task below the folder `datasets`; what an interrupted call has left is completed."""
    folder = datasets / FOLDERS[task.dataset]
    if task.dataset == REST:
        [(index, role)] = task.roles
        write_sequence(folder, seed, index, role, frames, height)
        progress.advance()
    elif task.dataset == "h36m":
        write_human36m(folder, seed, _clips(task.roles), frames, height, progress)
    elif task.dataset == "mpi-inf-3dhp":
        write_mpi_inf_3dhp(datasets, seed, task.roles, frames, height, progress)
    elif task.dataset == "dynacam":
        write_dynacam(folder, seed, task.roles, frames, height, progress=progress)
    else:
        write_penn_action(folder, seed, task.roles, frames, height, progress=progress)


def waiting(datasets: Path, tasks: Sequence[DrawTask]) -> list[DrawTask]:
    """The tasks that an interrupted run has not finished: what is written last is not there."""
    threedpw = datasets / FOLDERS[REST] / "sequenceFiles"
    numbers = {int(file.stem.rsplit("_", 1)[1]) for file in threedpw.glob("*/*.pkl")}

    def finished(task: DrawTask) -> bool:
        if task.dataset == REST:
            return task.roles[0][0] in numbers
        return (datasets / FOLDERS[task.dataset] / LAST[task.dataset]).exists()

    return [task for task in tasks if not finished(task)]
