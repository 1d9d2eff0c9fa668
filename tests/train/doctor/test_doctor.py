"""The doctor: it finds what is there, says what is missing and how to get it, and never fails itself."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from published_files import random_state, save

from trace_cli.main import COMMANDS, run
from trace_train.doctor.commands import NEEDS
from trace_train.doctor.machine import libraries, machine
from trace_train.weights.importing import import_weights

Output = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRACE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


def examined(capsys: Output) -> dict[str, dict[str, dict[str, Any]]]:
    assert run(["doctor", "--json"]) == 0
    groups = json.loads(capsys.readouterr().out)
    return {group: {item["name"]: item for item in items} for group, items in groups.items()}


def test_an_empty_home_is_told_what_to_do_first(capsys: Output) -> None:
    found = examined(capsys)
    assert found["library"]["torch"]["found"] == torch.__version__
    others = {"viser", "Blender", "gltf-validator", "usd-core", "bvhio", "smplcodec", "video encoder"}
    assert {*others, "pytorch3d"} <= set(found["library"])
    for name in others:
        assert found["library"][name]["hint"] or found["library"][name]["state"] == "ok", name
    assert {"python", "processor", "disk", "bf16"} <= found["machine"].keys()
    assert {item["state"] for item in found["data"].values()} == {"absent"}
    assert all(item["hint"] for item in found["data"].values())
    ready = {name for name, item in found["command"].items() if item["state"] == "ok"}
    assert ready == {"trace quickstart", "trace make-sample"}
    assert found["command"]["trace evaluate"]["found"] == "needs shards, packs, runs"
    assert run(["doctor"]) == 0
    shown = capsys.readouterr().out
    assert "→ trace prepare-smpl" in shown and "not ready: " in shown


def test_commands_it_speaks_of_exist() -> None:
    assert {name.split()[0] for name in NEEDS} <= COMMANDS.keys()


def test_what_is_there_makes_commands_ready(
    packs: Path, shards: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    monkeypatch.setenv("TRACE_PACKS", str(packs))
    monkeypatch.setenv("TRACE_SHARDS", str(shards))
    found = examined(capsys)
    assert found["data"]["packs"]["found"] == "8 of 8"
    assert "96 frames: 3dpw" in found["data"]["shards"]["found"] and "(synthetic)" in found["data"]["shards"]["found"]
    assert found["command"]["trace train --config debug"]["state"] == "ok"
    assert found["setting"]["packs"]["found"] == f"{packs}  (TRACE_PACKS)"
    monkeypatch.setenv("TRACE_SHARDS", "s3://key:secret@bucket/shards")
    found = examined(capsys)
    assert "not looked at" in found["data"]["shards"]["found"] and "secret" not in json.dumps(found)


def test_weights_are_listed_and_damage_is_told(own_home: Path, tmp_path: Path, capsys: Output) -> None:
    import_weights({"flow": save(random_state("flow"), tmp_path / "raft-things.pth")}, own_home / "weights")
    assert examined(capsys)["data"]["weights"]["found"] == "flow; no image, head"
    (own_home / "weights" / "flow.safetensors").write_bytes(b"short")
    broken = examined(capsys)["data"]["weights"]
    assert broken["state"] == "problem" and "SHA-256 differs" in broken["found"] and "--force" in broken["hint"]


def test_broken_files_do_not_stop_it(own_home: Path, tmp_path: Path, capsys: Output) -> None:
    (own_home / "shards").mkdir(parents=True)
    (own_home / "shards" / "index.json").write_text("{")
    assert examined(capsys)["data"]["shards"]["state"] == "problem"
    (tmp_path / "trace.toml").write_text("shrads = 'x'")
    found = examined(capsys)
    assert "did you mean 'shards'" in found["setting"]["settings"]["found"]


def test_a_library_that_does_not_load_is_a_problem_and_its_absence_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pytorch3d.py").write_text("__version__ = '9.9'")
    (tmp_path / "torchvision.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    for name in ("torchvision", "pytorch3d"):
        monkeypatch.delitem(__import__("sys").modules, name, raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    found = {item.name: item for item in libraries()}
    assert found["torchvision"].state == "problem" and "nms does not exist" in found["torchvision"].found
    assert found["deformable convolution"].state == "ok" and "our own" in found["deformable convolution"].found
    assert (found["pytorch3d"].state, found["pytorch3d"].found) == ("ok", "9.9")


def test_gpus_are_named_with_their_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    card = SimpleNamespace(name="Some GPU", total_memory=80 * 2**30)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda number: card)
    found = {item.name: item.found for item in machine(tmp_path / "not" / "there")}
    assert found["GPU 0"] == found["GPU 1"] == "Some GPU, 80 GiB" and found["bf16"] == "native on the GPU"


def test_datasets_may_lie_in_folders_of_their_own(own_home: Path, tmp_path: Path, capsys: Output) -> None:
    own_home.mkdir()
    (own_home / "config.toml").write_text(f"root_h36m = {json.dumps(str(tmp_path))}\n")
    found = examined(capsys)["data"]["datasets"]
    assert found["state"] == "ok" and "root_h36m" in found["found"]
