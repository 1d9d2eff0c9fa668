"""Signals end a run after the step at hand, with a checkpoint and exit code 130, however many come."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from repository import ROOT
from tiny_runs import TINY

from trace_train.training.signals import STOPPING, one_interrupt, stop_signals
from trace_train.weights.checkpoint import finished, open_checkpoint

COMMAND = [sys.executable, "-m", "trace_cli", "train", "--config", "debug"]


def _hear_all() -> None:
    """In the background of a shell, and under nohup, processes begin deaf to these."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def started(shards: Path, packs: Path, run: Path, *before: str) -> subprocess.Popen[str]:
    changes = [*TINY, "steps=100000", "checkpoint_every=100000"]
    command = [*before, *COMMAND, *(f"--set={text}" for text in changes)]
    command += [f"--shards={shards}", f"--packs={packs}", f"--out={run}"]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, preexec_fn=_hear_all
    )
    deadline = time.monotonic() + 120
    while not finished(run) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    return process


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGHUP, signal.SIGTERM])
def test_many_signals_are_one(number: signal.Signals, shards: Path, packs: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = started(shards, packs, run)
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        process.send_signal(number)
        time.sleep(0.002)
    process.kill()
    text = process.communicate()[0]
    assert process.returncode == 130, text
    assert "Traceback" not in text and open_checkpoint(run).step >= 0


@pytest.mark.slow
def test_under_nohup_a_run_outlives_its_terminal(shards: Path, packs: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = started(shards, packs, run, "nohup")
    process.send_signal(signal.SIGHUP)
    time.sleep(0.5)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130


def test_handlers_are_put_back_when_nobody_stopped_anything() -> None:
    before = [signal.getsignal(number) for number in STOPPING]
    with one_interrupt(), stop_signals() as stopped:
        assert not stopped()
    assert [signal.getsignal(number) for number in STOPPING] == before


def test_a_signal_in_the_loop_is_the_last_that_counts() -> None:
    before = [signal.getsignal(number) for number in STOPPING]
    try:
        with one_interrupt():
            with stop_signals() as stopped:
                os.kill(os.getpid(), signal.SIGUSR1)
                assert stopped()
            os.kill(os.getpid(), signal.SIGUSR1)
        os.kill(os.getpid(), signal.SIGUSR1)
    finally:
        for number, handler in zip(STOPPING, before):
            signal.signal(number, handler)
