"""docs/extending.md: its blocks are applied to a copy of the code, and processes of their own use what they add."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from repository import ROOT, SUPPORT
from test_own_dataset import CODE as OWN_DATASET
from test_own_dataset import write

PAGE = (ROOT / "docs" / "extending.md").read_text()
BLOCKS = re.findall(r"```diff\n(.*?)```", PAGE, re.DOTALL)
PACKAGES = {"trace_data": "trace_data", "trace_train": "trace_train", "cli": "trace_cli"}
"""Folder in the repository to the name that Python imports it by."""


def apply(block: str, folder: Path) -> None:
    """Make the changes of a block in a copy of the code; every hunk must fit in exactly one place."""
    for part in re.split(r"^--- ", block, flags=re.MULTILINE)[1:]:
        name, _, changes = part.partition("\n")
        package, _, inside = name.partition("/")
        file = folder / PACKAGES[package] / inside
        for hunk in changes.split("@@\n"):
            lines = hunk.splitlines()
            assert all(line[:1] in ("+", "-", " ", "") for line in lines), f"{name}: a line without its mark"
            before = "\n".join(line[1:] for line in lines if line[:1] != "+")
            after = "\n".join(line[1:] for line in lines if line[:1] != "-")
            if not before:
                assert not file.exists(), f"{name} is there already"
                file.write_text(after + "\n")
                continue
            text = file.read_text()
            assert text.count(before) == 1, f"{name} holds this {text.count(before)} times:\n{before}"
            file.write_text(text.replace(before, after))


EXAMPLES = {
    "loss": """
from random_case import random_case
from trace_train.config import load_config
from trace_train.losses.objective import objective
from trace_train.report.terms import group_of
weights = load_config("debug", ["loss.camera_scale=2"]).loss.model_dump()
assert weights["camera_scale"] == 2 and load_config("debug").loss.camera_scale == 0
maps, people, targets = random_case()
alone = {name: weight * (name == "camera_scale") for name, weight in weights.items()}
report = objective(maps, people, targets, None, alone)
off = (people.camera[..., 0] - targets.camera[..., 0].flatten(0, 1)).abs()
counted = (targets.camera_mask & targets.center_mask).flatten(0, 1)
assert abs(report.values["camera_scale"] - off[counted].mean()) < 1e-5 and set(report.values) == {"camera_scale"}
assert group_of("camera_scale") == "location"
""",
    "metric": """
from collections import defaultdict
from types import SimpleNamespace as Fake
import torch
from trace_train.evaluation.accumulator import ScoreAccumulator
from trace_train.protocols.loading import load_protocol
from trace_train.evaluation.sums import Sums
from trace_cli.evaluate import _table
joints = torch.zeros(1, 44, 3)
joints[0, :4, 0] = torch.tensor([0.0, 0.04, 0.1, 0.3])
people = Fake(scored=torch.arange(44)[None] < 4, joints=torch.zeros(1, 44, 3), frame=torch.tensor([0]))
people.identity, people.counted = torch.tensor([0]), torch.tensor([True])
accumulator = ScoreAccumulator.__new__(ScoreAccumulator)
accumulator.sums, accumulator.constants = [defaultdict(Sums)], Fake(joints=None)
accumulator.protocol, accumulator.universal = load_protocol(), torch.ones(1)
found, first = Fake(body=Fake(joints=joints)), torch.tensor([0])
accumulator._add_joints(Fake(windows=(0,), frames=1), people, found, first, first)
scores = accumulator.sums[0]["model"].scores()
assert (scores.pck, scores.pck_50) == (0.75, 0.5), scores
_table({"model": scores})
""",
    "network": """
import torch
from small_network import clips, small
from trace_train.network.outputs import Tracks
from trace_train.config import load_config
plain, other = small(), small("network.mesh_dropout=0.5")
assert plain.state_dict().keys() == other.state_dict().keys() and load_config("trace").network.mesh_dropout == 0
images, flow = clips(1, 2)
voxels = torch.tensor([0, 1]), torch.tensor([[1, 2, 3], [4, 5, 6]])
with torch.no_grad():
    maps = other(images, flow)
    assert torch.equal(other.regress(maps, *voxels).shape, other.regress(maps, *voxels).shape)
    other.mesh_dropout.train()
    assert not torch.equal(other.regress(maps, *voxels).shape, other.regress(maps, *voxels).shape)
""",
}
"""What must hold with the examples of the page."""
TRY_ALL = """
import json, sys, traceback, trace_train
assert sys.argv[1] in trace_train.__file__
failures = {}
for name, code in json.load(sys.stdin).items():
    try:
        exec(code, {})
    except Exception:
        failures[name] = traceback.format_exc()
print(json.dumps(failures))
"""
"""Of one process, because each that imports torch takes seconds."""


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the code with every example of the page."""
    folder = tmp_path_factory.mktemp("extended")
    for source, package in PACKAGES.items():
        shutil.copytree(ROOT / source, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    for block in BLOCKS:
        apply(block, folder)
    (folder / "trace_data" / "adapters" / "dance.py").write_text(OWN_DATASET[0])
    return folder


def python(extended: Path, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join([str(extended), str(SUPPORT)])
    environment = {**os.environ, "PYTHONPATH": paths, "TRACE_HOME": str(extended / "home")}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=extended, env=environment, input=stdin, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def failures(extended: Path) -> dict[str, str]:
    """Examples that do not hold, with their tracebacks."""
    done = python(extended, "-c", TRY_ALL, str(extended), stdin=json.dumps(EXAMPLES))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])  # _table prints too


def test_there_is_a_block_for_each_kind() -> None:
    titles = re.findall(r"^## (.*)$", PAGE, re.MULTILINE)
    assert titles == ["A loss", "A metric", "A part of the network", "A command", "A dataset"]
    assert all("```diff" in section for section in PAGE.split("\n## ")[1:])


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_of_training(name: str, failures: dict[str, str]) -> None:
    assert name not in failures, failures[name]


@pytest.mark.slow
def test_a_command(extended: Path, shards: Path) -> None:
    assert "Count the sequences in shards." in python(extended, "-m", "trace_cli", "--help").stdout
    done = python(extended, "-m", "trace_cli", "count", str(shards), "--json")
    assert json.loads(done.stdout) == {"sequences": len(json.loads((shards / "index.json").read_text())["sequences"])}
    assert python(extended, "-m", "trace_cli", "count", str(extended)).returncode == 3


def test_a_dataset(extended: Path, tmp_path: Path) -> None:
    write(tmp_path / "dance")
    command = ["-m", "trace_cli", "verify-datasets", "dance", "--root", str(tmp_path), "--depth", "content", "--json"]
    done = python(extended, *command, "--jobs", "1")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)["datasets"][0]
    assert (report["name"], report["sequences"]) == ("dance", {"train": 2, "val": 1})
    code = f"""
from pathlib import Path
from trace_data.adapters import find_sequences, read_record
records = {{r.name: read_record(r) for r in find_sequences("dance", Path({str(tmp_path)!r}), "train")}}
assert records["duet"].everyone_annotated.all() and not records["solo"].everyone_annotated.any()
"""
    done = python(extended, "-c", code)
    assert done.returncode == 0, done.stderr
