"""Frames in several sizes: each clip is read from the smallest that shows what its windows show."""

from __future__ import annotations

from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
import tiny_3dpw
from PIL import Image

from trace_data.builder.build import build_shards
from trace_data.frames import image as frames
from trace_data.schema.clip import ClipRef, Window
from trace_data.shards.index import load_index
from trace_data.shards.levels import NETWORK_SIDE, WINDOW_SCALE, Storage, enlargement, level_for
from trace_data.shards.reader import ShardReader

SIZE = (440, 330)
CORNERS = np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 1.0, 0.0]])
CLIP = ClipRef(sequence=0, start=1, stride=2, length=3)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One sequence of smooth pictures in whose JPEGs little is lost."""
    folder = tmp_path_factory.mktemp("datasets")
    images = tiny_3dpw.write(folder, {"train": 1}, frames=6, size=SIZE, people=1) / "imageFiles" / "train_walk_00"
    rng = np.random.default_rng(0)
    for file in images.iterdir():
        coarse = rng.uniform(30, 220, (5, 6, 3)).astype(np.float32)
        picture = cv2.resize(coarse, SIZE, interpolation=cv2.INTER_CUBIC).clip(0, 255).astype(np.uint8)
        cv2.imwrite(str(file), picture, [cv2.IMWRITE_JPEG_QUALITY, 98])
    return folder


def build(root: Path, out: Path, storage: Storage) -> ShardReader:
    build_shards(["3dpw"], root, out, splits=["train"], storage=storage)
    return ShardReader(out)


def test_a_pyramid_shows_what_one_level_shows_and_reads_less(root: Path, tmp_path: Path) -> None:
    levels = build(root, tmp_path / "levels", Storage(heights=(60, 120, 240), raised=False))
    single = build(root, tmp_path / "single", Storage(heights=(), raised=False))
    with h5py.File(tmp_path / "levels" / load_index(tmp_path / "levels").shards[0].file) as content:
        assert content["frames/size"][:].tolist() == [[[80, 60]] * 6, [[160, 120]] * 6, [[320, 240]] * 6]
        edges = content["frames/offset"][:]
        assert edges[0, 0] == 0 and edges[-1, -1] == len(content["frames/bytes"])
        assert (edges[1:, 0] == edges[:-1, -1]).all() and (np.diff(edges, axis=1) > 0).all()
    images = root / "3DPW" / "imageFiles" / "train_walk_00"
    pictures = [cv2.imread(str(images / f"image_{i:05d}.jpg"))[..., ::-1] for i in (1, 3, 5)]
    for left, top, side in ((-20.5, -75.0, 481.0), (30.2, 10.7, 300.3), (100.4, 60.6, 200.2), (150.0, 90.0, 90.0)):
        windows = [Window(left=left + t, top=top, side=side) for t in range(3)]
        for reader in (levels, single):
            frames, maps = reader.frames(CLIP, windows, 64)
            for frame, window, crop_from_frame, picture in zip(frames, windows, maps, pictures):
                corners = np.array([[window.left - 0.5, window.top - 0.5, 1.0]]) + window.side * CORNERS
                # moved and resized by at most half a stored px each, which is at most a crop px
                assert np.abs(corners @ (crop_from_frame - window.crop_from_frame(64)).T).max() <= 1
                expected = cv2.warpAffine(picture, crop_from_frame[:2], (64, 64), flags=cv2.INTER_LINEAR)
                inside = cv2.erode((expected.min(axis=-1) > 12).astype(np.uint8), np.ones((3, 3))) > 0
                assert inside.mean() > 0.4 and np.abs(frame.astype(int) - expected)[inside].mean() < 2


def test_original_bytes_are_kept_png_too(tmp_path: Path) -> None:
    folder = tiny_3dpw.write(tmp_path, {"train": 1}, frames=6, size=(96, 64), people=1)
    images = folder / "imageFiles" / "train_walk_00"
    picture = np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8)
    (images / "image_00003.jpg").write_bytes(cv2.imencode(".png", picture)[1].tobytes())
    reader = build(tmp_path, tmp_path / "out", Storage(heights=(), raised=False))
    assert reader.encoded(CLIP) == [(images / f"image_{i:05d}.jpg").read_bytes() for i in (1, 3, 5)]
    frames, maps = reader.frames(CLIP, [Window(left=8, top=4, side=32)] * 3, 32)
    np.testing.assert_array_equal(frames[1], picture[4:36, 8:40, ::-1])
    np.testing.assert_allclose(maps[1] @ (8, 4, 1), (0, 0, 1), atol=1e-12)


def test_levels_never_enlarge_and_rise_where_people_are_small() -> None:
    nobody = np.zeros((0, 4))
    plain = Storage(heights=(288, 512, 720), raised=False)
    assert plain.sides(1920, 1080, nobody) == (288, 512, 720)
    assert plain.sides(640, 480, nobody) == (288, 480, None)
    assert plain.sides(320, 240, nobody) == (240, None, None)
    box = np.array([[100.0, 100.0, 200.0, 500.0]] * 20)  # 400 px tall of 1080
    needed = NETWORK_SIDE / (WINDOW_SCALE * 400) * 1080
    assert needed > 720 and Storage().sides(1920, 1080, box) == (int(np.ceil(needed)),)
    assert Storage().sides(1920, 1080, 2 * box) == (720,)
    assert Storage().sides(1920, 1080, box / 4) == (1080,), "the original is the most there is"
    one_small = np.concatenate([2 * box, 2 * box, box[:1] / 4])  # under five in a hundred
    assert Storage().sides(1920, 1080, one_small) == (720,)
    counts = enlargement(np.concatenate([2 * box, box / 4]), 720 / 1080)
    assert counts.tolist() == [20, 0, 0, 0, 20]


def test_the_smallest_level_with_the_detail_is_chosen() -> None:
    scales = [0.2, 0.5, 1.0]
    assert [level_for(scales, side, 100) for side in (500, 499, 200, 199, 50)] == [0, 1, 1, 2, 2]
    assert level_for([0.5, 0.0, 0.0], 50, 100) == 0, "empty levels are no choice"


def photograph_like(width: int, height: int) -> np.ndarray:
    """(H, W, 3) uint8 grey: every octave of detail has the same contrast."""
    rng = np.random.default_rng(0)
    picture = np.full((height, width), 128.0)
    for octave in range(1, 10):
        noise = rng.normal(0, 14, (max(2, height >> (9 - octave)), max(2, width >> (9 - octave))))
        picture += cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.repeat(picture.clip(0, 255).astype(np.uint8)[..., None], 3, 2)


def test_scaled_frames_are_near_the_ideal_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against Pillow's anti-aliased Lanczos filter; the levels are halved twice, once, and not at all."""
    monkeypatch.setattr(frames, "JPEG_QUALITY", 100)
    picture = photograph_like(1280, 720)
    data = cv2.imencode(".png", picture)[1].tobytes()
    sides = (110, 288, 400, 520, 719)
    for side, (level, size) in zip(sides, frames.scaled(data, Path("picture"), sides)):
        assert size == (round(1280 * side / 720), side)
        ideal = np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS), float)
        aliased = cv2.resize(picture, size, interpolation=cv2.INTER_NEAREST)
        ours, worse = (
            10 * np.log10(255**2 / np.mean((image - ideal) ** 2)) for image in (frames.decode(level, "level"), aliased)
        )
        assert ours > 34 and ours > worse + 6, f"{side} px: {ours:.1f} dB, nearest neighbour {worse:.1f} dB"
