"""Process pools that report progress while they work."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import queue
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any, TypeVar

from trace_data.errors import OutputError
from trace_data.progress import Progress

Task = TypeVar("Task")
Result = TypeVar("Result")


class Stopped(BaseException):
    """Another task has failed: this one ends at its next step. Not an Exception, so that no task mistakes it for one of
    its own errors."""


class Steps(Progress):
    """Progress of a worker: sends counts to the parent in batches, since a message costs more than a step."""

    def __init__(
        self, send: Callable[[tuple[int, int, int]], object], stopped: Callable[[], bool] = lambda: False
    ) -> None:
        """`send` takes (units done, units done before, bytes written). `stopped`: whether to raise Stopped."""
        self._send, self._stopped = send, stopped
        self._counts = [0, 0, 0]

    def advance(self, amount: int = 1, detail: str = "") -> None:
        self._add(0, amount)

    def skip(self, amount: int) -> None:
        self._add(1, amount)

    def wrote(self, amount: int) -> None:
        self._counts[2] += amount

    def _add(self, which: int, amount: int) -> None:
        self._counts[which] += amount
        if self._stopped():
            raise Stopped
        if self._counts[which] >= 16:
            self.flush()

    def flush(self) -> None:
        """Send the pending counts."""
        self._send((self._counts[0], self._counts[1], self._counts[2]))
        self._counts = [0, 0, 0]


def pass_on(counts: tuple[int, int, int], progress: Progress) -> None:
    """Forward the counts of a worker's `Steps` to `progress`."""
    done, skipped, written = counts
    if done:
        progress.advance(done)
    if skipped:
        progress.skip(skipped)
    if written:
        progress.wrote(written)


@dataclass(frozen=True)
class _Cores:
    """The cores that all tasks of a `spread` share."""

    threads: int
    """Threads that a single task may use."""
    spare: bool
    """Whether there are more cores than processes."""
    free: Any
    """Semaphore over the cores, of threads or of processes."""
    stop: Any = None
    """Event of processes: set once a task has failed, so that the others end too."""


ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C, `kill`, and a terminal that was closed, unless under nohup."""
HELPERS = 4
"""Threads a task may use when there are as many tasks as cores: enough to speed up the last ones, little memory."""
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of glibc's malloc.h."""

_steps: Steps | None = None
_cores: _Cores | None = None


def _begin(messages: Any, cores: _Cores) -> None:
    global _steps, _cores  # a queue reaches the workers of a pool only through their initialiser
    _steps, _cores = Steps(messages.put, cores.stop.is_set), cores
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends a worker at once, without a traceback of its own
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    keep_freed_memory()
    import cv2

    cv2.setNumThreads(1)
    parent = multiprocessing.parent_process()
    if parent is not None:
        # otherwise a worker whose parent was killed would wait forever, or write into the folder of the next build
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def keep_freed_memory() -> None:
    """Let malloc keep up to 256 MB of freed memory instead of returning it to the system.

    By default glibc returns a frame's megabytes and faults them in again, page by page, for the next frame: a quarter
    of the time of a 1080p frame, measured.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is not None:
        mallopt(_TRIM_THRESHOLD, 256 << 20)
        mallopt(_MMAP_THRESHOLD, 64 << 20)


def _end_with(parent: Any) -> None:
    parent.join()
    os._exit(1)


def _call(function: Callable[[Task, Progress], Result], task: Task) -> Result:
    assert _steps is not None
    try:
        return function(task, _steps)
    finally:
        _steps.flush()


@contextlib.contextmanager
def _one_thread_each() -> Iterator[None]:
    """Give processes started here one thread for linear algebra: faster overall, and results independent of `jobs`.

    Libraries read these variables when they are first loaded.
    """
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    before = {name: os.environ[name] for name in names if name in os.environ}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name in names:
            del os.environ[name]
        os.environ.update(before)


@contextlib.contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Block Ctrl-C in processes started here until `_begin`: during imports each would print a traceback."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)  # a pending Ctrl-C arrives now


@contextlib.contextmanager
def _workers_end_first() -> Iterator[None]:
    """The signals of `ENDING` end the workers begun here and then this process, which alone may have been told.
    Workers left alone would finish what they are at, or be waited for, and leave semaphores behind. Further signals
    change nothing: it is ending."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    others = set(multiprocessing.active_children())

    def stop(*_: object) -> None:
        for number in before:
            signal.signal(number, signal.SIG_IGN)
        for worker in set(multiprocessing.active_children()) - others:
            worker.terminate()
        raise KeyboardInterrupt

    heard = [number for number in ENDING if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, stop) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            # the others end the process for good, while a notebook goes on after Ctrl-C
            if number == signal.SIGINT or signal.getsignal(number) is stop:
                signal.signal(number, signal.SIG_DFL if handler is None else handler)


def in_order(function: Callable[[Task], Result], items: Iterable[Task], *, light: bool = False) -> Iterator[Result]:
    """Ordered `map` over small steps that release the GIL, such as decoding a frame.

    Under `spread` with several cores, items run in threads, each of which waits for a free core: idle cores help with
    the remaining tasks, and never more steps run than there are cores. `light`: steps that mostly hold the GIL, for
    which threads do not pay unless cores are spare.
    """
    cores = _cores
    if cores is None or (light and not cores.spare):
        yield from map(function, items)
        return

    def step(item: Task) -> Result:
        with cores.free:
            return function(item)

    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(cores.threads) as threads:
        try:
            for item in items:
                waiting.append(threads.submit(step, item))
                if len(waiting) >= 2 * cores.threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def spread(
    function: Callable[[Task, Progress], Result],
    tasks: Sequence[Task],
    *,
    jobs: int,
    progress: Progress,
    apart: bool = False,
) -> Iterator[tuple[int, Result]]:
    """Yield (task number, result) as tasks finish; in this process when `jobs` is 1, unless `apart`.

    `apart`: for work whose last bits depend on the threads of linear algebra. `function` and tasks must be picklable.
    The first error of a task ends the work, and the other tasks at their next step. Raises OutputError when a worker
    was killed.
    """
    if not tasks:
        return
    if not apart and (jobs <= 1 or len(tasks) <= 1):
        keep_freed_memory()
        with _shared_by_threads(jobs):
            for number, task in enumerate(tasks):
                yield number, function(task, progress)
        return
    with _workers_end_first():
        yield from _spread(function, tasks, jobs, progress)


def _spread(
    function: Callable[[Task, Progress], Result], tasks: Sequence[Task], jobs: int, progress: Progress
) -> Iterator[tuple[int, Result]]:
    context = multiprocessing.get_context("spawn")
    messages = context.Queue()
    processes = min(jobs, len(tasks))
    threads = max(min(jobs, HELPERS), -(-jobs // processes))
    cores = _Cores(threads, jobs > processes, context.Semaphore(jobs), context.Event())
    pool = ProcessPoolExecutor(processes, mp_context=context, initializer=_begin, initargs=(messages, cores))
    try:
        with _one_thread_each(), _deaf_to_interrupts():
            waiting: dict[Future[Result], int] = {
                pool.submit(_call, function, task): number for number, task in enumerate(tasks)
            }
        done: queue.SimpleQueue[Future[Result]] = queue.SimpleQueue()
        for future in waiting:
            future.add_done_callback(done.put)  # `wait` would look at every future each time
        while waiting:
            with contextlib.suppress(queue.Empty):
                future = done.get(timeout=0.2)
                yield waiting.pop(future), future.result()
            _pass_on_all(messages, progress)
    except BrokenProcessPool as error:
        raise worker_died() from error
    finally:
        cores.stop.set()  # after an error, or when whoever takes the results needs no more of them
        pool.shutdown(wait=True, cancel_futures=True)
        _pass_on_all(messages, progress)


def worker_died() -> OutputError:
    """The error for a worker process that died during a task."""
    return OutputError(
        "a worker process died, most likely for lack of memory",
        hint="run the command again, it resumes; fewer --jobs need less memory.\n"
        "  In a script of your own the call must be under  if __name__ == '__main__':",
    )


@contextlib.contextmanager
def _shared_by_threads(jobs: int) -> Iterator[None]:
    """Let `in_order` use `jobs` cores in this process."""
    global _cores
    before = _cores
    _cores = _Cores(jobs, True, threading.Semaphore(jobs)) if jobs > 1 else None
    try:
        yield
    finally:
        _cores = before


def _pass_on_all(messages: Any, progress: Progress) -> None:
    with contextlib.suppress(queue.Empty):
        while True:
            pass_on(messages.get_nowait(), progress)
