"""A process that waits for one that is gone ends by name, even when its wait has no end."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch.distributed as dist

from trace_data.errors import LostProcess
from trace_train.training import liveness
from trace_train.training.liveness import PeerLiveness

BLOCKED = """
import sys, time
import torch.distributed as dist
from trace_train.training import liveness
liveness.BEAT_SECONDS, liveness.GRACE_SECONDS = 0.05, 0.1
one = liveness.PeerLiveness(dist.FileStore(sys.argv[1], 2), 0, 2)
with one.watched(), one.exchanging():
    time.sleep(600)  # as the CPU waits for a GPU
"""


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(liveness, "BEAT_SECONDS", 0.02)
    monkeypatch.setattr(liveness, "GRACE_SECONDS", 0.1)


def eventually(errors: list[LostProcess]) -> LostProcess:
    deadline = time.monotonic() + 30
    while not errors and time.monotonic() < deadline:
        time.sleep(0.02)
    return errors[0]


@pytest.mark.usefixtures("quick")
def test_a_process_that_said_why_it_ended_is_named() -> None:
    store, errors = dist.HashStore(), list[LostProcess]()
    one, other = PeerLiveness(store, 0, 2), PeerLiveness(store, 1, 2)
    with one.watched(errors.append), one.exchanging():
        other.announce("OutOfMemoryError: CUDA out of memory")
        error = eventually(errors)
    assert "process 1 of 2 has ended: OutOfMemoryError" in str(error) and error.exit_code == 5


@pytest.mark.usefixtures("quick")
def test_a_process_that_falls_silent_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(liveness, "SILENT_SECONDS", 1.0)
    store, errors = dist.HashStore(), list[LostProcess]()
    one, other, third = (PeerLiveness(store, rank, 3) for rank in range(3))
    with one.watched(errors.append), one.exchanging(), third.watched(lambda error: None):
        with other.watched(lambda error: None):
            time.sleep(1.5)
            assert not errors, "all of them live"
        error = eventually(errors)
    assert "process 1 of 3 (counted from 0) ended or hangs" in str(error)


@pytest.mark.usefixtures("quick")
def test_outside_a_step_nothing_is_ended() -> None:
    store, errors = dist.HashStore(), list[LostProcess]()
    one = PeerLiveness(store, 0, 2)
    with one.watched(errors.append):
        PeerLiveness(store, 1, 2).announce("gone")
        time.sleep(0.6)
        assert not errors, "a checkpoint may be on its way"
        with one.exchanging():
            eventually(errors)
    assert errors


def test_a_blocked_process_leaves_with_its_exit_code(tmp_path: Path) -> None:
    store = tmp_path / "store"
    command = [sys.executable, "-c", BLOCKED, str(store)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    PeerLiveness(dist.FileStore(str(store), 2), 1, 2).announce("killed by a test")
    _, text = process.communicate(timeout=120)
    assert process.returncode == LostProcess.exit_code == 5
    assert "error: process 1 of 2 has ended: killed by a test" in text and "--resume" in text
