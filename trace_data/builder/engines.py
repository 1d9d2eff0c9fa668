"""Execution of build tasks: local processes, or the workers of a Ray cluster."""

from __future__ import annotations

import importlib
import os
import secrets
import socket
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from trace_data.builder.folder import versions
from trace_data.errors import ConfigError, OutputError, TraceError
from trace_data.progress import Progress, counted
from trace_data.workers import Steps, keep_freed_memory, pass_on, spread, worker_died

Task = TypeVar("Task")
Result = TypeVar("Result")


class Engine(Protocol):
    """Runs tasks, in any order and on any machine."""

    @property
    def jobs(self) -> int:
        """Number of tasks that run at a time."""

    @property
    def words(self) -> str:
        """`jobs` in words, such as `16 workers`."""

    def run(
        self,
        function: Callable[[Task, Progress], Result],
        tasks: Sequence[Task],
        progress: Progress,
        *,
        shared: Path,
        read: Sequence[Path],
    ) -> Iterator[tuple[int, Result]]:
        """Yield (number of the task, result) as tasks finish. `function` and tasks must be picklable.

        `shared`: folder that all workers write to, `read`: folders they read. The first error of a task is raised.
        Raises OutputError when a worker dies or cannot access the folders.
        """


@dataclass(frozen=True, kw_only=True)
class LocalEngine:
    """Processes of this machine."""

    jobs: int

    @property
    def words(self) -> str:
        """Such as `16 workers`."""
        return counted(self.jobs, "worker")

    def run(
        self,
        function: Callable[[Task, Progress], Result],
        tasks: Sequence[Task],
        progress: Progress,
        *,
        shared: Path,
        read: Sequence[Path],
    ) -> Iterator[tuple[int, Result]]:
        """See `Engine.run`; the folders are this machine's own."""
        return spread(function, tasks, jobs=self.jobs, progress=progress)


class RayEngine:
    """A Ray cluster with this project installed on every machine and the folders mounted at the same paths."""

    def __init__(self, *, address: str | None, jobs: int) -> None:
        """Join the cluster at `address`, or start one of `jobs` processes here when it is None.

        Raises ConfigError when Ray is not installed or the cluster does not respond.
        """
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no telemetry
        ray = _ray()
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        try:
            if address is None:
                ray.init("local", num_cpus=jobs, include_dashboard=False, **options)
            else:
                host, _, port = address.rpartition("/")[2].partition(":")
                if port.isdecimal():  # fail fast: Ray itself would retry for many minutes
                    socket.create_connection((host, int(port)), timeout=10).close()
                ray.init(address, **options)
        except (OSError, ValueError, RuntimeError) as error:
            raise ConfigError(
                f"no Ray cluster: {error}", where=address, hint="give --ray-address HOST:6379, or none for this machine"
            ) from error
        self.jobs = max(1, int(ray.cluster_resources().get("CPU", 0)))
        self._nodes = sum(bool(node["Alive"]) for node in ray.nodes())

    @property
    def words(self) -> str:
        """Such as `64 workers on 4 machines`."""
        return f"{counted(self.jobs, 'Ray worker')} on {counted(self._nodes, 'machine')}"

    def run(
        self,
        function: Callable[[Task, Progress], Result],
        tasks: Sequence[Task],
        progress: Progress,
        *,
        shared: Path,
        read: Sequence[Path],
    ) -> Iterator[tuple[int, Result]]:
        """See `Engine.run`. Each task takes one core of the cluster."""
        ray = _ray()
        marker = Marker(file=shared / f"seen-{secrets.token_hex(8)}", folders=tuple(read), versions=versions())
        marker.file.touch()
        counts = ray.remote(num_cpus=0)(_Counts).remote()
        call = ray.remote(num_cpus=1, max_retries=0)(_call)  # a killed task may lack memory: report it, do not retry
        waiting = {call.remote(function, task, marker, counts): number for number, task in enumerate(tasks)}
        try:
            while waiting:
                done, _ = ray.wait(list(waiting), timeout=0.3)
                pass_on(ray.get(counts.take.remote()), progress)
                for reference in done:
                    yield waiting.pop(reference), ray.get(reference)
            pass_on(ray.get(counts.take.remote()), progress)
        except ray.exceptions.RayTaskError as error:
            raise error.cause if isinstance(error.cause, TraceError) else error from None
        except ray.exceptions.RayError as error:
            raise worker_died() from error
        finally:
            for reference in waiting:
                ray.cancel(reference, force=True)
            ray.shutdown()
            marker.file.unlink(missing_ok=True)


def _ray() -> Any:
    """The module. Raises ConfigError when it is not installed."""
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise ConfigError("Ray is not installed", hint="pip install ray") from error


class _Counts:
    """An actor that sums the progress of all workers until it is polled."""

    def __init__(self) -> None:
        self._sums = (0, 0, 0)

    def add(self, counts: tuple[int, int, int]) -> None:
        self._sums = (self._sums[0] + counts[0], self._sums[1] + counts[1], self._sums[2] + counts[2])

    def take(self) -> tuple[int, int, int]:
        sums, self._sums = self._sums, (0, 0, 0)
        return sums


@dataclass(frozen=True, kw_only=True)
class Marker:
    """The folders and versions that a worker must have before it writes anything."""

    file: Path
    folders: tuple[Path, ...]
    versions: Mapping[str, str]

    def check(self) -> None:
        """Raises OutputError that names the machine."""
        here = socket.gethostname()
        unseen = [path for path in (self.file, *self.folders) if not path.exists()]
        if unseen:
            raise OutputError(
                f"a Ray worker on {here} does not see it",
                where=self.file.parent if unseen[0] == self.file else unseen[0],
                hint="use a folder that all machines of the cluster mount under the same name",
            )
        for key, expected in self.versions.items():
            if versions()[key] != expected:
                raise OutputError(
                    f"a Ray worker on {here} has {versions()[key]}, this machine {expected}",
                    hint="install the same versions on all machines: pip install -c constraints.txt",
                )


def _call(function: Callable[[Task, Progress], Result], task: Task, marker: Marker, counts: Any) -> Result:
    import cv2

    marker.check()
    keep_freed_memory()
    cv2.setNumThreads(1)
    sent: deque[Any] = deque(maxlen=1)
    steps = Steps(lambda done: sent.append(counts.add.remote(done)))
    try:
        return function(task, steps)
    finally:
        steps.flush()
        _ray().get(list(sent))  # all counts arrive before the result does
