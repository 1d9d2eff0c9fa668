"""The data order is a pure function of the step, and views move pixels and annotations together."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from trace_data.errors import ConfigError
from trace_data.frames.image import decode
from trace_data.schema.clip import ClipRef
from trace_data.schema.keypoints import FLIP_44
from trace_data.shards.reader import ShardReader
from trace_train.config import DataConfig, load_config
from trace_train.streaming.augment import plan
from trace_train.streaming.batch import Batch, collate
from trace_train.streaming.pixels import finish
from trace_train.streaming.stream import TrainStream, load_clip, stage_bounds
from trace_train.streaming.views import read_view
from trace_train.targets import make_targets


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


def as_static(reader: ShardReader, *datasets: str) -> ShardReader:
    """The same shards, said to be of cameras that stand still, of these datasets in turn."""
    entries = [
        replace(entry, moving=False, dataset=datasets[i % len(datasets)])
        for i, entry in enumerate(reader.index.sequences)
    ]
    reader.index = replace(reader.index, sequences=tuple(entries))
    return reader


EVERYTHING = (
    "data.flip_probability=0.5",
    "data.camera_probability=1",
    "data.occlusion_probability=0.5",
    "data.crop_scale=[1.3, 2.2]",
)


def test_everything_drawn_is_the_same_whoever_loads_it_and_finishing_is_done_once(shards: Path) -> None:
    reader = as_static(ShardReader(shards), "h36m")
    whole = list(TrainStream(reader, config_of(*EVERYTHING)).batches(0, 6))
    again = list(TrainStream(reader, config_of(*EVERYTHING, "data.threads=3")).batches(2, 6))
    for a, b in zip(whole[2:], again):
        assert same(finish(a), finish(b)) and torch.equal(a.crop_from_frame, b.crop_from_frame)
    last = [batch for batch in whole if batch.images.shape[1] == 3]
    assert any(bool(batch.camera_moves.any()) for batch in last) and not any(bool(b.moving.any()) for b in whole)
    changed = next(batch for batch in whole if batch.occluded and bool((batch.color != 1).any()))
    done = finish(changed)
    assert not torch.equal(done.images, changed.images) and finish(done) is done
    untouched = [
        i for i in range(len(changed.refs)) if i not in changed.occluded and bool((changed.color[i] == 1).all())
    ]
    assert all(torch.equal(done.images[i], changed.images[i]) for i in untouched)


def test_a_mirrored_view_shows_the_mirror_image_and_its_joints(shards: Path) -> None:
    reader = ShardReader(shards)
    ref = ClipRef(sequence=0, start=1, stride=2, length=3)
    known = reader.annotations(ref)
    settings = DataConfig(flip_probability=1, crop_probability=1, crop_scale=(1.3, 2.2))
    for seed in range(6):
        view = plan(known, np.random.default_rng(seed), settings)
        assert view.flip
        out = torch.empty(3, 64, 64, 3, dtype=torch.uint8)
        clip = read_view(reader, ref, view, out)
        plain, maps = reader.frames(ref, view.stored_windows(), 64)
        np.testing.assert_array_equal(out.numpy(), plain[:, :, ::-1])
        # a joint of the mirrored clip stands where the mirrored crop shows its other side
        seen = known.kp2d[..., 2] > 0
        for t in range(3):
            there = maps[t, :2, :2] @ known.kp2d[0, t, :, :2].T + maps[t, :2, 2:]
            ours = clip.crop_from_frame[t, :2, :2] @ clip.annotations.kp2d[0, t, :, :2].T
            ours = (ours + clip.crop_from_frame[t, :2, 2:])[:, list(FLIP_44)]
            np.testing.assert_allclose(ours[0, seen[0, t]], 63 - there[0, seen[0, t]], atol=1e-3)
            np.testing.assert_allclose(ours[1, seen[0, t]], there[1, seen[0, t]], atol=1e-3)


def test_decoding_on_the_device_shows_the_same(shards: Path) -> None:
    """With a decoder of the CPU in nvJPEG's place: everything around that call."""
    reader = as_static(ShardReader(shards), "h36m")

    def decoder(images: list[bytes]) -> list[torch.Tensor]:
        return [torch.from_numpy(decode(image, "", rgb=True)) for image in images]

    settings = DataConfig(flip_probability=0.5, camera_probability=1)
    for seed in range(8):
        ref = ClipRef(sequence=seed, start=0, stride=1, length=4)
        view = plan(reader.annotations(ref), np.random.default_rng(seed), settings)
        ours, theirs = (torch.empty(4, 64, 64, 3, dtype=torch.uint8) for _ in range(2))
        exact = read_view(reader, ref, view, ours, decoder=decoder)
        moved = read_view(reader, ref, view, theirs)
        np.testing.assert_allclose(exact.crop_from_frame, view.crop_from_frame(64), atol=1e-9)
        # the reader may move a window by half a stored px; its map says so, and the pictures differ by no more
        places = [
            m.crop_from_frame @ (view.annotations.width / 2, view.annotations.height / 2, 1) for m in (exact, moved)
        ]
        assert np.abs(places[0] - places[1]).max() < 1
        error = (ours.int() - theirs.int()).abs().float()
        assert float(error.mean()) < (1 if np.allclose(*places, atol=1e-6) else 12)

    stream, plain = (TrainStream(reader, config_of(*EVERYTHING)) for _ in range(2))
    stream.decoder = decoder
    for ours_whole, theirs_whole in zip(stream.batches(2, 5), plain.batches(2, 5)):
        assert ours_whole.refs == theirs_whole.refs and ours_whole.occluded == theirs_whole.occluded
        assert torch.equal(ours_whole.kp2d, theirs_whole.kp2d) and torch.equal(ours_whole.color, theirs_whole.color)
        assert float((ours_whole.images.float() - theirs_whole.images).abs().mean()) < 12


def test_shares_are_those_among_the_datasets_that_are_there(shards: Path) -> None:
    reader = as_static(ShardReader(shards), "h36m", "penn-action")
    shares = "data.datasets={h36m: {share: 0.22}, penn-action: {share: 0.14}, 3dpw: {share: 0.18}}"
    stream = TrainStream(reader, config_of(shares))
    (note,) = stream.notes
    assert "h36m 61%" in note and "penn-action 39%" in note and "no clips of 3dpw" in note
    sampler = stream.samplers[0]
    names = [reader.index.sequences[sampler.clip(0, i).sequence].dataset for i in range(len(sampler))]
    assert names.count("h36m") / len(names) == pytest.approx(0.22 / 0.36, abs=0.02)
    with pytest.raises(ConfigError, match=r"--set data\.datasets\.penn-action\.share"):
        TrainStream(reader, config_of("data.datasets={h36m: {share: 1}}"))
    with pytest.raises(ConfigError, match="'3dpw' cannot have weight"):
        TrainStream(reader, config_of("data.weights={h36m: 0.5, 3dpw: 0.5}"))
    (note,) = TrainStream(reader, config_of("data.datasets={h36n: {crop_probability: 0}}")).notes
    assert "no clips of h36n" in note


def test_what_is_outside_the_frame_is_not_seen(shards: Path) -> None:
    """A joint in the black part of a crop: neither coordinate alone, nor its confidence, makes it visible."""
    reader = ShardReader(shards)
    batch = collate([load_clip(reader, ClipRef(sequence=0, start=0, stride=1, length=2), 64)])
    tall = replace(batch, frame_size=torch.tensor([[1000, 72]]))  # as if the frame ended at half its height
    known = batch.kp2d[..., 2] > 0.1
    targets = make_targets(tall, input_size=64, map_size=16, levels=8)
    assert torch.equal(targets.joints2d_mask, known & (batch.kp2d[..., 1] <= 71.5))
    assert 0 < int(targets.joints2d_mask.sum()) < int(known.sum())


def test_a_run_goes_on_with_other_processes_and_threads_at_exactly_the_missing_clips(shards: Path) -> None:
    reader = ShardReader(shards)
    stages = "stages=[{clips: 6, frames: 2}]"
    alone = TrainStream(reader, config_of("steps=40", stages))
    epoch = len(alone.samplers[0])
    whole = [drawn for step in range(40) for drawn in alone.positions(step)]
    assert epoch > 60 and len({(e, p) for e, p, _ in whole}) == 240
    for stopped, ranks, threads in ((1, 2, 1), (17, 3, 2), (23, 6, 4)):
        settings = config_of("steps=40", stages, f"data.threads={threads}")
        others = [TrainStream(reader, settings, rank=rank, world_size=ranks) for rank in range(ranks)]
        seen = whole[: 6 * stopped]
        for step in range(stopped, 40):
            parts = [stream.positions(step) for stream in others]
            assert {len(part) for part in parts} == {6 // ranks}
            seen += sorted((drawn for part in parts for drawn in part), key=lambda drawn: drawn[:2])
        assert seen == whole
    # what they see of a clip is the same too
    first = next(alone.batches(5, 6))
    parts = [next(TrainStream(reader, settings, rank=rank, world_size=6).batches(5, 6)) for rank in range(6)]
    for number, part in enumerate(parts):
        assert part.refs == first.refs[number : number + 1]
        assert torch.equal(part.images, first.images[number : number + 1])
    with pytest.raises(ConfigError, match="6 clips a step cannot be dealt evenly to 4 processes"):
        TrainStream(reader, settings, world_size=4)
