"""While a run goes on: its lines, its boards, what is unusual, clips that cannot be read, and a disk that fills."""

from __future__ import annotations

import json
import os
import resource
import shutil
import socket
import subprocess
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from repository import ROOT, SUPPORT
from shard_damage import blot, first_of
from tiny_runs import same_weights, tiny

from trace_cli.main import run as command
from trace_data.errors import ShardError, TrainingDiverged
from trace_data.progress import Progress
from trace_data.shards.reader import ShardReader
from trace_train.config import Config, LossConfig
from trace_train.health.boards import FOLDER, flat
from trace_train.health.lines import TableLines
from trace_train.health.ranges import LOOKED_AT, oddities
from trace_train.losses.table import LOSSES
from trace_train.streaming.batch import Batch
from trace_train.streaming.stream import TrainStream
from trace_train.train import train
from trace_train.training.run_log import ERRORS, METRICS, read_lines, read_metrics
from trace_train.weights.checkpoint import open_checkpoint

ONE_STAGE = "stages=[{clips: 4, frames: 1}]"
DEBUG = {
    1: {
        "center_map": 4.2, "center_map_3d": 8.1, "joints2d": 0.31, "joints3d": 0.256, "pa_joints3d": 0.096,
        "root_rotation": 1.80, "body_pose": 0.249, "shape": 0.075, "camera": 0.31,
    },
    100: {
        "center_map": 0.82, "center_map_3d": 1.65, "joints2d": 0.16, "joints3d": 0.148, "pa_joints3d": 0.0956,
        "root_rotation": 0.55, "body_pose": 0.226, "shape": 0.083, "camera": 0.18,
    },
    1000: {
        "center_map": 0.20, "center_map_3d": 0.77, "joints2d": 0.073, "joints3d": 0.116, "pa_joints3d": 0.081,
        "root_rotation": 0.29, "body_pose": 0.205, "shape": 0.074, "camera": 0.061,
    },
}  # fmt: skip
"""What preset `debug` logged on the synthetic world, at these steps of 1,000."""


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


class Told(Progress):
    """Keeps what is said, and does something after a step."""

    def __init__(self, after: Mapping[int, Callable[[], object]] | None = None) -> None:
        self.lines: list[str] = []
        self.after, self.step = dict(after or {}), 0

    def log(self, line: str) -> None:
        self.lines.append(line)

    def advance(self, amount: int = 1, detail: str = "") -> None:
        self.step += amount
        self.after.pop(self.step, lambda: None)()

    @property
    def unusual(self) -> list[str]:
        return [line for line in self.lines if line.startswith("unusual: ")]


def line_of(step: int, loss: Mapping[str, float], **other: Any) -> dict[str, Any]:
    return {"step": step, "loss": {**loss}, "counts": dict.fromkeys(loss, 20), "lr": 2e-3, **other}


def lines_to(step: int, **changed: float) -> list[dict[str, Any]]:
    """The lines of the debug run up to a step, whose last one is changed."""
    lines = [line_of(s, loss) for s, loss in DEBUG.items() if s <= step]
    lines[-1]["loss"] |= changed
    return lines


def test_every_term_is_known_with_a_reason() -> None:
    assert set(LossConfig.model_fields) == set(LOSSES)
    for name, loss in LOSSES.items():
        term = loss.normal
        assert term.why and term.above and term.below and 0 <= term.range[0] < term.range[1] and term.rise > 1, name
        assert loss.doc and loss.unit and loss.heading and loss.weight >= 0, name


def test_a_sound_run_of_preset_debug_is_not_unusual() -> None:
    for step in LOOKED_AT:
        assert oddities(lines_to(step), fresh=True) == []


@pytest.mark.parametrize(
    ("step", "changed", "words"),
    [
        (1, {"joints3d": 256.0}, "millimetres"),
        (100, {"joints3d": 0.00015}, "kilometres"),
        (100, {"root_rotation": 2.6}, "axis that points the other way"),
        (100, {"center_map": 4.1}, "frozen"),
        (1000, {"center_map_3d": 8.0}, "frozen"),
        (1000, {"camera": 0.9}, "learning rate that is too high"),
        (1000, {"pa_joints3d": 0.3}, "another order"),
    ],
)
def test_a_term_outside_its_range_is_named_with_its_causes(step: int, changed: dict[str, float], words: str) -> None:
    (oddity,) = oddities(lines_to(step, **changed), fresh=True)
    (name,) = changed
    assert (oddity.term, oddity.step) == (name, step) and words in str(oddity) and f"{changed[name]:.4g}" in str(oddity)


def test_what_cannot_be_expected_is_not_asked_for() -> None:
    still = {"center_map": 4.1, "center_map_3d": 8.0}
    assert oddities(lines_to(100, **still), fresh=False) == []  # loaded weights may be as good as they get
    slow = [{**line, "lr": 1e-5} for line in lines_to(100, **still)]
    assert oddities(slow, fresh=True) == []  # a long warm-up has not moved anything yet
    assert (
        len(
            oddities(
                [*slow, line_of(1000, {**DEBUG[1000], **still}, lr=1e-5)][:1] + lines_to(1000, **still)[1:], fresh=True
            )
        )
        == 2
    )
    absent = lines_to(100, joints3d=256.0)
    absent[-1]["counts"]["joints3d"] = 0
    assert oddities(absent, fresh=True) == []
    between = [*lines_to(100), line_of(150, {**DEBUG[100], "joints3d": 256.0})]
    assert oddities(between, fresh=True) == []


def test_a_line_that_is_late_counts_for_the_step_it_passed() -> None:
    late = [lines_to(1)[0], line_of(130, {**DEBUG[100], "joints3d": 256.0})]
    assert [oddity.step for oddity in oddities(late, fresh=True)] == [130]


def in_millimetres(batches: Callable[..., Iterator[Batch]]) -> Callable[..., Iterator[Batch]]:
    def wrapped(self: TrainStream, start: int, stop: int) -> Iterator[Batch]:
        for batch in batches(self, start, stop):
            kp3d = batch.kp3d.clone()
            kp3d[..., :3] *= 1000
            yield replace(batch, kp3d=kp3d)

    return wrapped


@pytest.mark.slow
def test_joints_in_millimetres_are_seen_at_the_first_step(
    shards: Path, packs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TrainStream, "batches", in_millimetres(TrainStream.batches))
    told = Told()
    train(tiny("steps=1", ONE_STAGE), shards=shards, packs=packs, run=tmp_path / "run", progress=told)
    assert any("joints3d at step 1" in line and "millimetres" in line for line in told.unusual)


@pytest.mark.slow
def test_a_frozen_network_is_seen_at_step_100_and_a_sound_one_is_not(shards: Path, packs: Path, tmp_path: Path) -> None:
    config = ["steps=100", "log_every=50", "checkpoint_every=1000", ONE_STAGE]
    sound, frozen = Told(), Told()
    train(tiny(*config), shards=shards, packs=packs, run=tmp_path / "sound", progress=sound)
    assert not sound.unusual
    parts = 'optim.frozen=[backbone, det_head, "bv*", center_map_refiner2, "temp_trans*"]'
    train(tiny(*config, parts), shards=shards, packs=packs, run=tmp_path / "frozen", progress=frozen)
    assert any("center_map at step 100" in line and "frozen" in line for line in frozen.unusual)


def test_lines_are_a_table_that_fits_a_terminal() -> None:
    table = TableLines()
    counts = {**dict.fromkeys(DEBUG[1], 20), "joints2d": 1204, "shape": 0}
    rest = {"gradient_norm": 12.345, "clips_per_s": 61.4, "data_wait": 0.003, "seconds_left": 18720.0}
    line = line_of(1, {**DEBUG[1], "total": 773.2}, **rest, memory_gb=61.04) | {"counts": counts}
    legend, heading, first = table.row(line, LossConfig().model_dump())
    assert "valid entries" in legend and len(heading) < 140
    for name, cell in {"loss": "773", "2D": "186/1.2k", "joints": "102/20", "shape": "–/0", "left": "–"}.items():
        at = heading.index(f"{name} ") if name != "left" else heading.index(name)
        assert first[at:].startswith(cell), (name, first)
    for step in range(50, 50 * 24, 50):
        assert len(table.row({**line, "step": step}, {})) == 1
    again = [*table.row({**line, "step": 9999}, {}), *table.row({**line, "step": 99_999}, {})]
    assert again[1].split() == heading.split() and "5 h 12 min" in again[0] and again[-1].startswith("99,999")


def test_the_summary_compares_losses_within_the_last_stage(shards: Path, packs: Path, tmp_path: Path) -> None:
    report = train(tiny("log_every=1"), shards=shards, packs=packs, run=tmp_path / "run")
    lines = read_metrics(tmp_path / "run")
    last = [line["loss"]["total"] for line in lines if line["stage"] == lines[-1]["stage"]]
    assert 1 < len(last) < len(lines)
    assert (report.stage, report.first_loss, report.last_loss) == (lines[-1]["stage"], last[0], last[-1])


@pytest.mark.parametrize("width", [80, 60, 40])
def test_lines_of_a_narrow_terminal_hold_the_same_in_more_lines(width: int) -> None:
    counts = {**dict.fromkeys(DEBUG[1], 20), "joints2d": 1204}
    rest = {"gradient_norm": 12.345, "clips_per_s": 61.4, "data_wait": 0.003, "seconds_left": 18720.0}
    line = line_of(99_950, {**DEBUG[1], "total": 773.2}, **rest, memory_gb=61.04) | {"counts": counts}
    wide, narrow = TableLines().row(line, {}), TableLines(width).row(line, {})
    assert max(map(len, narrow[1:])) <= width < max(map(len, wide))
    assert [word for text in narrow for word in text.split()] == [word for text in wide for word in text.split()]
    heading, values = narrow[1 : 1 + len(narrow) // 2], narrow[1 + len(narrow) // 2 :]
    assert len(heading) == len(values) and all(text.startswith(" " * 9) for text in values[1:])


def events(run: Path) -> dict[str, dict[int, float]]:
    """What TensorBoard shows of a run: number by step, by name."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    shown = EventAccumulator(str(run / FOLDER)).Reload()
    return {name: {e.step: e.value for e in shown.Scalars(name)} for name in shown.Tags()["scalars"]}


def test_tensorboard_shows_what_the_log_holds_also_after_a_run_died(shards: Path, packs: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    config = tiny("log_every=1")
    dies = Told({5: lambda: (_ for _ in ()).throw(KeyboardInterrupt)})  # between two checkpoints
    with pytest.raises(KeyboardInterrupt):
        train(config, shards=shards, packs=packs, run=run, progress=dies)
    assert [line["step"] for line in read_metrics(run)] == [1, 2, 3, 4, 5] and open_checkpoint(run).step == 3
    train(tiny("log_every=2"), shards=shards, packs=packs, run=run, resume=True)
    lines = read_metrics(run)
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 6, 7]
    found = events(run)
    for name in ("loss/total", "loss/joints3d", "counts/joints3d", "gradient_norm", "lr", "data_wait", "seconds_left"):
        expected = {line["step"]: dict(flat(line))[name] for line in lines}
        assert found[name] == pytest.approx(expected), name


def test_wandb_is_not_imported_unless_a_project_is_named_and_no_board_ends_a_run(
    shards: Path, packs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[tuple[int, float]] = []

    class Run:
        def log(self, numbers: dict[str, float], step: int) -> None:
            if step > 2:
                raise ConnectionError("the server is gone")
            sent.append((step, numbers["loss/total"]))

    wandb = types.ModuleType("wandb")
    wandb.init = lambda **given: asked.append(given) or Run()  # type: ignore[attr-defined]
    asked: list[dict[str, Any]] = []
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)  # installed, and does not load
    told = Told()
    config = ["steps=3", "log_every=1", ONE_STAGE]
    train(tiny(*config), shards=shards, packs=packs, run=tmp_path / "without", progress=told)
    assert not asked and any(line.startswith("TensorBoard is given up") for line in told.lines)
    told = Told()
    train(tiny(*config, "log.wandb=mine"), shards=shards, packs=packs, run=tmp_path / "run", progress=told)
    assert asked[0]["project"] == "mine" and asked[0]["config"]["log"]["wandb"] == "mine"
    lines = read_metrics(tmp_path / "run")
    assert sent == [(line["step"], line["loss"]["total"]) for line in lines[:2]] and len(lines) == 3
    assert any("the server is gone" in line for line in told.lines)


def test_a_disk_that_takes_no_lines_does_not_end_a_run(shards: Path, packs: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill() -> None:  # to the last byte but ten: part of the next line still fits
        resource.setrlimit(resource.RLIMIT_FSIZE, ((run / METRICS).stat().st_size + 10, before[1]))

    def free() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        cut.extend(read_metrics(run))
        assert (run / METRICS).read_bytes().endswith(b"}\n"), "half a line would end the file for all readers"

    cut: list[dict[str, Any]] = []
    told = Told({4: fill, 5: free})
    try:
        train(tiny("log_every=1"), shards=shards, packs=packs, run=run, progress=told)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [line["step"] for line in cut] == [1, 2, 3, 4]
    assert [line["step"] for line in read_metrics(run)] == [1, 2, 3, 4, 5, 6, 7]
    assert len([line for line in told.lines if "metrics.jsonl cannot be written" in line]) == 1
    assert any(line.startswith("TensorBoard is given up") for line in told.lines)


def test_tensorboard_on_a_full_disk_is_given_up_without_a_traceback(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    probe = (
        "import resource, signal, sys, threading; from pathlib import Path\n"
        "from trace_train.config import load_config; from trace_train.health.boards import Boards\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "boards = Boards(Path(sys.argv[1]), load_config('debug', []), next_step=0, log=print)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200, resource.RLIM_INFINITY))\n"
        "for step in range(20): boards.write({'step': step, 'loss': {'total': 1.0}})\n"
        "boards.close()\n"
        "other = threading.Thread(target=lambda: 1 / 0); other.start(); other.join()\n"
    )
    done = subprocess.run([sys.executable, "-c", probe, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.count("TensorBoard is given up") == 1
    assert "OSError" not in done.stderr and "ZeroDivisionError" in done.stderr


@pytest.fixture
def own(several_shards: Path, tmp_path: Path) -> Path:
    return shutil.copytree(several_shards, tmp_path / "shards")


def many(*more: str) -> Config:
    return tiny("steps=14", "checkpoint_every=5", "data.prefetch=1", "data.skip_limit=1", *more)


@pytest.fixture(scope="module")
def undisturbed(several_shards: Path, packs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of `many()` on whole shards. Read only."""
    run = tmp_path_factory.mktemp("undisturbed") / "run"
    train(many(), shards=several_shards, packs=packs, run=run)
    return run


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["blot", "delete"])
def test_a_shard_damaged_during_a_run_stops_it_with_a_checkpoint(
    damage: str, own: Path, several_shards: Path, undisturbed: Path, packs: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"

    def harm() -> None:
        if damage == "delete":
            for file in own.glob("*-train-*.h5"):
                file.unlink()
        for file in own.glob("*-train-*.h5"):
            file.write_bytes(file.read_bytes().replace(b"\xff\xda", b"\x00\x00"))

    with pytest.raises(ShardError, match=r"the checkpoint of step \d+ is saved") as caught:
        train(many(), shards=own, packs=packs, run=run, progress=Told({3: harm}))
    step = open_checkpoint(run).step
    assert 3 <= step < 14 and f"checkpoint of step {step}" in str(caught.value)
    assert "3dpw/train/" in str(caught.value) and str(own) in str(caught.value.where)
    assert f"trace train --resume {run}" in str(caught.value)
    shutil.rmtree(own)
    shutil.copytree(several_shards, own)  # mended: it goes on as if nothing had been
    train(many(), shards=own, packs=packs, run=run, resume=True)
    assert same_weights(run, undisturbed)


@pytest.mark.slow
def test_one_of_two_processes_that_cannot_read_stops_both_with_a_checkpoint(
    own: Path, packs: Path, tmp_path: Path
) -> None:
    config = ["steps=14", "stages=[{clips: 2, frames: 2}]"]
    stream = TrainStream(ShardReader(own), tiny(*config), rank=1, world_size=2)
    names = [stream.reader.index.sequences[stream.positions(step)[0][2].sequence].name for step in range(14)]
    step = next(i for i in range(2, 14) if names[i] not in names[:i])
    torn = shutil.copytree(own, tmp_path / "torn")
    blot(torn, names[step])
    run = tmp_path / "run"
    code = (
        "import sys, torch; torch.set_num_threads(1); from pathlib import Path; from tiny_runs import tiny;"
        "from trace_train.train import train; s, p, r = map(Path, sys.argv[1:4]);"
        "train(tiny(*sys.argv[4:]), shards=s, packs=p, run=r)"
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(shards), str(packs), str(run), *config],
            env={**os.environ, "RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1",
                 "MASTER_PORT": str(port), "PYTHONPATH": str(SUPPORT)},
            stderr=subprocess.PIPE, text=True, cwd=ROOT,
        )
        for rank, shards in enumerate((own, torn))
    ]  # fmt: skip
    told = [process.communicate(timeout=240)[1] for process in processes]
    assert all(process.returncode for process in processes)
    assert f"3dpw/train/{names[step]}" in told[0] and f"the checkpoint of step {step} is saved" in told[0]
    assert open_checkpoint(run).step == step


@pytest.mark.slow
def test_a_run_that_skips_is_resumed_to_the_same_bits(own: Path, packs: Path, tmp_path: Path) -> None:
    run, reference = tmp_path / "run", tmp_path / "reference"
    blot(own, first_of(own))
    skips = many("data.on_error=skip", "log_every=1")
    told = Told()
    train(skips, shards=own, packs=packs, run=reference, progress=told)
    errors = read_lines(reference / ERRORS)
    assert errors and all(error["clip"].endswith(first_of(own)) for error in errors)
    assert all(error["file"].endswith(".h5") and error["reason"] for error in errors)
    assert read_metrics(reference)[-1]["clips_replaced"] == len(errors)
    assert any(f"replaced: {reference / ERRORS}" in line for line in told.lines)
    dies = Told({7: lambda: (_ for _ in ()).throw(KeyboardInterrupt)})
    with pytest.raises(KeyboardInterrupt):
        train(skips, shards=own, packs=packs, run=run, progress=dies)
    train(skips, shards=own, packs=packs, run=run, resume=True)
    assert same_weights(run, reference)
    key = ("step", "clip", "start", "stride")
    listed = [sorted([error[k] for k in key] for error in read_lines(folder / ERRORS)) for folder in (run, reference)]
    assert listed[0] == listed[1], "what was read ahead of the checkpoint is listed once"
    assert [line["loss"] for line in read_metrics(run)] == [line["loss"] for line in read_metrics(reference)]


def test_a_poisoned_clip_stops_the_run_and_the_replay_names_it(
    shards: Path, packs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    real = TrainStream.batches
    poisoned: list[str] = []

    def batches(self: TrainStream, start: int, stop: int) -> Iterator[Batch]:
        for step, batch in enumerate(real(self, start, stop), start):
            if step == 4 and stop == 7:
                kp3d = batch.kp3d.clone()
                kp3d[1, 0, 0, 5, 0] = 3e38
                entry = self.reader.index.sequences[batch.refs[1].sequence]
                poisoned.append(f"{entry.key}")
                batch = replace(batch, kp3d=kp3d)
            yield batch

    monkeypatch.setattr(TrainStream, "batches", batches)
    monkeypatch.setenv("TRACE_HOME", str(tmp_path / "home"))
    with pytest.raises(TrainingDiverged) as caught:
        train(tiny("stages=[{clips: 3, frames: 1}]"), shards=shards, packs=packs, run=run)
    file = run / "not-finite-step-00000004.pth"
    assert f"trace train --replay {file}" in str(caught.value) and poisoned[0] in str(caught.value)
    assert all(value.isfinite().all() for value in open_checkpoint(run).weights(averaged=False).values())
    assert command(["train", "--replay", str(file), "--packs", str(packs)]) == 4
    shown = capsys.readouterr().out
    assert f"kp3d[0, 0, 5, 0] is 3e+38 in {poisoned[0]}" in shown and "in the losses: " in shown
    assert command(["train", "--replay", str(file), "--packs", str(packs), "--json"]) == 4
    found = json.loads(capsys.readouterr().out)
    assert found["worst"][0]["clip"].startswith(poisoned[0])
    entered: list[str] = []

    def debugger(trace: types.TracebackType) -> None:
        while trace.tb_next is not None:
            entered.append(trace.tb_frame.f_code.co_name)
            trace = trace.tb_next

    monkeypatch.setattr("pdb.post_mortem", debugger)
    assert command(["train", "--replay", str(file), "--packs", str(packs), "--pdb"]) == 4
    assert entered[-1] == "replay" and "in the losses" in capsys.readouterr().out


@pytest.mark.slow
def test_the_check_of_the_command_exits_0_or_3(
    shards: Path, packs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACE_HOME", str(tmp_path / "home"))
    run, file = tmp_path / "run", tmp_path / "mine.yaml"
    file.write_text(json.dumps(tiny("steps=2", "log_every=1", ONE_STAGE).model_dump(mode="json")))
    words = ["train", "--config", str(file), "--packs", str(packs), "--out", str(run)]
    assert command([*words, "--shards", str(shards), "--check"]) == 0
    assert "ready" in capsys.readouterr().out and not run.exists()
    broken = ["--shards", str(tmp_path), "--set", "keep_checkpoints=100000000", "--check"]
    assert command([*words, *broken]) == 3
    shown = capsys.readouterr().out
    assert "2 problems" in shown and "✗ shards" in shown and "✗ disk" in shown and "✓ packs" in shown
    assert command([*words, *broken, "--json"]) == 3
    assert [part["name"] for part in json.loads(capsys.readouterr().out)["parts"] if not part["ok"]] == [
        "shards",
        "disk",
    ]
    assert command([*words, *broken[:-1]]) == 3 and not run.exists()
    assert "2 problems, nothing was started" in capsys.readouterr().err
    assert command([*words, "--shards", str(shards)]) == 0
    assert "preflight  shards ✓" in capsys.readouterr().err and len(read_metrics(run)) == 2
