"""Stored flow in the windows of a clip: exact where the flow is known, and near its provider on the crops."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch
from tiny_runs import tiny
from torch import Tensor

from trace_data.errors import NoStoredFlowError, ShardError
from trace_data.schema.clip import ClipRef, Window
from trace_data.shards.flow.codec import decode_flow, encode_flow
from trace_data.shards.reader import ShardReader
from trace_train.network.flow import DisFlow, _searched, to_map
from trace_train.precompute.flow import add_flow, picture_size
from trace_train.precompute.providers import open_provider
from trace_train.streaming.augment import ViewPlan
from trace_train.streaming.mirror import mirrored
from trace_train.streaming.stored_flow import flow_in_crops, with_flow_provider
from trace_train.streaming.stream import TrainStream, load_clip
from trace_train.streaming.views import mirror_map, read_view

WIDTH, HEIGHT, SIZE = 640, 360, 128
Flow = Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def with_flow(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`shards` with flow by DIS. Read only."""
    folder = Path(shutil.copytree(shards, tmp_path_factory.mktemp("flow") / "shards"))
    add_flow(folder, open_provider("dis", height=256))
    return folder


def affine(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """A zoom and a pan, which linear interpolation keeps: (..., 2) px to (..., 2) px."""
    return x * (0.03, -0.05) + (4.0, 7.0)


def on_grid(flow: Flow, cells: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Stored flow: at the centres of the cells over the whole frame."""
    w, h = cells
    x = (np.arange(w) + 0.5) * WIDTH / w - 0.5
    y = (np.arange(h) + 0.5) * HEIGHT / h - 0.5
    return flow(np.stack(np.meshgrid(x, y), axis=-1)).astype(np.float32)


WINDOWS = {
    "the whole frame": (Window(left=0, top=-140, side=640), Window(left=0, top=-140, side=640)),
    "a still crop": (Window(left=201.5, top=60, side=177), Window(left=201.5, top=60, side=177)),
    "a pan": (Window(left=201.5, top=60, side=177), Window(left=220.25, top=51, side=177)),
    "a zoom": (Window(left=201.5, top=60, side=177), Window(left=180, top=40, side=220)),
}


@pytest.mark.parametrize("flip", [False, True], ids=["as it is", "mirrored"])
@pytest.mark.parametrize("windows", WINDOWS.values(), ids=WINDOWS)
def test_points_move_in_the_crop_as_they_do_in_the_frame(windows: tuple[Window, Window], flip: bool) -> None:
    maps = np.stack([window.crop_from_frame(SIZE) for window in windows])
    if flip:
        maps = mirror_map(SIZE) @ maps
    found = 8 * flow_in_crops([None, on_grid(affine, (80, 45))], maps, (WIDTH, HEIGHT), SIZE).numpy()
    assert found.shape == (2, 2, SIZE // 4, SIZE // 4) and not found[0].any()
    at = np.linspace(0, SIZE - 1, SIZE // 4)  # what `to_map` samples
    crop = np.stack([*np.meshgrid(at, at), np.ones((SIZE // 4,) * 2)], axis=-1)
    frame = (crop @ np.linalg.inv(maps[0]).T)[..., :2]
    inside = ((frame >= 4) & (frame <= (WIDTH - 5, HEIGHT - 5))).all(axis=-1)
    moved = np.concatenate([frame + affine(frame), np.ones((*frame.shape[:2], 1))], axis=-1) @ maps[1].T
    expected = (moved - crop)[..., :2].transpose(2, 0, 1)
    assert inside.mean() > 0.5
    assert np.abs(found[1] - expected)[:, inside].max() < 1e-3
    assert np.abs(expected[:, inside]).max() > 1


def test_a_map_is_sampled_as_the_providers_sample_theirs() -> None:
    """The window is the frame: then nothing but `to_map` is left."""
    rng = np.random.default_rng(0)
    flow = rng.normal(size=(SIZE, SIZE, 2)).astype(np.float32)
    found = flow_in_crops([flow], np.eye(3)[None], (SIZE, SIZE), SIZE, continues=True)
    expected = to_map(torch.from_numpy(flow).permute(2, 0, 1)[None])
    assert torch.allclose(found, expected, atol=1e-5)


def test_beyond_the_frame_its_edge_continues() -> None:
    maps = np.stack([Window(left=-300, top=0, side=360).crop_from_frame(SIZE)] * 2)
    found = flow_in_crops([None, on_grid(affine, (80, 45))], maps, (WIDTH, HEIGHT), SIZE)[1]
    outside = found[:, :, :24]  # of 300 / 360 px
    assert torch.allclose(outside, outside[:, :, :1].expand_as(outside), atol=1e-4)


def test_a_later_chunk_begins_with_its_own_pair() -> None:
    maps = np.stack([Window(left=10, top=20, side=200).crop_from_frame(SIZE)] * 3)
    pairs = [on_grid(lambda x, n=n: affine(x) * n, (40, 20)) for n in range(3)]
    whole = flow_in_crops([None, *pairs[1:]], maps, (WIDTH, HEIGHT), SIZE)
    later = flow_in_crops(pairs[2:], maps[2:], (WIDTH, HEIGHT), SIZE, continues=True)
    assert torch.equal(later[0], whole[2])


def error(found: Tensor, expected: Tensor) -> Tensor:
    """End-point errors of crops of 512 px, px."""
    return (8 * (found - expected)).norm(dim=-3).flatten()


def scene(frames: int) -> list[npt.NDArray[np.uint8]]:
    """A textured room seen by a camera that pans and zooms, and a textured figure that walks through it."""
    rng = np.random.default_rng(3)
    size = (WIDTH + 200, HEIGHT + 200)
    room = sum(
        cv2.resize(rng.uniform(-1, 1, (size[1] // cell, size[0] // cell, 3)).astype(np.float32), size) * weight
        for cell, weight in ((120, 60), (30, 25), (6, 15))
    )
    room = np.clip(125 + np.asarray(room), 0, 255).astype(np.uint8)
    cloth = cv2.resize(rng.integers(0, 255, (30, 15, 3), dtype=np.uint8), (60, 120), interpolation=cv2.INTER_CUBIC)
    pictures = []
    for t in range(frames):
        picture = room.copy()
        picture[240:360, 330 + 4 * t : 390 + 4 * t] = cloth
        view = np.array([[1 - 0.003 * t, 0, -100 - 2.3 * t], [0, 1 - 0.003 * t, -100 - 0.9 * t]])
        pictures.append(cv2.warpAffine(picture, view, (WIDTH, HEIGHT)))
    return pictures


def true_flow(stride: int, maps: npt.NDArray[np.float64], size: int) -> npt.NDArray[np.float64]:
    """Flow of the scene's first pair in the crops, px (2, M, M)."""
    at = np.linspace(0, size - 1, size // 4)
    x, y = np.meshgrid((at - maps[0, 0, 2]) / maps[0, 0, 0] + 100, (at - maps[0, 1, 2]) / maps[0, 1, 1] + 100)
    walks = (x >= 330) & (x < 390) & (y >= 240) & (y < 360)
    zoom = 1 - 0.003 * stride
    moved = zoom * (x + 4 * stride * walks) - 100 - 2.3 * stride, zoom * y - 100 - 0.9 * stride
    return np.stack(
        [moved[0] * maps[1, 0, 0] + maps[1, 0, 2] - at, moved[1] * maps[1, 1, 1] + maps[1, 1, 2] - at[:, None]]
    )


@pytest.mark.parametrize("stride", [1, 4])
@pytest.mark.parametrize("windows", WINDOWS.values(), ids=WINDOWS)
def test_it_is_near_the_provider_on_the_crops_and_nearer_to_the_truth(
    windows: tuple[Window, Window], stride: int
) -> None:
    """The gate: under 1 px at 512 in the median (docs/stored-flow.md#how-near-it-is)."""
    before, *_, after = scene(stride + 1)
    size, short = 512, picture_size(WIDTH, HEIGHT, 512)
    enlarged = np.stack([cv2.resize(picture, short, interpolation=cv2.INTER_CUBIC) for picture in (before, after)])
    cells = (short[0] // 8, short[1] // 8)
    flow = cv2.resize(_searched(enlarged, False)[0], cells, interpolation=cv2.INTER_AREA)
    pair = decode_flow(encode_flow(flow), *cells) * np.array([WIDTH / short[0], HEIGHT / short[1]], np.float32)
    maps = np.stack([window.crop_from_frame(size) for window in windows])
    crops = np.stack([cv2.warpAffine(p, m[:2], (size, size)) for p, m in zip((before, after), maps)])
    at = np.linspace(0, size - 1, size // 4)
    rows = (at - maps[0, 1, 2]) / maps[0, 1, 1]
    inside = torch.from_numpy((rows >= 0) & (rows <= HEIGHT - 1))
    of_crops = DisFlow()(torch.from_numpy(crops)[None])[1][:, inside]
    found = flow_in_crops([None, pair], maps, (WIDTH, HEIGHT), size)[1][:, inside]
    truth = torch.from_numpy(true_flow(stride, maps, size) / 8)[:, inside]
    assert error(found, of_crops).median() < 1
    assert error(found, truth).median() < min(0.2, error(of_crops, truth).median())
    assert error(torch.zeros_like(found), of_crops).median() > 2, "it does not just stand still"


@pytest.mark.parametrize("flip", [False, True], ids=["as it is", "mirrored"])
def test_clips_come_with_their_flow(with_flow: Path, flip: bool) -> None:
    reader = ShardReader(with_flow)
    ref = ClipRef(sequence=3, start=1, stride=2, length=3)
    annotations = reader.annotations(ref)
    window = Window(left=2, top=1, side=142)
    windows = tuple(replace(window, left=2 + 4.0 * t) for t in range(3))
    shown = mirrored(annotations) if flip else annotations
    view = ViewPlan(annotations=shown, flip=flip, windows=windows)
    stream = TrainStream(reader, with_flow_provider(tiny("network.flow=stored"), reader))
    clip = read_view(reader, ref, view, torch.empty(3, 512, 512, 3, dtype=torch.uint8), flow=stream.flow)
    assert clip.flow is not None
    errors = error(clip.flow[1:], DisFlow()(clip.frames[None]).unflatten(0, (1, 3))[0, 1:])
    still = error(torch.zeros(2, 2, 128, 128), clip.flow[1:])
    assert errors.median() < 1 < still.median()


def test_batches_of_the_stream_carry_flow_through_micro_batches_and_devices(with_flow: Path) -> None:
    reader = ShardReader(with_flow)
    config = with_flow_provider(tiny("network.flow=stored"), reader)
    assert config.network.flow_provider == "dis" == config.network.computed_flow
    single, *_, pair = TrainStream(reader, config).batches(0, 7)
    assert single.flow is None and pair.flow is not None
    assert pair.flow.shape == (2, 2, 2, 16, 16) and pair.flow.dtype == torch.float32
    assert not pair.flow[:, 0].any() and pair.flow[:, 1].any()
    for half, row in zip(pair.split(2), (0, 1)):
        assert half.flow is not None and torch.equal(half.flow[0], pair.flow[row])
    moved = pair.to("meta")
    assert moved.flow is not None and moved.flow.device.type == "meta"
    assert single.split(2)[0].flow is None and single.to("cpu").flow is None


def test_whole_videos_chunk_by_chunk_have_the_flow_of_the_whole(with_flow: Path) -> None:
    reader = ShardReader(with_flow)
    stream = TrainStream(reader, with_flow_provider(tiny("network.flow=stored"), reader))
    whole = load_clip(reader, ClipRef(sequence=0, start=0, stride=1, length=6), 64, flow=stream.flow).flow
    ref = ClipRef(sequence=0, start=4, stride=1, length=2)
    later = load_clip(reader, ref, 64, flow=stream.flow, continues=True).flow
    alone = load_clip(
        reader, ClipRef(sequence=0, start=4, stride=1, length=1), 64, flow=stream.flow, continues=True
    ).flow
    assert whole is not None and later is not None and alone is not None
    assert torch.equal(later, whole[4:]) and torch.equal(alone, whole[4:5])
    fresh = load_clip(reader, ref, 64, flow=stream.flow).flow
    assert fresh is not None and not fresh[0].any() and torch.equal(fresh[1], whole[5])


def test_missing_flow_and_strides_are_named_before_a_run(shards: Path, with_flow: Path, tmp_path: Path) -> None:
    with pytest.raises(NoStoredFlowError) as caught:
        with_flow_provider(tiny("network.flow=stored"), ShardReader(shards))
    assert "trace add-flow" in str(caught.value.hint)
    reader = ShardReader(with_flow)
    with pytest.raises(ShardError, match="not for 5"):
        with_flow_provider(tiny("network.flow=stored", "data.strides=[1,5]"), reader)
    single = tiny("network.flow=stored", "data.strides=[1,5]", "stages=[{clips: 2, frames: 1}]")
    assert with_flow_provider(single, reader).network.flow_provider == "dis"
    assert with_flow_provider(tiny(), reader) == tiny()
