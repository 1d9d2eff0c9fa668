"""One step of the published network with everything that training does, on a CPU.

    pytest -m nightly tests/train/training/test_full_step.py


About ten minutes on two cores, and 13 GB of memory.
"""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from published_files import save
from torch import Tensor

from trace_data.builder.build import build_shards
from trace_data.sample_world.make import make_sample
from trace_train.build import build_network
from trace_train.config import NetworkConfig, load_config
from trace_train.network.raft import Raft
from trace_train.train import train
from trace_train.training.run_log import read_metrics
from trace_train.weights.checkpoint import open_checkpoint
from trace_train.weights.exporting import export_weights
from trace_train.weights.importing import import_weights
from trace_train.weights.published import PARTS, PREFIX, known, ours


def fresh_files(folder: Path) -> dict[str, Path]:
    """The published files with the numbers of a fresh network, which, unlike random ones, compute something finite."""
    torch.manual_seed(0)
    state: dict[str, Tensor] = {**build_network(NetworkConfig()).state_dict(), **Raft().state_dict()}
    files = {}
    for name, part in PARTS.items():
        prefix = PREFIX if part.parallel else ""
        own = OrderedDict((prefix + key, state[key]) for key in known(part) if key in ours(part))
        files[name] = save(own, folder / part.file)
    return files


@pytest.mark.nightly
def test_preset_trace_takes_a_step_from_released_weights(packs: Path, tmp_path: Path) -> None:
    make_sample(tmp_path / "sample", seed=3, sequences=12, frames=40, height=288, jobs=2)
    build_shards(["3dpw"], tmp_path / "sample" / "datasets", tmp_path / "shards", packs=packs)
    import_weights(fresh_files(tmp_path), tmp_path / "weights")
    config = load_config(
        "trace",
        ["device=cpu", "steps=1", "stages=[{clips: 1, frames: 10}]", f"init.weights={tmp_path / 'weights'}"],
    )
    run = tmp_path / "run"
    report = train(config, shards=tmp_path / "shards", packs=packs, run=run)
    assert report.steps == 1 and report.parameters == 17_442_003 - 128 * 128  # the head without its unused table
    (line,) = read_metrics(run)
    assert all(value == value and abs(value) < float("inf") for value in line["loss"].values()), line
    before = open_checkpoint(run / "checkpoints" / "step-00000000").weights(averaged=False)
    after = open_checkpoint(run).weights(averaged=False)
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert not {name for name in changed if name.startswith("backbone.")}
    heads = {name.split(".")[0] for name in after if not name.startswith("backbone.")} - {"position_embeddings"}
    assert {name.split(".")[0] for name in changed} == heads - {"coordmap_3d"}
    assert {"world_translation", "motion_offsets", "pa_joints3d"} <= line["loss"].keys()
    assert open_checkpoint(run).config.network.center_maps == "raw"
    assert {item.part for item in export_weights(run, tmp_path / "published")} == {"image", "head", "flow"}
