"""Threads on the CPU: as many as cores are free; a number that somebody fixed, or that a run began with, stays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from spotted import open_spotter, video_of
from tiny_runs import tiny

from trace_cli.main import run as trace
from trace_train.train import train
from trace_train.training import threads
from trace_train.weights.checkpoint import describe_run

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="the CPU computes little beside a GPU")


@pytest.fixture(autouse=True)
def unfixed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine of four cores on which nobody has fixed the number; afterwards everything is as before."""
    before = torch.get_num_threads()
    for name in threads.FIXED_BY:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(threads, "own_cores", lambda: {0, 1, 2, 3})
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


def busy(monkeypatch: pytest.MonkeyPatch, cores: float) -> None:
    monkeypatch.setattr(threads, "busy_cores", lambda: cores)


def test_a_busy_machine_gets_as_many_threads_as_cores_are_free(monkeypatch: pytest.MonkeyPatch) -> None:
    busy(monkeypatch, 0.6)
    assert threads.fit_threads() == "" and torch.get_num_threads() == 4
    busy(monkeypatch, 2.7)
    said = threads.fit_threads()
    assert torch.get_num_threads() == 1
    assert "2.7 of 4 cores" in said and "1 thread " in said and "OMP_NUM_THREADS=4" in said


@pytest.mark.parametrize("name", threads.FIXED_BY)
def test_a_fixed_number_stays(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "4")
    busy(monkeypatch, 4.0)
    assert threads.fit_threads() == "" and threads.fit_threads(begun_with=1) == "" and torch.get_num_threads() == 4


def test_a_run_keeps_the_number_that_it_began_with(monkeypatch: pytest.MonkeyPatch) -> None:
    busy(monkeypatch, 4.0)
    assert threads.fit_threads(begun_with=4) == "" and torch.get_num_threads() == 4
    assert "2 threads, as it began" in threads.fit_threads(begun_with=2) and torch.get_num_threads() == 2
    threads.fit_threads(begun_with=64)  # of a larger machine
    assert torch.get_num_threads() == 1


def test_a_prediction_takes_the_free_cores(
    monkeypatch: pytest.MonkeyPatch, packs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    open_spotter(monkeypatch)
    busy(monkeypatch, 2.0)
    words = ["--weights", str(tmp_path), "--packs", str(packs), "--out", str(tmp_path)]
    assert trace(["predict", str(video_of(tmp_path / "walk", 2)), *words]) == 0
    assert torch.get_num_threads() == 2 and "2 threads" in capsys.readouterr().err


def test_busy_cores_are_counted_without_idle_waiting_and_low_priority(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "stat"
    before = (
        "cpu  9 9 9 9\ncpu0 0 0 0 0 0 0 0 0 0 0\ncpu1 5 5 5 5 5 5 5 5 0 0\ncpu2 0 0 0 0 0 0 0 0\ncpu9 0 0 0 0 0 0 0 0\n"
    )
    #                   half its time     idle, waiting, nice            system and stolen      not ours
    after = "cpu0 50 0 0 50 0 0 0 0 0 0\ncpu1 5 55 5 55 45 5 5 5 0 0\ncpu2 0 0 70 0 0 0 0 30\ncpu9 100 0 0 0 0 0 0 0\n"
    file.write_text(before)
    monkeypatch.setattr(threads, "_STAT", file)
    monkeypatch.setattr(threads.time, "sleep", lambda seconds: file.write_text(after))  # type: ignore[attr-defined]
    assert threads.busy_cores() == pytest.approx(1.5)
    monkeypatch.setattr(threads, "_STAT", tmp_path / "none")
    assert threads.busy_cores(0.0) == 0.0


@pytest.mark.slow
def test_a_resumed_run_takes_its_own_number_on_a_busy_machine(
    monkeypatch: pytest.MonkeyPatch, shards: Path, packs: Path, tmp_path: Path
) -> None:
    torch.set_num_threads(2)
    train(tiny("steps=1"), shards=shards, packs=packs, run=tmp_path / "run")
    assert describe_run(tmp_path / "run").threads == 2
    torch.set_num_threads(4)
    busy(monkeypatch, 4.0)
    assert trace(["train", "--resume", str(tmp_path / "run"), "--set", "steps=2"]) == 0
    assert torch.get_num_threads() == 2 and describe_run(tmp_path / "run").threads == 2
