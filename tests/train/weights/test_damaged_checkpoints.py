"""A damaged checkpoint is named, with the one before it; whatever is wrong with it, nothing raw comes out."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tiny_runs import tiny

from trace_data.errors import CheckpointError, ConfigError
from trace_train.build import build_network
from trace_train.health.not_finite import load_batch
from trace_train.report.folder import read_run
from trace_train.train import train
from trace_train.weights.checkpoint import describe_run, finished, load_tensors, open_checkpoint, random_states, restore
from trace_train.weights.starting import Start

SHORT = ("steps=2", "checkpoint_every=1", "stages=[{clips: 2, frames: 1}]")


@pytest.fixture(scope="module")
def reference(shards: Path, packs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    run = tmp_path_factory.mktemp("reference") / "run"
    train(tiny(*SHORT), shards=shards, packs=packs, run=run)
    return run


@pytest.fixture
def run(reference: Path, tmp_path: Path) -> Path:
    copied = tmp_path / "run"
    shutil.copytree(reference, copied, symlinks=True)
    return copied


def described(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change what `checkpoint.json` says."""
    file = folder / "checkpoint.json"
    facts = json.loads(file.read_text())
    change(facts)
    file.write_text(json.dumps(facts))


def replaced(folder: Path, name: str, content: bytes) -> None:
    """Another content, under the right hash: as a program writes it that was wrong, not a disk."""
    (folder / name).write_bytes(content)
    described(folder, lambda facts: facts["sha256"].update({name: hashlib.sha256(content).hexdigest()}))


def retrained(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change what `training.pth` holds."""
    state = torch.load(folder / "training.pth", weights_only=True)
    change(state)
    partial = folder / "changed"
    torch.save(state, partial)
    replaced(folder, "training.pth", partial.read_bytes())


def pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def endless(file: Path) -> None:
    file.unlink()
    file.symlink_to("/dev/zero")


@pytest.mark.parametrize("make", [pipe, endless])
def test_weights_and_batches_that_are_no_files_are_not_waited_for(make: Callable[[Path], None], tmp_path: Path) -> None:
    file = tmp_path / "image.safetensors"
    file.touch()
    make(file)
    sizes = tiny().network
    start = Start(
        where=tmp_path, files={"image": file}, flow=None, form={}, sizes=sizes, frozen=(), facts={}, partial=False
    )
    reads: tuple[Callable[[], object], ...] = (
        lambda: load_tensors(file, hint=""),
        lambda: start.plan(build_network(sizes), sizes),
        lambda: load_batch(file),
    )
    for read in reads:
        with pytest.raises(CheckpointError, match=r": a (pipe|device)") as caught:
            read()
        assert caught.value.where == str(file)


DESCRIPTIONS: dict[str, Callable[[Path], object]] = {
    "empty": lambda f: (f / "checkpoint.json").write_bytes(b""),
    "list": lambda f: (f / "checkpoint.json").write_text("[]"),
    "not utf-8": lambda f: (f / "checkpoint.json").write_bytes(b"\xff\xfe{"),
    "deep": lambda f: (f / "checkpoint.json").write_text("[" * 200_000),
    "long integer": lambda f: (f / "checkpoint.json").write_text('{"format_version": ' + "9" * 5000 + "}"),
    "endless": lambda f: endless(f / "checkpoint.json"),
    "pipe": lambda f: pipe(f / "checkpoint.json"),
    "step": lambda f: described(f, lambda d: d.update(step="two")),
    "negative": lambda f: described(f, lambda d: d.update(step=-1)),
    "hashes": lambda f: described(f, lambda d: d.update(sha256=["x"])),
    "hash": lambda f: described(f, lambda d: d["sha256"].update({"training.pth": 7})),
    "no weights": lambda f: described(f, lambda d: d["sha256"].pop("weights.safetensors")),
    "path": lambda f: described(f, lambda d: d["sha256"].update({"../../x": "0" * 64})),
    "history": lambda f: described(f, lambda d: d.update(history=[{"recall": 1}])),
    "window": lambda f: described(f, lambda d: d.update(window=[3])),
    "data": lambda f: described(f, lambda d: d.update(data=None)),
    "config": lambda f: described(f, lambda d: d.update(config=[])),
    "weights are a pipe": lambda f: pipe(f / "weights.safetensors"),
    "training is endless": lambda f: endless(f / "training.pth"),
}


@pytest.mark.parametrize("damage", DESCRIPTIONS)
def test_damage_is_named_with_the_checkpoint_before(damage: str, run: Path) -> None:
    folder = finished(run)[-1]
    DESCRIPTIONS[damage](folder)
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(folder if damage == "pipe" else run)
    assert str(folder) in str(caught.value.where)
    assert "step-00000001" in (caught.value.hint or "") and f"rm -r {folder}" in (caught.value.hint or "")
    shutil.rmtree(folder)  # as the hint says
    assert open_checkpoint(run).step == 1


def test_the_first_checkpoint_has_none_before(run: Path) -> None:
    for folder in finished(run)[1:]:
        shutil.rmtree(folder)
    (finished(run)[0] / "weights.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match="damaged") as caught:
        open_checkpoint(run)
    assert "no checkpoint before" in (caught.value.hint or "")


def test_a_run_whose_description_does_not_end_is_reported_all_the_same(run: Path) -> None:
    endless(finished(run)[-1] / "checkpoint.json")
    assert read_run(run).checkpoint == {}
    with pytest.raises(CheckpointError):
        describe_run(run)


@pytest.mark.parametrize("name", ["shards", "packs"])
def test_a_description_without_its_data_is_named(name: str, run: Path) -> None:
    described(finished(run)[-1], lambda facts: facts["data"].update({name: 3}))
    with pytest.raises(CheckpointError, match="shards and packs"):
        describe_run(run)


TRAINING: dict[str, Callable[[Path], object]] = {
    "empty": lambda f: replaced(f, "training.pth", b""),
    "text": lambda f: replaced(f, "training.pth", b"nothing"),
    "zip": lambda f: replaced(f, "training.pth", b"PK\x05\x06" + bytes(18)),
    "list": lambda f: retrained(f, lambda s: s.update(optimizer=[])),
    "no optimizer": lambda f: retrained(f, lambda s: s.pop("optimizer")),
    "no groups": lambda f: retrained(f, lambda s: s["optimizer"].update(param_groups=[])),
    "group": lambda f: retrained(f, lambda s: s["optimizer"]["param_groups"][0].pop("lr")),
    "rate": lambda f: retrained(f, lambda s: s["optimizer"]["param_groups"][0].update(weight_decay="x")),
    "moment": lambda f: retrained(f, lambda s: s["optimizer"]["state"][0].update(exp_avg=torch.zeros(1, 2, 3))),
    "unknown parameter": lambda f: retrained(
        f, lambda s: s["optimizer"]["state"].update({99999: {"step": torch.ones(())}})
    ),
    "no scaler": lambda f: retrained(f, lambda s: s.pop("scaler")),
    "no random": lambda f: retrained(f, lambda s: s.update(random=[])),
    "random": lambda f: retrained(f, lambda s: s.update(random=[{"cpu": torch.zeros(3, dtype=torch.uint8)}])),
    "random names": lambda f: retrained(f, lambda s: s.update(random=[3])),
    "weights": lambda f: replaced(f, "weights.safetensors", b"nothing"),
    "averaged": lambda f: replaced(f, "averaged.safetensors", b""),
}


@pytest.mark.parametrize("damage", TRAINING)
def test_what_cannot_be_restored_is_named(damage: str, run: Path, shards: Path, packs: Path) -> None:
    folder = finished(run)[-1]
    TRAINING[damage](folder)
    with pytest.raises(CheckpointError) as caught:
        train(tiny(*SHORT, "steps=3"), shards=shards, packs=packs, run=run, resume=True)
    assert str(folder) in str(caught.value.where) and "step-00000001" in (caught.value.hint or "")


def test_a_configuration_that_is_none_is_named(run: Path) -> None:
    described(finished(run)[-1], lambda facts: facts["config"].update(steps="many"))
    with pytest.raises(ConfigError, match=r"checkpoint\.json"):
        open_checkpoint(run)


MOMENTS = {
    "of one number": ("exp_avg", torch.tensor(0.0)),
    "sparse": ("exp_avg", torch.zeros(2, 3).to_sparse()),
    "of whole numbers": ("exp_avg", torch.zeros(2, 3, dtype=torch.int64)),
    "not finite": ("exp_avg_sq", torch.full((2, 3), float("nan"))),
    "before the first step": ("step", torch.tensor(-5.0)),
    "of no step": ("step", torch.tensor(float("nan"))),
    "steps of flags": ("step", torch.tensor(True)),
}
GROUPS = {
    "one beta": ("betas", (0.9,)),
    "betas of text": ("betas", "ab"),
    "another kind of Adam": ("amsgrad", True),
    "of a graph": ("capturable", True),
    "no rate": ("lr", float("inf")),
}


@pytest.mark.parametrize("damage", [None, *MOMENTS, *GROUPS, "no scale"])
def test_what_torch_would_only_fail_on_in_the_next_step_is_named(damage: str | None, tmp_path: Path) -> None:
    """At the level of `restore`, with an optimizer of six numbers."""
    weights = torch.nn.Linear(3, 2)
    optimizer, scaler = torch.optim.AdamW(weights.parameters()), torch.amp.GradScaler("cpu")
    scaler.scale(weights(torch.ones(3)).sum()).backward()
    scaler.step(optimizer)
    scaler.update()
    state: dict[str, Any] = {"optimizer": optimizer.state_dict(), "scaler": scaler.state_dict()}
    if damage in MOMENTS:
        state["optimizer"]["state"][0].update([MOMENTS[damage]])
    elif damage in GROUPS:
        state["optimizer"]["param_groups"][0].update([GROUPS[damage]])
    elif damage:
        state["scaler"]["scale"] = "much"
    torch.save({**state, "random": [random_states(torch.device("cpu"))]}, tmp_path / "training.pth")

    def restored() -> None:
        held = SimpleNamespace(folder=tmp_path, step=1, config=SimpleNamespace(seed=0), load_into=lambda *_, **__: None)
        restore(
            held,  # type: ignore[arg-type]
            network=weights, optimizer=torch.optim.AdamW(weights.parameters()), scaler=torch.amp.GradScaler("cpu"),
            averaged=None, rank=0, device=torch.device("cpu"),
        )  # fmt: skip

    if damage is None:
        restored()
        return
    with pytest.raises(CheckpointError, match="cannot be restored") as caught:
        restored()
    assert caught.value.where == str(tmp_path / "training.pth")
