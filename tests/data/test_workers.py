"""Steps of a task that share cores: in order, several at a time, never more than there are cores."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from trace_data.errors import OutputError
from trace_data.progress import SILENT, Progress
from trace_data.workers import in_order, spread


class Busy:
    """Counts how many steps run at a time; a step waits until `crowd` of them do."""

    def __init__(self, crowd: int) -> None:
        self.crowd = threading.Barrier(crowd)
        self.now = self.most = 0
        self.lock = threading.Lock()

    def step(self, item: int) -> int:
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        self.crowd.wait(10)
        with self.lock:
            self.now -= 1
        return item * item


def test_steps_run_side_by_side_and_come_in_order() -> None:
    busy = Busy(3)

    def task(count: int, progress: Progress) -> list[int]:
        return list(in_order(busy.step, range(count)))

    assert list(spread(task, [30], jobs=3, progress=SILENT)) == [(0, [i * i for i in range(30)])]
    assert busy.most == 3
    alone = Busy(1)
    assert list(in_order(alone.step, range(5))) == [0, 1, 4, 9, 16] and alone.most == 1, "outside of a spread"


def threads_of(item: int, progress: Progress) -> list[set[int]]:
    """Which threads make light and heavy steps."""

    def step(number: int) -> int:
        time.sleep(0.001)
        return threading.get_ident()

    return [set(in_order(step, range(20), light=light)) - {threading.get_ident()} for light in (True, False)]


def test_light_steps_have_threads_only_where_cores_have_no_process() -> None:
    for tasks, jobs, expected in (([0, 1, 2], 2, [False, True]), ([0, 1], 3, [True, True]), ([0], 2, [True, True])):
        for _, found in spread(threads_of, tasks, jobs=jobs, progress=SILENT):
            assert [bool(threads) for threads in found] == expected, (tasks, jobs)


def test_an_error_comes_at_its_place_and_ends_the_rest() -> None:
    begun: list[int] = []

    def step(item: int) -> int:
        begun.append(item)
        if item in (4, 5):
            raise ValueError(str(item))
        return item

    def task(count: int, progress: Progress) -> None:
        seen = []
        with pytest.raises(ValueError, match="4"):
            for value in in_order(step, range(count)):
                seen.append(value)  # noqa: PERF402  what came before the error
        assert seen == [0, 1, 2, 3]

    assert len(list(spread(task, [1000], jobs=4, progress=SILENT))) == 1
    assert len(begun) < 30, "the rest is not begun"


def test_items_are_taken_only_as_far_ahead_as_needed() -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for number in range(1000):
            taken += 1
            yield number

    def task(_: Path, progress: Progress) -> int:
        return next(in_order(abs, items()))

    assert list(spread(task, [Path()], jobs=2, progress=SILENT)) == [(0, 0)]
    assert taken <= 4


STOPPED = """
import sys, time
from trace_data.errors import OutputError
from trace_data.progress import SILENT
from trace_data.workers import spread

def task(seconds, progress):
    time.sleep(seconds)

if __name__ == "__main__":
    try:
        list(spread(task, [60, 60], jobs=2, progress=SILENT))
    except KeyboardInterrupt:
        sys.exit("stopped")
"""


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc")
@pytest.mark.parametrize("after", [0.0, 0.15, 1.0])  # seconds: workers begin, import, work
def test_ctrl_c_prints_no_traceback_of_a_worker(tmp_path: Path, after: float) -> None:
    (tmp_path / "stopped.py").write_text(STOPPED)
    command = [sys.executable, str(tmp_path / "stopped.py")]
    process = subprocess.Popen(
        command, start_new_session=True, stderr=subprocess.PIPE, text=True, preexec_fn=_heed_interrupts
    )
    while not _workers(process.pid):
        assert process.poll() is None
    time.sleep(after)
    os.killpg(process.pid, signal.SIGINT)
    assert process.communicate(timeout=30)[1] == "stopped\n"


def _heed_interrupts() -> None:
    """What runs in the background of a shell, these tests perhaps, has been told to ignore them."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _workers(process: int) -> list[str]:
    found = []
    for child in Path(f"/proc/{process}/task/{process}/children").read_text().split():
        with contextlib.suppress(FileNotFoundError):  # it ended meanwhile
            found += [child] if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes() else []
    return found


def stubborn(end: Path, progress: Progress) -> None:
    """One task fails at once; the others would go on for a minute and then leave a file."""
    if end.name == "fails":
        raise OutputError("the disk is full", where="here")
    for _ in range(6000):
        time.sleep(0.01)
        with contextlib.suppress(Exception):  # no task may take it for one of its own errors
            progress.advance()
    end.touch()


def test_the_first_error_ends_the_other_tasks_and_is_the_one_that_is_told(tmp_path: Path) -> None:
    tasks = [tmp_path / name for name in ("one", "fails", "another")]
    with pytest.raises(OutputError, match="the disk is full"):
        list(spread(stubborn, tasks, jobs=2, progress=Progress()))
    assert not list(tmp_path.iterdir()), "the others went on to their end"
