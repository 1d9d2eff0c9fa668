"""Work spread over processes, with progress that comes back while it goes on. Results keep the order of the tasks."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import queue
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from trace_data.errors import OutputError
from trace_data.progress import Progress

Task = TypeVar("Task")
Result = TypeVar("Result")


class _Steps(Progress):
    """The progress of a worker: counts go to the parent in batches, for a message costs more than a step."""

    def __init__(self, messages: Any) -> None:
        self.messages = messages
        self.waiting = 0

    def advance(self, amount: int = 1, detail: str = "") -> None:
        self.waiting += amount
        if self.waiting >= 16:
            self.flush()

    def flush(self) -> None:
        self.messages.put(self.waiting)
        self.waiting = 0


_steps: _Steps | None = None


def _begin(messages: Any) -> None:
    global _steps  # a queue reaches the workers of a pool only through their initialiser
    _steps = _Steps(messages)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends a worker at once, without a traceback of its own
    import cv2

    cv2.setNumThreads(1)
    parent = multiprocessing.parent_process()
    if parent is not None:
        # a worker whose parent was killed would wait for work for ever, or write beside the next build
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


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
    """Processes started here give their linear algebra one thread: faster together, and the same sums in any number.

    The variables are read when a library is first loaded.
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


def spread(
    function: Callable[[Task, Progress], Result],
    tasks: Sequence[Task],
    *,
    jobs: int,
    progress: Progress,
    apart: bool = False,
) -> Iterator[tuple[int, Result]]:
    """Yield (number of the task, result) as tasks finish, in this process when `jobs` is 1 and not all work is `apart`.

    `apart`: for work whose last bits depend on the threads of linear algebra. `function` and tasks must be picklable.
    The first error of a task ends the work. Raises OutputError when a worker was killed.
    """
    if not tasks:
        return
    if not apart and (jobs <= 1 or len(tasks) <= 1):
        for number, task in enumerate(tasks):
            yield number, function(task, progress)
        return
    context = multiprocessing.get_context("spawn")
    messages = context.Queue()
    pool = ProcessPoolExecutor(
        min(jobs, len(tasks)), mp_context=context, initializer=_begin, initargs=(messages,)
    )  # fmt: skip
    try:
        with _one_thread_each():
            waiting: dict[Future[Result], int] = {
                pool.submit(_call, function, task): number for number, task in enumerate(tasks)
            }
        while waiting:
            done, _ = wait(waiting, timeout=0.2, return_when=FIRST_COMPLETED)
            _pass_on(messages, progress)
            for future in done:
                yield waiting.pop(future), future.result()
    except BrokenProcessPool as error:
        raise OutputError(
            "a worker process died, most likely killed for want of memory",
            hint="run the command again, it continues where it stopped; fewer --jobs need less memory",
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        _pass_on(messages, progress)


def _pass_on(messages: Any, progress: Progress) -> None:
    with contextlib.suppress(queue.Empty):
        while True:
            progress.advance(messages.get_nowait())
