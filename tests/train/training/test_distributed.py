"""Real processes that train together over gloo, as torchrun starts them: alike, stopped together, and missed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from repository import SUPPORT
from two_processes import clips_of, uncoupled

from trace_data.errors import ConfigError
from trace_data.progress import Progress
from trace_data.shards.reader import ShardReader
from trace_train import train as training
from trace_train.streaming.stream import TrainStream
from trace_train.training.distributed import from_environment
from trace_train.training.hooks import Hooks
from trace_train.training.run_log import read_metrics
from trace_train.training.state import RunState
from trace_train.weights.checkpoint import finished, open_checkpoint

STAGES = (
    "stages=[{share: 0.5, clips: 4, frames: 1, loss: {'*': 0, center_map: 60}, frozen: [backbone, NORMS]},"
    "{share: 0.5, clips: 4, frames: 2}]"
)
"""Most parts get no gradient in the first stage, and all do in the second."""
FEWER = "stages=[{share: 0.4, clips: 4, frames: 2}, {share: 0.6, clips: 4, frames: 1}]"
"""The same parameters are trained in both, and in the second those of the world get no gradient."""


def torchrun(*arguments: str | Path, processes: int = 2) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(processes)]
    port = ["--master-addr", "127.0.0.1", "--master-port", str(free_port())]
    environment = {key: value for key, value in os.environ.items() if key not in ("RANK", "WORLD_SIZE")}
    return subprocess.Popen(
        [*command, *port, *map(str, arguments)],
        cwd=SUPPORT,
        env={**environment, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def without_torchrun(*arguments: str | Path) -> str:
    """What two processes said, started as torchrun starts them; its own process takes seconds too."""
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
    started = [
        subprocess.Popen(
            [sys.executable, *map(str, arguments)],
            cwd=SUPPORT, env={**os.environ, **place, "RANK": str(rank)},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for rank in (0, 1)
    ]  # fmt: skip
    return "".join(ended(process) for process in started)


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


def ended(started: subprocess.Popen[str]) -> str:
    """What all processes said, when all have ended."""
    text, _ = started.communicate(timeout=300)
    return text


def child(started: subprocess.Popen[str], rank: int) -> int:
    """Process id of one of those that train."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
            if parent == started.pid and f"\0RANK={rank}\0" in f"\0{(folder / 'environ').read_text()}":
                return int(folder.name)
        except (OSError, ValueError):
            continue
    raise AssertionError(f"no process of rank {rank}")


def wait_for(step: int, run: Path, started: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 300
    while not (run / "checkpoints" / f"step-{step:08d}").exists() and time.monotonic() < deadline:
        assert started.poll() is None, ended(started)
        time.sleep(0.05)


def alone(
    shards: Path, packs: Path, run: Path, monkeypatch: pytest.MonkeyPatch, *changes: str
) -> list[list[tuple[int, int, int]]]:
    """The same run in this process; the clips of its steps."""
    seen: list[list[tuple[int, int, int]]] = []
    loop = training.loop

    def noting(state: RunState, hooks: Hooks, progress: Progress) -> None:
        seen.extend(clips_of(state, range(state.step, state.config.steps)))
        loop(state, hooks, progress)

    monkeypatch.setattr(training, "loop", noting)
    training.train(uncoupled(*changes), shards=shards, packs=packs, run=run, resume=run.exists())
    return seen


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "has_unused_parameters"),
    [
        (["steps=5", STAGES], False),
        (["steps=5", FEWER], True),
        (["steps=2", "optim.accumulate=2", "stages=[{clips: 4, frames: 2}]"], False),
    ],
    ids=["stages", "fewer", "parts"],
)
def test_two_processes_train_as_one(
    changes: list[str],
    has_unused_parameters: bool,
    shards: Path,
    packs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = without_torchrun("two_processes.py", shards, packs, tmp_path / "two", tmp_path, *changes)
    first, second = (torch.load(tmp_path / f"process{rank}.pth", weights_only=True) for rank in (0, 1))
    for name, value in first["weights"].items():
        assert torch.equal(value, second["weights"][name]), name
    seen = alone(shards, packs, tmp_path / "one", monkeypatch, *changes)
    # the clips of a step are dealt in turn
    assert seen == [[clip for pair in zip(a, b) for clip in pair] for a, b in zip(first["clips"], second["clips"])]
    assert first["has_unused_parameters"] is has_unused_parameters and "Warning" not in text
    for two, one in zip(read_metrics(tmp_path / "two"), read_metrics(tmp_path / "one")):
        assert two["counts"] == one["counts"]
        assert two["loss"] == pytest.approx(one["loss"], rel=2e-3)
        assert two["gradient_norm"] == pytest.approx(one["gradient_norm"], rel=2e-2)
    start, end = (open_checkpoint(tmp_path / run).weights(averaged=False) for run in ("one", "two"))
    assert {name for name in start if (start[name] - end[name]).abs().max() > 0.01} == set()
    assert [folder.name for folder in finished(tmp_path / "two")] == [
        folder.name for folder in finished(tmp_path / "one")
    ]


@pytest.mark.slow
def test_one_is_told_to_stop_and_one_is_killed(
    shards: Path, packs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    long = ["steps=2000", "checkpoint_every=2", "keep_checkpoints=9999"]
    arguments = ["two_processes.py", shards, packs, run, tmp_path, *long]

    started = torchrun(*arguments)
    wait_for(2, run, started)
    os.kill(child(started, 1), signal.SIGUSR1)
    text = ended(started)
    stopped = open_checkpoint(run).step
    assert text.count("errors.InterruptedRun: ") == 1 and f"stopped after step {stopped} of 2,000" in text
    assert text.count("exitcode  : 130") == 1

    started = torchrun(*arguments)
    wait_for(stopped + stopped % 2 + 4, run, started)
    os.kill(child(started, 1), signal.SIGKILL)
    text = ended(started)
    assert "LostProcess: process 1 of 2 (counted from 0) ended or hangs without a word" in text
    assert "goes on from the last checkpoint" in text

    step = open_checkpoint(run).step
    assert step > stopped and not list((run / "checkpoints").glob("*.partial"))
    rest = alone(shards, packs, run, monkeypatch, *long[1:], f"steps={step + 2}", "distributed.timeout_minutes=1")
    whole = uncoupled(*long[1:], f"steps={step + 2}")
    stream = TrainStream(ShardReader(shards), whole)
    assert rest == [[(r.sequence, r.start, r.stride) for _, _, r in stream.positions(s)] for s in range(step, step + 2)]


@pytest.mark.slow
def test_mistakes_are_told_once(shards: Path, packs: Path, tmp_path: Path) -> None:
    command = ["-m", "trace_cli", "train", "--config", "debug", "--shards", shards, "--packs", packs]
    text = ended(torchrun(*command, "--out", tmp_path / "run", "--set", "optim.frozen=[bakbone]"))
    assert text.count("did you mean 'backbone'") == 1 and not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE is 'two'"),
        ({"WORLD_SIZE": "2", "RANK": "2"}, "process 2 of 2"),
    ],
)
def test_a_wrong_environment_is_explained(values: dict[str, Any], words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=words):
        from_environment()


def test_a_place_to_meet_is_needed(shards: Path, packs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    with pytest.raises(ConfigError, match="rendezvous"):
        training.train(uncoupled(), shards=shards, packs=packs, run=tmp_path / "run")
    assert not (tmp_path / "run").exists()
