"""Before the first step: every problem is found, all at once, and looking changes nothing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from tiny_runs import tiny

from trace_data.errors import AssetError, ConfigError, OutputError, ShardError
from trace_data.progress import Progress
from trace_data.shards.index import load_index
from trace_data.shards.storage.store import as_store
from trace_train.config import load_config
from trace_train.preflight import entries, machine, memory
from trace_train.preflight.memory import Fitting, RamMeter
from trace_train.preflight.parts import PreflightError
from trace_train.preflight.preflight import find_batch, preflight
from trace_train.preflight.trial import Trial
from trace_train.train import train
from trace_train.weights.checkpoint import finished

MEGABYTE = 10**6


class PretendedMeter:
    """Counts memory that nobody has: a step takes `fixed` and `each` a clip, and raises beyond `room`."""

    def __init__(self, room: int, fixed: int = 100 * MEGABYTE, each: int = 50 * MEGABYTE) -> None:
        self.limit, self.fixed, self.each = room, fixed, each
        self.steps: list[tuple[int, int]] = []

    def room(self) -> int:
        return self.limit

    def peak(self, work: Callable[[], None]) -> int:
        work()
        return self.taken(self.steps[-1][0])

    def taken(self, clips: int) -> int:
        return self.fixed + clips * self.each

    def step(self, clips: int, frames: int) -> None:
        self.steps.append((clips, frames))
        if self.taken(clips) > self.limit:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 50.00 MiB")


@pytest.mark.parametrize(("room", "most"), [(99, 0), (149, 0), (150, 1), (551, 9), (1700, 32), (5049, 98)])
def test_the_largest_batch_is_found_by_trial(room: int, most: int) -> None:
    meter = PretendedMeter(room * MEGABYTE)
    fitting = Fitting(meter.step, meter, dares=True)
    assert fitting.largest(10) == most
    tried = [clips for clips, _ in meter.steps]
    assert len(tried) == len(set(tried)) <= 2 * max(1, most).bit_length() + 2
    assert all(frames == 10 for _, frames in meter.steps)


def test_memory_that_would_end_the_process_is_not_tried() -> None:
    meter = PretendedMeter(1000 * MEGABYTE)
    fitting = Fitting(meter.step, meter, dares=False)
    assert fitting.largest(4) == 17  # 100 + 17 x 50 are the last within 95 % of 1000
    assert max(meter.taken(clips) for clips, _ in meter.steps) <= 950 * MEGABYTE
    assert fitting.estimate(4) == 17


@pytest.mark.parametrize("curve", ["steeper", "unseen at first"])
def test_memory_that_grows_otherwise_than_on_a_line_does_not_end_the_process(curve: str) -> None:
    class Curved(PretendedMeter):
        def taken(self, clips: int) -> int:
            if curve == "steeper":
                return self.fixed + int(clips**1.3 * self.each)
            return max(self.fixed + 2 * self.each, clips * self.each)  # an earlier peak hides the first sizes

    told: list[tuple[int, int]] = []
    meter = Curved(1000 * MEGABYTE)
    fitting = Fitting(meter.step, meter, dares=False, on_result=lambda clips, frames, peak: told.append((clips, peak)))
    assert fitting.largest(4) >= 8
    assert max(meter.taken(clips) for clips, _ in meter.steps) <= meter.limit
    assert told == [(clips, meter.taken(clips)) for clips, _ in meter.steps], "each is told when it is known"


def test_errors_that_are_not_about_memory_come_through() -> None:
    def broken(clips: int, frames: int) -> None:
        raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ"):
        Fitting(broken, PretendedMeter(10**9), dares=True).largest(1)


def test_the_memory_of_this_process_is_counted() -> None:
    meter = RamMeter()

    def work() -> None:
        torch.ones(25 * MEGABYTE)  # 100 MB

    small, large = meter.peak(lambda: None), meter.peak(work)
    assert large - small > 60 * MEGABYTE and meter.room() > large


GIGABYTE = 10**9
LIMITS: dict[str, tuple[str, dict[str, int | str]]] = {
    "a container": ("0::/\n", {"memory.max": 4 * GIGABYTE, "memory.current": GIGABYTE}),
    "a job of Slurm": (
        "0::/system.slice/job_7/step_0\n",
        {"system.slice/job_7/memory.max": 4 * GIGABYTE, "system.slice/job_7/memory.current": GIGABYTE,
         "system.slice/job_7/step_0/memory.max": "max", "system.slice/job_7/step_0/memory.current": GIGABYTE},
    ),
    "a container that sees the machine's path": (
        "0::/docker/5e\n", {"memory.max": 4 * GIGABYTE, "memory.current": GIGABYTE},
    ),
    "groups of the first version": (
        "12:cpu,cpuacct:/job\n4:memory:/job/step\n",
        {"memory/job/memory.limit_in_bytes": 4 * GIGABYTE, "memory/job/memory.usage_in_bytes": GIGABYTE,
         "memory/memory.limit_in_bytes": 2**63 - 4096, "memory/memory.usage_in_bytes": 9 * GIGABYTE},
    ),
    "files that were read": (
        "0::/job\n",
        {"job/memory.max": 4 * GIGABYTE, "job/memory.current": 4 * GIGABYTE,
         "job/memory.stat": f"anon 5\ninactive_file {3 * GIGABYTE}\n"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", LIMITS)
def test_the_memory_that_a_job_may_use_is_what_counts(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups, files = LIMITS[case]
    for name, content in {**files, "proc/cgroup": groups, "proc/status": "VmRSS: 1000 kB\n"}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"{content}".strip() + "\n")
    monkeypatch.setattr(memory, "PROC", tmp_path / "proc")
    monkeypatch.setattr(memory, "GROUPS", tmp_path)
    monkeypatch.setattr(memory, "_available", lambda: 64 * GIGABYTE)
    assert memory.RamMeter().room() == int(0.9 * 3 * GIGABYTE) + 1000 * 1024


def test_sizes_are_said_as_they_are_tried(
    shards: Path, packs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    meter = PretendedMeter(400 * MEGABYTE)

    def step(self: Trial, clips: int, frames: int) -> None:
        told.append(f"try {clips} of {frames}")
        meter.step(clips, frames)

    class Telling(Progress):
        def log(self, line: str) -> None:
            told.append(line.strip())

    monkeypatch.setattr(Trial, "__call__", step)
    find_batch(tiny(), shards=shards, packs=packs, run=tmp_path, meter=lambda device: meter, progress=Telling())
    at = told.index("try 1 of 1")
    assert "1 frame fit" in told[at - 1] and told[at + 1 : at + 3] == ["1 clip of 1 frame: 150 MB", "try 2 of 1"]


def test_a_sound_run_has_nothing_to_mend_and_looking_changes_nothing(shards: Path, packs: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    before = torch.get_rng_state()
    report = preflight(tiny(), shards=shards, packs=packs, run=run)
    assert torch.equal(before, torch.get_rng_state()) and not run.exists()
    report.raise_if_wrong()
    found = {part.name: part.found for part in report.parts}
    assert list(found) == ["shards", "clips", "packs", "weights", "network", "versions", "device", "disk", "memory"]
    assert "3dpw" in found["shards"] and "(synthetic)" in found["packs"] and "4 clips of 1 frame" in found["memory"]


def test_a_checkpoint_takes_what_was_said(shards: Path, packs: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(tiny("steps=1", "stages=[{clips: 2, frames: 1}]"), shards=shards, packs=packs, run=run)
    size = sum(file.stat().st_size for file in finished(run)[-1].iterdir())
    assert machine.checkpoint_bytes(tiny(), machine.check_network(tiny())[1]) == pytest.approx(size, rel=0.1)


def test_a_batch_that_is_too_large_says_how_many_clips_would_fit(
    shards: Path, packs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pretended(room: int) -> dict[str, Any]:
        meter = PretendedMeter(room * MEGABYTE)
        monkeypatch.setattr(Trial, "__call__", lambda self, clips, frames: meter.step(clips, frames))
        return {"shards": shards, "packs": packs, "run": tmp_path / "run", "meter": lambda device: meter}

    report = preflight(tiny("stages=[{clips: 40, frames: 1}]"), **pretended(1000))
    (error,) = report.errors
    assert isinstance(error, ConfigError) and error.where == "stages[0].clips"
    assert "40 clips of 1 frame do not fit the 1.0 GB" in error.message and "about 17 would fit" in error.message
    assert "1 takes 150 MB, 2 take 200 MB" in error.message and "--find-batch" in str(error)
    found = find_batch(tiny(), world_size=2, **pretended(400))
    assert found.clips == (5, 5)
    again = tiny(found.assignment)
    assert [stage.clips for stage in again.stages] == [10, 10] and again.stages[1].frames == 2
    (error,) = preflight(tiny(), **pretended(10)).errors
    assert "not even one does" in error.message and "network.input_size" in str(error.hint)
    with pytest.raises(ConfigError, match="not even one clip"):
        find_batch(tiny(), **pretended(10))


def test_a_configuration_with_ten_mistakes_names_ten() -> None:
    mistakes = {
        "stepz=3": "stepz", "optim.lrr=1": "optim.lrr", "network.width=wide": "network.width", "seed=x": "seed",
        "data.crop_probability=2": "data.crop_probability", "precision=fp8": "precision", "log_every=0": "log_every",
        "loss.joints3d=-1": "loss.joints3d", "data.on_error=ignore": "data.on_error", "data.threads=0": "data.threads",
    }  # fmt: skip
    with pytest.raises(ConfigError, match="10 problems") as caught:
        load_config("debug", list(mistakes))
    assert all(f"{key}:" in str(caught.value) for key in mistakes.values())


def test_ten_problems_of_files_and_machine_are_named_together(
    several_shards: Path, packs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = shutil.copytree(several_shards, tmp_path / "shards")
    first, second, third = sorted(own.glob("*-train-*.h5"))[:3]
    first.unlink()
    second.write_bytes(second.read_bytes()[:-100])
    third.write_bytes(third.read_bytes() + b"more")
    index = json.loads((own / "index.json").read_text())
    for entry in (*index["sequences"], *index["shards"]):
        entry["split"] = "test" if entry["split"] == "val" else entry["split"]
    (own / "index.json").write_text(json.dumps(index))
    female = shutil.copytree(packs, tmp_path / "packs")
    shutil.copy(female / "SMPL_FEMALE.pth", female / "SMPL_NEUTRAL.pth")
    run = tmp_path / "run"
    run.mkdir()
    (run / "mine.txt").write_text("mine")
    monkeypatch.setattr(machine, "DISTRIBUTION", "trace-5d")
    real = machine.importlib.metadata.version
    monkeypatch.setattr(machine.importlib.metadata, "version", lambda name: "3.9" if name == "h5py" else real(name))
    config = tiny(
        "data.weights={3dpw: 1, h36m: 1}", "evaluation.every=2", f"init.weights={tmp_path / 'nowhere'}",
        "keep_checkpoints=100000000",
        "stages=[{share: 0.5, clips: 3, frames: 1}, {share: 0.5, clips: 2, frames: 500, loss: {'*': 0}}]",
    )  # fmt: skip
    report = preflight(config, shards=own, packs=female, run=run, world_size=2)
    told = [str(error) for error in report.errors]
    for words in (
        f"{first.name}: the shard is missing", f"{second.name}: the shard has", f"{third.name}: the shard has",
        "3 clips a step cannot be dealt evenly to 2 processes", "'h36m' has a weight and no clips", "enough for 500",
        "no loss has a weight", "no split 'val'", "SMPL_FEMALE.pth", "nowhere",
        "h5py: is 3.9, expected 3.10", "not empty", "free some space",
    ):  # fmt: skip
        assert any(words in text for text in told), (words, told)
    assert all(error.hint for error in report.errors)
    with pytest.raises(PreflightError, match=f"{len(told)} problems") as caught:
        report.raise_if_wrong()
    assert caught.value.exit_code == 3 and all(error.message in str(caught.value) for error in report.errors)
    assert (run / "mine.txt").read_text() == "mine" and not any(part.name == "memory" for part in report.parts)


def test_what_is_wrong_with_every_stage_is_said_once(shards: Path, packs: Path, tmp_path: Path) -> None:
    stages = "stages=[{share: 0.5, clips: 2, frames: 1}, {share: 0.5, clips: 2, frames: 2}]"
    config = tiny(stages, "data.datasets={h36m: {share: 1}}", "evaluation.every=0")
    report = preflight(config, shards=shards, packs=packs, run=tmp_path / "run")
    assert [str(error) for error in report.errors if "no share" in str(error)] == [
        str(error) for error in report.errors
    ]
    assert len(report.errors) == 1
    apart = tiny(stages.replace("2}]", "500}]").replace("1}", "400}"), "evaluation.every=0")
    report = preflight(apart, shards=shards, packs=packs, run=tmp_path / "run")
    assert [error.where for error in report.errors] == ["stages[0]", "stages[1]"], "of each where each differs"


def test_sequences_without_anybody_are_not_called_too_short(shards: Path, packs: Path, tmp_path: Path) -> None:
    def told(usable: list[list[int]]) -> str:
        own = tmp_path / f"shards{len(usable)}"
        shutil.copytree(shards, own)
        index = json.loads((own / "index.json").read_text())
        for entry in index["sequences"]:
            entry["usable"] = [usable for _ in entry["usable"]]
        (own / "index.json").write_text(json.dumps(index))
        report = preflight(tiny("stages=[{clips: 2, frames: 3}]"), shards=own, packs=packs, run=tmp_path / "run")
        (error,) = [error for error in report.errors if isinstance(error, ConfigError)]
        return str(error)

    assert "nobody is annotated" in told([])
    assert "in 2 on end at most" in told([[0, 2], [4, 5]]) and "long enough" not in told([[0, 1], [4, 6], [7, 8]])


def test_a_single_problem_keeps_its_kind(shards: Path, packs: Path, tmp_path: Path) -> None:
    with pytest.raises(ShardError, match=r"no such folder"):
        preflight(tiny(), shards=tmp_path / "none", packs=packs, run=tmp_path / "run").raise_if_wrong()
    with pytest.raises(AssetError, match=r"SMPL_NEUTRAL\.pth"):
        preflight(tiny(), shards=shards, packs=tmp_path, run=tmp_path / "run").raise_if_wrong()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text("")
    with pytest.raises(OutputError, match="not empty"):
        preflight(tiny(), shards=shards, packs=packs, run=tmp_path / "run").raise_if_wrong()


def test_a_frame_that_does_not_decode_is_found(shards: Path, packs: Path, tmp_path: Path) -> None:
    own = shutil.copytree(shards, tmp_path / "shards")
    for file in own.glob("*.h5"):
        content = file.read_bytes()
        file.write_bytes(content.replace(b"\xff\xd8\xff", b"\x00\x00\x00"))
    report = preflight(tiny(), shards=own, packs=packs, run=tmp_path / "run")
    assert [type(error) for error in report.errors] == [ShardError] and "changed since they were written" in str(
        report.errors[0]
    )


def test_another_body_under_the_neutral_name_is_found(packs: Path, tmp_path: Path) -> None:
    own = shutil.copytree(packs, tmp_path / "packs")
    for part in ("SMPL_MALE.pth", "SMPLA_NEUTRAL.pth", "SMIL_NEUTRAL.pth"):
        shutil.copy(packs / part, own / "SMPL_NEUTRAL.pth")
        assert machine.check_bodies(own, tiny()).errors, part
    # alone in its folder a copy is betrayed by the note beside it, which was copied with it
    alone = tmp_path / "alone"
    alone.mkdir()
    for end in (".pth", ".json"):
        shutil.copy(packs / f"SMPL_FEMALE{end}", alone / f"SMPL_NEUTRAL{end}")
    (error,) = machine.check_bodies(alone, tiny()).errors
    assert "says that the pack is female" in str(error) and "trace prepare-smpl" in str(error)
    assert machine.check_bodies(packs, tiny()).ok
    (own / "SMPL_FEMALE.pth").unlink()
    shutil.copy(packs / "SMPL_NEUTRAL.pth", own)
    assert machine.check_bodies(own, tiny()).ok
    (error,) = machine.check_bodies(own, tiny("evaluation.every=2")).errors  # scores compare with all genders
    assert "SMPL_FEMALE.pth" in str(error)
    missing = tiny("loss.pose_prior=1", f"supervision.pose_prior_file={tmp_path / 'gmm_08.pkl'}")
    (error,) = machine.check_bodies(packs, missing).errors
    assert "gmm_08.pkl" in str(error)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def test_a_resumed_run_is_looked_at_too(tiny_run: Path, shards: Path, packs: Path) -> None:
    config = load_config(tiny_run / "config.yaml")
    assert yaml.safe_load((tiny_run / "config.yaml").read_text())["steps"] == 7
    preflight(config, shards=shards, packs=packs, run=tiny_run, resume=True, memory=False).raise_if_wrong()


def test_a_resumed_run_has_some_of_its_checkpoints_already(
    shards: Path, packs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, config = tmp_path / "run", tiny("steps=3", "checkpoint_every=1", "log.tensorboard=never")
    train(config, shards=shards, packs=packs, run=run)
    _, network = machine.check_network(config)
    size = machine.checkpoint_bytes(config, network)
    there, kept = len(finished(run)), config.keep_checkpoints + 1
    assert there == config.keep_checkpoints

    def errors(free: float, *, resume: bool, folder: Path = run) -> list[Any]:
        usage = shutil._ntuple_diskusage(0, 0, int(free * size))  # type: ignore[attr-defined]
        monkeypatch.setattr(shutil, "disk_usage", lambda place: usage)
        return list(machine.check_disk(config, network, folder, resume=resume).errors)

    assert not errors(1.1, resume=True) and errors(0.9, resume=True)
    assert errors(kept - 0.1, resume=False, folder=tmp_path / "new")
    assert not errors(kept + 0.1, resume=False, folder=tmp_path / "new")
    for folder in finished(run)[1:]:
        shutil.rmtree(folder)
    assert errors(kept - 1.1, resume=True) and not errors(kept - 0.9, resume=True)


def test_looking_says_what_it_does_while_it_does_it(shards: Path, packs: Path, tmp_path: Path) -> None:
    class Told(Progress):
        def __init__(self) -> None:
            self.lines: list[str] = []

        def log(self, line: str) -> None:
            self.lines.append(line)

    told = Told()
    meter = PretendedMeter(10**12)
    meter.steps.append((1, 1))
    assert preflight(tiny(), shards=shards, packs=packs, run=tmp_path, meter=lambda device: meter, progress=told).ok
    assert [any(word in line for line in told.lines) for word in ("looked at", "network", "one step of 4 clips")]
    assert any("4 clips of 1 frame: " in line for line in told.lines)


@pytest.mark.parametrize(
    ("mask", "terms"), [("world", ["world_root", "world_rotation"]), ("shape", []), ("body_pose", ["body_pose"])]
)
def test_losses_that_the_shards_have_nothing_for_are_named(
    mask: str, terms: list[str], shards: Path, packs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny("stages=[{clips: 2, frames: 2, name: only}]", "network.temporal=true", "network.motion_channels=2")
    _, network = machine.check_network(config)
    store = as_store(shards)
    found = entries.count_entries(config, store, packs, network)
    assert entries.terms_without_entries(found) == []
    (line,) = entries.taught_by_sources(found, load_index(store))
    assert line.startswith("3dpw: 100% of the clips, moving cameras; teaches centre") and "nothing of" not in line
    real = entries.load_clip

    def without(*args: Any) -> Any:
        clip = real(*args)
        clip.annotations.masks[mask] = np.zeros_like(clip.annotations.masks[mask])
        return clip

    monkeypatch.setattr(entries, "load_clip", without)
    found = entries.count_entries(config, store, packs, network)
    lines = entries.terms_without_entries(found)
    (line,) = entries.taught_by_sources(found, load_index(store))
    assert all(term in line.partition("nothing of")[2] for term in terms)
    assert bool(lines) == bool(terms)
    for line in lines:
        assert line.startswith("stage only: ") and all(term in line for term in terms) and "3dpw" in line


@pytest.mark.parametrize(
    ("load", "cores", "threads", "offered"),
    [(0.3, 2, 2, None), (8.0, 2, 2, 1), (8.0, 2, 1, None), (12.0, 16, 16, 4), (12.0, 16, 4, None)],
)
def test_a_busy_machine_is_said_with_what_helps(load: float, cores: int, threads: int, offered: int | None) -> None:
    lines = machine.busy_with_others(load, cores, threads)
    assert [f"OMP_NUM_THREADS={offered} " in line for line in lines] == ([] if offered is None else [True])
