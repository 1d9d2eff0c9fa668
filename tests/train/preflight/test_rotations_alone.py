"""Shards of bodies of which rotations alone are known: a network trains on their poses, and nothing is scored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny_rich
from tiny_runs import tiny

from trace_data.builder.build import build_shards
from trace_data.errors import ConfigError
from trace_data.progress import Progress
from trace_data.schema.clip import ClipRef
from trace_data.shards.entries import ShardIndex
from trace_data.shards.index import load_index
from trace_data.shards.reader import ShardReader
from trace_data.shards.storage.store import as_store
from trace_train.evaluate import evaluate
from trace_train.preflight import entries, machine
from trace_train.preflight.data import check_shards
from trace_train.streaming.batch import collate
from trace_train.streaming.stream import load_clip
from trace_train.targets.make import make_targets
from trace_train.train import train

TAUGHT = {"root_rotation", "body_pose", "world_root", "world_rotation", "shape", "shape_consistency"}
"""Rotations, also in the world of a camera that stands still; shapes are pulled towards the mean where they are
unknown, and kept the same over time."""


class Told(Progress):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def log(self, line: str) -> None:
        self.lines.append(line)


@pytest.fixture(scope="module")
def turned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards of RICH's synthetic twin. Read only."""
    folder = tmp_path_factory.mktemp("rich")
    tiny_rich.write(folder)
    build_shards(["rich"], folder, folder / "shards")
    return folder / "shards"


@pytest.fixture
def index(turned: Path) -> ShardIndex:
    return load_index(turned)


def test_preflight_says_what_they_teach(turned: Path, packs: Path, index: ShardIndex) -> None:
    config = tiny("stages=[{clips: 2, frames: 2, name: only}]", "network.temporal=true", "network.motion_channels=2")
    _, network = machine.check_network(config)
    found = entries.count_entries(config, as_store(turned), packs, network)
    taught = {name for one in found for name, count in one.counts.items() if count}
    assert taught == TAUGHT
    (line,) = entries.taught_by_sources(found, index)
    assert "still cameras" in line and "poses are those of SMPL-X" in line
    assert "teaches pose, world;" in line, "a pull to the mean teaches no shape"


def test_people_are_read_at_the_centres_of_the_shards(turned: Path) -> None:
    clip = load_clip(ShardReader(turned), ClipRef(sequence=0, start=0, stride=1, length=2), 64)
    targets = make_targets(collate([clip]), input_size=64, map_size=16, levels=8)
    places = clip.annotations.center @ clip.crop_from_frame[0, :2, :2].T + clip.crop_from_frame[0, :2, 2]
    assert targets.center_mask.all() and not targets.camera_mask.any() and not targets.joints2d_mask.any()
    np.testing.assert_allclose(targets.center[0].flip(-1), (places + 0.5) / 32 - 1, atol=1e-4)
    assert targets.center_map.amax() == 1 and not targets.center_map_3d_mask.any()


def test_a_run_goes_on_without_scores_and_says_why(turned: Path, packs: Path, tmp_path: Path) -> None:
    run, told = tmp_path / "run", Told()
    train(tiny("evaluation.every=2"), shards=turned, packs=packs, run=run, progress=told)
    [line] = [line for line in told.lines if "no evaluation" in line]
    assert "SMPL-X" in line and not list(run.glob("evaluation-*"))
    with pytest.raises(ConfigError, match="SMPL-X"):
        evaluate(run, shards=turned, packs=packs, protocol="rich-static")


def test_preflight_says_that_nothing_can_be_scored(turned: Path) -> None:
    _, clips = check_shards(as_store(turned), tiny("evaluation.every=2"))
    [error] = clips.errors
    assert "SMPL-X" in str(error) and "evaluation.every=0" in str(error)
