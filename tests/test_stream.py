"""The data order is a pure function of the step, and views move pixels and annotations together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from trace_data.schema.clip import ClipRef
from trace_data.shards.reader import ShardReader
from trace_train.config import load_config
from trace_train.streaming.augment import full_frame, plan, recolor
from trace_train.streaming.batch import Batch
from trace_train.streaming.stream import TrainStream, stage_bounds


def config_of(*more: str):  # type: ignore[no-untyped-def]
    stages = "stages=[{share: 0.5, clips: 3, frames: 1}, {share: 0.5, clips: 2, frames: 3}]"
    return load_config(
        "debug", ["steps=6", "network.input_size=64", "data.color_jitter_probability=0.5", stages, *more]
    )


def same(a: Batch, b: Batch) -> bool:
    return a.refs == b.refs and torch.equal(a.images, b.images) and torch.equal(a.kp2d, b.kp2d)


def test_batches_do_not_depend_on_threads_or_on_where_one_starts(shards: Path) -> None:
    reader = ShardReader(shards)
    whole = list(TrainStream(reader, config_of()).batches(0, 6))
    other = list(TrainStream(reader, config_of("data.threads=3", "data.prefetch=1")).batches(2, 6))
    assert len(whole) == 6 and all(same(a, b) for a, b in zip(whole[2:], other))
    assert [b.images.shape[:2] for b in whole] == [(3, 1)] * 3 + [(2, 3)] * 3
    changed = next(iter(TrainStream(reader, config_of("seed=1")).batches(0, 1)))
    assert changed.refs != whole[0].refs


def test_stages_share_the_steps() -> None:
    assert stage_bounds(config_of()) == [3, 6]
    assert stage_bounds(config_of("steps=7"))[-1] == 7


def test_an_epoch_shows_each_clip_once(shards: Path) -> None:
    stream = TrainStream(ShardReader(shards), config_of())
    sampler = stream.samplers[0]
    seen = [sampler.clip(0, i) for i in range(len(sampler))]
    assert len(set(seen)) == len(sampler) > 20


def test_padding_people_are_absent_in_every_mask(shards: Path) -> None:
    batch = next(iter(TrainStream(ShardReader(shards), config_of("steps=2")).batches(0, 1)))
    padding = batch.identity < 0
    for name in ("pose2d", "joints3d", "root_rotation", "shape"):
        assert not batch.masks[name][padding].any()


def test_windows_hold_their_people_and_full_frames_hold_everything(shards: Path) -> None:
    reader = ShardReader(shards)
    known = reader.annotations(ClipRef(sequence=0, start=0, stride=1, length=4))
    settings = {"crop_scale": (1.3, 2.2), "color_jitter": 0.1, "color_jitter_probability": 1.0}
    for seed in range(20):
        view = plan(known, np.random.default_rng(seed), crop_probability=1.0, **settings)  # type: ignore[arg-type]
        assert len(set(view.windows)) == 1 and all(0.9 <= f <= 1.1 for f in view.color)
        window = view.windows[0]
        edges = known.kp2d[..., :2][known.kp2d[..., 2] > 0.1] + 0.5
        inside = (edges >= [window.left, window.top]) & (edges <= [window.left + window.side, window.top + window.side])
        # a window may be drawn around one person of two; that one lies wholly inside
        assert inside.all(1).mean() > 0.4
    frame = full_frame(320, 240)
    assert (frame.left, frame.top, frame.side) == (0.0, -40.0, 320.0)


def test_colours_change_as_stated() -> None:
    frames = np.random.default_rng(0).integers(60, 190, (2, 8, 8, 3), dtype=np.uint8)
    assert recolor(frames, (1.0, 1.0, 1.0)) is frames
    brighter = recolor(frames, (1.1, 1.0, 1.0)).astype(float)
    assert brighter.mean() == pytest.approx(1.1 * frames.mean(), rel=0.01)
    assert recolor(frames, (1.0, 0.5, 1.0)).std() == pytest.approx(0.5 * frames.std(), rel=0.05)
    gray = recolor(frames, (1.0, 1.0, 0.0)).astype(int)
    assert np.abs(gray - gray[..., :1]).max() <= 1
