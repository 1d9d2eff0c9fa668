"""`trace add-flow`: right for its frames, the same bytes after any kill, and honest about other settings."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from raft_weights import ours

from trace_cli.main import run
from trace_data.builder.build import build_shards
from trace_data.errors import ConfigError, OutputError, ShardError
from trace_data.frames.image import decode
from trace_data.schema.clip import ClipRef
from trace_data.shards.flow.reader import FlowReader
from trace_data.shards.reader import ShardReader
from trace_train.network.flow import DisFlow, RaftFlow, _searched
from trace_train.precompute.flow import BLOCK, add_flow, picture_size
from trace_train.precompute.providers import FlowSource, open_provider

Output = pytest.CaptureFixture[str]
HEIGHT = 64
# KILL: `before` or `after` the file of that name is renamed, or `frames` when so many pictures were decoded.
SCRIPT = """
import os, signal, sys
from pathlib import Path
import trace_train.precompute.flow as precompute
from trace_train.precompute.providers import open_provider

plain, rename, seen = precompute._picture, Path.replace, []
moment, _, name = os.environ["KILL"].partition(" ")

def picture(*given):
    seen.append(1)
    if moment == "frames" and len(seen) == int(name):
        os.kill(os.getpid(), signal.SIGKILL)
    return plain(*given)

def replace(file, target):
    if (moment, name) == ("before", Path(target).name):
        os.kill(os.getpid(), signal.SIGKILL)
    rename(file, target)
    if (moment, name) == ("after", Path(target).name):
        os.kill(os.getpid(), signal.SIGKILL)

precompute._picture, Path.replace = picture, replace
precompute.add_flow(Path(sys.argv[1]), open_provider("dis", height=64))
"""


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def copy(shards: Path, to: Path) -> Path:
    return Path(shutil.copytree(shards, to / "shards", ignore=shutil.ignore_patterns(".build", ".flow")))


def digests(folder: Path) -> dict[str, str]:
    """Of everything that the pass leaves to read."""
    files = [*folder.glob("*.flow.h5"), *folder.glob("*.json"), *folder.glob("*.h5")]
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@pytest.fixture(scope="module")
def done(several_shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards with flow. Read only."""
    folder = copy(several_shards, tmp_path_factory.mktemp("done"))
    before = digests(folder)
    report = add_flow(folder, open_provider("dis", height=HEIGHT), jobs=2)
    assert (report.kept, report.computed) == (0, len(report.index.shards)) and report.computed > 3
    assert {name: digests(folder)[name] for name in before} == before, "shards and their index stay as they are"
    return folder


def test_each_field_is_the_providers_on_the_whole_frames(done: Path) -> None:
    reader = ShardReader(done)
    flow, entry = FlowReader(reader), reader.index.sequences[2]
    whole = ClipRef(sequence=2, start=0, stride=1, length=entry.frames)
    size = picture_size(entry.width, entry.height, HEIGHT)
    assert min(size) == HEIGHT and size[0] % 8 == size[1] % 8 == 0
    import cv2

    pictures = [
        cv2.resize(decode(data, "", rgb=True), size, interpolation=cv2.INTER_AREA) for data in reader.encoded(whole)
    ]
    for stride in (1, 3):
        pairs = flow.pairs(ClipRef(sequence=2, start=1, stride=stride, length=2))
        expected = _searched(np.stack([pictures[1], pictures[1 + stride]]), still=False)[0]
        expected = cv2.resize(expected, (size[0] // 8, size[1] // 8), interpolation=cv2.INTER_AREA)
        found = pairs[1] / np.array([entry.width / size[0], entry.height / size[1]])
        assert np.abs(found - expected).max() <= 1 / 32 + 1e-5
        assert np.abs(expected).max() > 0.5, "something moves"


def test_blocks_leave_no_seams(
    several_shards: Path, done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ShardReader(done).index.sequences[0].frames < BLOCK
    monkeypatch.setattr("trace_train.precompute.flow.BLOCK", 3)
    folder = copy(several_shards, tmp_path)
    add_flow(folder, open_provider("dis", height=HEIGHT))
    assert digests(folder) == digests(done)


@pytest.mark.parametrize(
    "kill",
    [
        "frames 12",
        "before 3dpw-train-00001.flow.h5",
        "after 3dpw-train-00001.flow.h5",
        "before 3dpw-train-00001.json",
        "after 3dpw-train-00000.json",
        "before flow.json",
        "after settings.json",
    ],
)
def test_killed_at_any_moment_it_goes_on_to_the_same_bytes(
    kill: str, several_shards: Path, done: Path, tmp_path: Path
) -> None:
    folder = copy(several_shards, tmp_path)
    command = [sys.executable, "-c", SCRIPT, str(folder)]
    child = subprocess.run(command, env={**os.environ, "KILL": kill}, capture_output=True, text=True)
    assert child.returncode == -signal.SIGKILL, child.stderr
    assert not (folder / "flow.json").exists()
    report = add_flow(folder, open_provider("dis", height=HEIGHT))
    assert digests(folder) == digests(done) and not list(folder.glob("*.partial"))
    assert report.kept == {"after 3dpw-train-00000.json": 1, "before flow.json": len(report.index.shards)}.get(
        kill, report.kept
    )


def test_only_what_is_damaged_or_new_is_computed_again(
    several_shards: Path, done: Path, sample: Path, tmp_path: Path
) -> None:
    folder = copy(several_shards, tmp_path)
    source = open_provider("dis", height=HEIGHT)
    add_flow(folder, source)
    assert add_flow(folder, source).computed == 0
    (folder / "3dpw-train-00000.flow.h5").write_bytes(b"cut")
    (folder / "3dpw-val-00000.flow.h5").unlink()
    (folder / ".flow" / "3dpw-train-00001.json").write_text("{")
    assert add_flow(folder, source).computed == 3
    assert digests(folder) == digests(done)
    # shards built anew: theirs alone is computed, and what belongs to none is gone
    index = json.loads((folder / "index.json").read_text())
    gone = index["shards"].pop()
    index["sequences"] = [s for s in index["sequences"] if s["shard"] < len(index["shards"])]
    index["shards"][0]["sha256"] = "0" * 64
    (folder / "index.json").write_text(json.dumps(index))
    report = add_flow(folder, source)
    assert report.computed == 1 and report.index.shards[0].shard_sha256 == "0" * 64
    assert not (folder / gone["file"].replace(".h5", ".flow.h5")).exists()


def test_other_settings_need_force(several_shards: Path, tmp_path: Path) -> None:
    folder = copy(several_shards, tmp_path)
    add_flow(folder, open_provider("dis", height=HEIGHT, strides=(1,)))
    with pytest.raises(OutputError, match="strides") as caught:
        add_flow(folder, open_provider("dis", height=HEIGHT, strides=(1, 2)))
    assert "--force" in str(caught.value.hint)
    add_flow(folder, open_provider("dis", height=HEIGHT, strides=(2, 1)), force=True)
    FlowReader(ShardReader(folder)).check_strides((1, 2))


def test_what_cannot_be_is_refused_before_anything_is_written(tmp_path: Path, shards: Path, imported: Path) -> None:
    for settings in ({"height": 60}, {"height": 32}, {"strides": ()}, {"strides": (0, 1)}):
        with pytest.raises(ConfigError):
            open_provider("dis", **settings)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="weights"):
        open_provider("raft")
    with pytest.raises(ShardError):
        add_flow(tmp_path / "none", open_provider("dis"))
    assert not (tmp_path / "none").exists()
    source = open_provider("raft", weights=imported, iterations=2, device=torch.device("cpu"))
    assert source.settings.weights_sha256 and source.settings.made_with["device"] == "cpu"


def test_raft_on_pairs_is_raft_on_clips() -> None:
    """With random weights: what is computed, not how well."""
    flow = RaftFlow(ours(steps=2), first_frame="zero")
    torch.manual_seed(0)
    frames = torch.randint(0, 256, (6, 64, 72, 3), dtype=torch.uint8)
    every = flow.pairs(frames, (1, 2, 5, 7), 0)
    assert [len(of_stride) for of_stride in every] == [5, 4, 1, 0]
    for stride, found in zip((1, 2, 5), every):
        for n in range(len(found)):
            with torch.no_grad():
                expected = flow.raft(frames[None, [n, n + stride]], upsample=True)[0]
            assert torch.allclose(found[n], torch.nn.functional.avg_pool2d(expected, 8)[0], atol=1e-3)
    later = flow.pairs(frames, (1, 2), 3)
    assert torch.allclose(later[0], every[0][2:], atol=1e-3) and torch.allclose(later[1], every[1][1:], atol=1e-3)
    dis = DisFlow().pairs(frames, (1, 7), 3)
    assert [tuple(of_stride.shape) for of_stride in dis] == [(3, 2, 8, 9), (0, 2, 8, 9)]


def test_raft_is_stored_too(shards: Path, tmp_path: Path) -> None:
    """Random weights again; a GPU's fp16 is not tested here."""
    folder = copy(shards, tmp_path)
    settings = open_provider("dis", height=HEIGHT, strides=(1,)).settings
    source = FlowSource(provider=RaftFlow(ours(steps=1)), settings=settings, device=torch.device("cpu"))
    add_flow(folder, source)
    pairs = FlowReader(ShardReader(folder)).pairs(ClipRef(sequence=0, start=0, stride=1, length=3))
    assert pairs[1] is not None and np.isfinite(pairs[1]).all() and np.abs(pairs[1]).max() > 0


def test_the_commands(sample: Path, done: Path, several_shards: Path, tmp_path: Path, capsys: Output) -> None:
    folder = copy(several_shards, tmp_path)
    given = ["--flow", "dis", "--height", str(HEIGHT), "--jobs", "1"]
    assert run(["add-flow", str(folder), *given, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["provider"] == "dis" and facts["bytes_per_frame"] > 0 and digests(folder) == digests(done)
    assert run(["add-flow", "--shards", str(folder), *given]) == 0
    assert "kept" in capsys.readouterr().out
    assert run(["verify-shards", str(folder)]) == 0
    assert run(["add-flow", str(folder), "--flow", "dis", "--height", "128"]) == 3
    assert "--force" in capsys.readouterr().err
    built = tmp_path / "built"
    assert run(["build-shards", "3dpw", "--root", str(sample / "datasets"), "--out", str(built), "--split", "val",
                "--flow", "dis", "--jobs", "1", "--json"]) == 0  # fmt: skip
    assert json.loads(capsys.readouterr().out[:])["flow"]["strides"] == [1, 2, 3, 4]
    FlowReader(ShardReader(built)).check_strides((1, 2, 3, 4))
    assert run(["build-shards", "3dpw", "--root", str(sample / "datasets"), "--out", str(tmp_path / "no"), "--flow",
                "raft", "--weights", str(tmp_path / "nothing")]) == 3  # fmt: skip
    assert not (tmp_path / "no").exists(), "asked for before hours of building"


def test_a_build_can_be_repeated_beside_its_flow(sample: Path, tmp_path: Path) -> None:
    folder = tmp_path / "shards"
    build_shards(["3dpw"], sample / "datasets", folder, splits=("val",))
    add_flow(folder, open_provider("dis", height=HEIGHT))
    before = digests(folder)
    build_shards(["3dpw"], sample / "datasets", folder, splits=("val",))
    assert digests(folder) == before
    FlowReader(ShardReader(folder))
