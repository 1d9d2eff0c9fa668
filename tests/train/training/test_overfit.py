"""The whole trainer can learn one clip by heart: network, flow, every loss, checkpoints, evaluation."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from trace_data.builder.build import build_shards
from trace_data.sample_world.people import cast
from trace_data.sample_world.threedpw import write_sequence
from trace_train.config import load_config
from trace_train.evaluate import MODEL, evaluate
from trace_train.train import train

ONE_CLIP = [
    "steps=160",
    "log_every=160",
    "checkpoint_every=160",
    "stages=[{clips: 1, frames: 4}]",
    "data.strides=[1]",
    "data.crop_probability=0",
    "data.camera_probability=0",
    "data.color_jitter_probability=0",
    "optim.ema=0",
]
"""Preset debug on whole frames that look the same each time, as evaluation shows them."""


@pytest.mark.slow
def test_preset_debug_learns_one_clip_by_heart(packs: Path, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    role = next(role for role in cast(3, 12) if role.split == "train")
    write_sequence(tmp_path / "datasets" / "3DPW", 3, 0, role, frames=22, height=144)
    # four frames in 0.7 s: people move on in between, so that no single pose will do
    build_shards(
        ["3dpw"], tmp_path / "datasets", tmp_path / "shards", packs=packs, splits=["train"], every=7, force=True
    )
    run = tmp_path / "run"
    train(load_config("debug", ONE_CLIP), shards=tmp_path / "shards", packs=packs, run=run)
    rows = evaluate(run, shards=tmp_path / "shards", packs=packs, split="train").rows
    model, constant = rows[MODEL], rows["mean pose"]
    assert model.recall == 1 and model.precision == 1
    assert model.pa_mpjpe is not None and constant.pa_mpjpe is not None
    assert model.pa_mpjpe < 15 and constant.pa_mpjpe > 2 * model.pa_mpjpe, (model, constant)
    world, still = model.wa_mpjpe, rows["stands still"].wa_mpjpe
    assert world is not None and still is not None and world < 0.5 * still, (world, still)
