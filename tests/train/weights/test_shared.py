"""A network to share: what is written comes back, is refused when damaged, and goes wherever weights go."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny_runs import tiny

from trace_data.errors import CheckpointError, OutputError
from trace_data.files import sha256_of
from trace_train.build import build_network
from trace_train.evaluate import evaluate
from trace_train.inference.source import open_source
from trace_train.train import train
from trace_train.weights.checkpoint import open_checkpoint
from trace_train.weights.shared import DESCRIPTION, TENSORS, open_shared, resolve, share
from trace_train.weights.sources import open_start


@pytest.fixture(scope="module")
def run(shards: Path, packs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with averaged weights. Read only."""
    torch.set_num_threads(1)
    run = tmp_path_factory.mktemp("shared") / "run"
    train(tiny("steps=2", "optim.ema=0.5", "network.flow=dis"), shards=shards, packs=packs, run=run)
    return run


@pytest.mark.parametrize("half", [False, True])
def test_what_is_shared_comes_back(run: Path, tmp_path: Path, half: bool) -> None:
    shared = share(run, tmp_path / "net", half=half)
    wanted = open_checkpoint(run)
    assert shared.config == wanted.config
    assert shared.step == 2
    assert shared.synthetic
    state = shared.state()
    for name, value in wanted.weights().items():
        exact = value.half().float() if half and value.is_floating_point() else value
        assert torch.equal(state[name], exact), name
    source = open_source(tmp_path / "net")
    assert source.sha256 == shared.sha256
    assert source.folder == tmp_path / "net"
    expected = wanted.weights()["backbone.conv1.weight"]
    torch.testing.assert_close(source.network.backbone.conv1.weight, expected, rtol=1e-3 if half else 0, atol=1e-6)


CRAFTED: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "cut": lambda content: content[: len(content) // 2],
    "a header of gigabytes": lambda content: (1 << 40).to_bytes(8, "little") + content[8:],
    "a type that is none": lambda content: content.replace(b'"F32"', b'"F13"', 1),
    "not finite": lambda content: content[:-4000] + b"\xff" * 4000,
}


@pytest.mark.parametrize("case", CRAFTED)
def test_a_crafted_file_with_a_matching_hash_is_named(case: str, run: Path, tmp_path: Path) -> None:
    share(run, tmp_path / "net")
    file, description = tmp_path / "net" / TENSORS, tmp_path / "net" / DESCRIPTION
    file.write_bytes(CRAFTED[case](file.read_bytes()))
    facts = json.loads(description.read_text())
    description.write_text(json.dumps({**facts, "sha256": sha256_of(file)}))
    with pytest.raises(CheckpointError) as caught:
        open_source(tmp_path / "net")
    assert caught.value.where == str(file) and caught.value.hint
    start = open_start(tiny(f"init.weights={tmp_path / 'net'}"))
    assert start is not None
    with pytest.raises(CheckpointError) as caught:
        start.fill(build_network(tiny().network), tiny().network)
    assert caught.value.where == str(file) and caught.value.hint


def test_it_evaluates_as_its_run_does(run: Path, shards: Path, packs: Path, tmp_path: Path) -> None:
    share(run, tmp_path / "net")
    ours = evaluate(tmp_path / "net", shards=shards, packs=packs, split="train")
    theirs = evaluate(run, shards=shards, packs=packs, split="train")
    assert ours.rows == theirs.rows
    assert list((tmp_path / "net").glob("evaluation-*.json"))


def test_a_new_run_starts_from_it(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    share(run, tmp_path / "net", half=True)
    monkeypatch.chdir(tmp_path)
    for word, folder in ((str(tmp_path / "net"), tmp_path / "net"), ("demo", resolve(Path("demo")))):
        start = open_start(tiny(f"init.weights={word}"))
        assert start is not None
        assert set(start.files) == {"image", "head"}
        assert start.facts["sha256"] == open_shared(folder).sha256


def test_tensors_of_another_network_are_named(run: Path, tmp_path: Path) -> None:
    share(run, tmp_path / "net")
    config = tiny("network.width=16", "network.flow=dis").model_dump(mode="json")
    said(config=config)(tmp_path / "net")
    with pytest.raises(CheckpointError, match="do not fit") as error:
        open_source(tmp_path / "net")
    assert str(error.value.where).endswith(TENSORS)


Damage = Callable[[Path], object]


def cut(folder: Path) -> None:
    content = (folder / TENSORS).read_bytes()
    (folder / TENSORS).write_bytes(content[:-1])


def said(**changes: object) -> Damage:
    def change(folder: Path) -> None:
        facts = json.loads((folder / DESCRIPTION).read_text())
        (folder / DESCRIPTION).write_text(json.dumps(facts | changes))

    return change


DAMAGES: dict[str, tuple[Damage, str, str]] = {
    "tensors cut": (cut, TENSORS, "SHA-256"),
    "tensors missing": (lambda folder: (folder / TENSORS).unlink(), TENSORS, "missing"),
    "description cut": (lambda folder: (folder / DESCRIPTION).write_text("{"), DESCRIPTION, ""),
    "description missing": (lambda folder: (folder / DESCRIPTION).unlink(), "net", "no network"),
    "another version": (said(format_version=2), DESCRIPTION, "format_version"),
    "no configuration": (said(config=[]), DESCRIPTION, "config"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_named(run: Path, tmp_path: Path, name: str) -> None:
    damage, where, word = DAMAGES[name]
    share(run, tmp_path / "net")
    damage(tmp_path / "net")
    with pytest.raises(CheckpointError) as error:
        open_shared(tmp_path / "net")
    assert str(error.value.where).endswith(where)
    assert word in str(error.value)


def test_nothing_else_is_overwritten(run: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    for force in (False, True):
        with pytest.raises(OutputError, match="not empty"):
            share(run, tmp_path / "mine", force=force)
    share(run, tmp_path / "net")
    with pytest.raises(OutputError, match="already"):
        share(run, tmp_path / "net")
    share(run, tmp_path / "net", half=True, force=True)
    assert (tmp_path / "mine" / "letter.txt").read_text() == "dear"


def test_flow_by_raft_is_not_shared(run: Path, tmp_path: Path) -> None:
    copied = tmp_path / "run"
    shutil.copytree(run, copied, symlinks=True)
    (copied / "flow").mkdir()
    with pytest.raises(CheckpointError, match="RAFT"):
        share(copied, tmp_path / "net")


def test_the_word_demo_is_the_shipped_network_unless_a_folder_has_this_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert resolve(Path("demo")) != Path("demo")
    assert resolve(Path("demo/run")) == Path("demo/run")
    (tmp_path / "demo").mkdir()
    assert resolve(Path("demo")) == Path("demo")
