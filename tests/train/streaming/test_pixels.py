"""Pixel work of the device, on the CPU: colours, occluders, and crops that agree with the reader's own."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch

from trace_data.errors import AnnotationError, ConfigError
from trace_data.frames.image import decode
from trace_data.schema.clip import Window
from trace_data.shards.view import view
from trace_train.streaming import gpu_decoder
from trace_train.streaming.gpu_decoder import choose_decoder, decode_on_device
from trace_train.streaming.occluders import SIDE, Occluder, draw_occluder, load_cutouts, picture_of, shape
from trace_train.streaming.pixels import crop_pictures, occluded, recolored

CPU = torch.device("cpu")


def clips(count: int, size: int = 12) -> torch.Tensor:
    values = np.random.default_rng(0).integers(60, 190, (count, 3, size, size, 3), dtype=np.uint8)
    return torch.from_numpy(values)


def by_steps(frames: npt.NDArray[np.uint8], color: tuple[float, float, float]) -> npt.NDArray[np.float64]:
    """The three changes one after the other."""
    x = frames.astype(np.float64) * color[0]
    x = (x - x.mean()) * color[1] + x.mean()
    gray = x @ (0.299, 0.587, 0.114)
    x = (x - gray[..., None]) * color[2] + gray[..., None]
    return np.clip(np.rint(x), 0, 255)


def test_colours_change_as_stated_clip_by_clip() -> None:
    images = clips(4)
    colors = [(1.0, 1.0, 1.0), (1.1, 0.9, 1.05), (1.0, 1.0, 0.0), (1.5, 1.0, 1.0)]
    before = images.clone()
    found = recolored(images, torch.tensor(colors))
    assert torch.equal(images, before) and found.dtype == torch.uint8
    assert torch.equal(found[0], images[0])
    for row, color in enumerate(colors):
        error = np.abs(found[row].numpy() - by_steps(images[row].numpy(), color))
        assert error.max() <= 1 and error.mean() < 0.01
    gray = found[2].int()
    assert int((gray - gray[..., :1]).abs().max()) <= 1
    assert int(found[3].max()) == 255, "clipped, not wrapped"


def test_nothing_to_do_is_the_same_tensor() -> None:
    images = clips(2)
    assert recolored(images, torch.ones(2, 3)) is images
    assert occluded(images, (), torch.empty(0, 1, 1, 4), torch.empty(0, 1, 2, 3)) is images


def test_an_object_is_drawn_where_it_stands_and_only_there() -> None:
    size = 64
    images = torch.full((3, 2, size, size, 3), 100, dtype=torch.uint8)
    picture = np.zeros((SIDE, SIDE, 4), np.uint8)
    picture[:, : SIDE // 2] = (250, 10, 10, 255)
    picture[:, SIDE // 2 :] = (10, 10, 250, 255)
    window = Window(left=20.0, top=30.0, side=128.0)  # half a crop px per frame px
    thing = Occluder(seed=0, centers=np.array([[84.0, 94.0], [52.0, 94.0]]), half=16.0)
    place = thing.place(np.tile(window.crop_from_frame(size), (2, 1, 1)))
    found = occluded(images, (1,), torch.from_numpy(picture[None]), torch.from_numpy(place[None]).float())
    assert torch.equal(found[0], images[0]) and torch.equal(found[2], images[2])
    expected = np.full((2, size, size, 3), 100, np.uint8)
    expected[0, 24:40, 24:32], expected[0, 24:40, 32:40] = (250, 10, 10), (10, 10, 250)
    expected[1, 24:40, 8:16], expected[1, 24:40, 16:24] = (250, 10, 10), (10, 10, 250)
    np.testing.assert_array_equal(found[1].numpy(), expected)


def test_transparent_pixels_do_not_tint_the_edge() -> None:
    picture = np.zeros((8, 8, 4), np.uint8)
    picture[..., 1] = 255  # green wherever it is transparent
    picture[2:6, 2:6] = (200, 0, 0, 255)
    place = torch.tensor([[[2 / 40, 0, 1 / 40 - 1], [0, 2 / 40, 1 / 40 - 1]]])[None]
    found = occluded(torch.zeros(1, 1, 40, 40, 3, dtype=torch.uint8), (0,), torch.from_numpy(picture[None]), place)
    assert int(found[..., 1].max()) == 0 and int(found[..., 0].max()) == 200


def test_drawn_shapes_are_soft_edged_textured_and_differ() -> None:
    shapes = np.stack([shape(seed) for seed in range(40)])
    alpha = shapes[..., 3].astype(float) / 255
    assert (alpha.mean(axis=(1, 2)) > 0.15).all() and (alpha.mean(axis=(1, 2)) < 0.9).all()
    assert not alpha[:, [0, 0, -1, -1], [0, -1, 0, -1]].any(), "corners are clear"
    assert alpha.max(axis=(1, 2)).min() == 1 and ((alpha > 0) & (alpha < 1)).any((1, 2)).all()
    assert (shapes[..., :3].std(axis=(1, 2)).max(-1) > 5).mean() > 0.9
    np.testing.assert_array_equal(shape(7), shapes[7])


def test_own_cutouts_are_taken_with_their_aspect_and_without_alpha_refused(tmp_path: Path) -> None:
    tall = np.full((200, 50, 4), (255, 0, 0, 255), np.uint8)  # blue in OpenCV's order
    cv2.imwrite(str(tmp_path / "tall.png"), tall)
    cv2.imwrite(str(tmp_path / "opaque.png"), tall[..., :3])
    (tmp_path / "broken.png").write_bytes(b"\x89PNG")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "endless.png").symlink_to("/dev/zero")
    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 6, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(1 << 20))), (b"IEND", b""))
    bomb = (struct.pack(">I", len(c)) + kind + c + struct.pack(">I", zlib.crc32(kind + c)) for kind, c in chunks)
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(bomb))
    cutouts = load_cutouts(tmp_path)
    assert cutouts.shape == (1, SIDE, SIDE, 4)
    assert cutouts[0, 64, 64].tolist() == [0, 0, 255, 255]
    assert (cutouts[0, ..., 3] > 0).sum() == SIDE * SIDE // 4
    thing = draw_occluder(Window(left=0, top=0, side=100), 3, np.random.default_rng(0))
    np.testing.assert_array_equal(picture_of(thing, cutouts), cutouts[0])
    with pytest.raises(ConfigError, match="no picture with an alpha channel among 0 files"):
        load_cutouts(tmp_path / "nowhere")


@pytest.fixture(scope="module")
def photo() -> bytes:
    """A JPEG with soft structure at every scale, 602 x 401 px: no side divides by 8."""
    rng = np.random.default_rng(1)
    picture = np.zeros((401, 602, 3), np.float32)
    for cells, strength in ((4, 60), (12, 40), (40, 20)):
        coarse = rng.normal(0, strength, (cells, cells, 3)).astype(np.float32)
        picture += cv2.resize(coarse, (602, 401), interpolation=cv2.INTER_CUBIC)
    encoded = cv2.imencode(".jpg", np.clip(picture + 128, 0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 95])[1]
    return encoded.tobytes()


WINDOWS = (
    Window(left=0.0, top=-100.5, side=602.0),
    Window(left=100.25, top=60.75, side=300.5),
    Window(left=200.2, top=100.7, side=128.0),
    Window(left=250.3, top=150.9, side=40.3),
    Window(left=-80.4, top=-60.2, side=220.7),
    Window(left=480.1, top=300.6, side=260.9),
    Window(left=-700.0, top=-700.0, side=2000.0),
    Window(left=-1500.0, top=-1500.0, side=4000.0),
    Window(left=700.0, top=500.0, side=90.0),
)


@pytest.mark.parametrize("size", [64, 96, 160])
@pytest.mark.parametrize("scale", [1.0, 0.6])
def test_crops_on_the_device_agree_with_the_readers(photo: bytes, size: int, scale: float) -> None:
    """Windows of every size, inside, across the border and outside; `scale`: stored px per px of the frame."""
    windows = [Window(left=w.left / scale, top=w.top / scale, side=w.side / scale) for w in WINDOWS]
    expected = np.empty((len(windows), size, size, 3), np.uint8)
    maps = np.stack([view(photo, np.array([scale, scale]), w, out) for w, out in zip(windows, expected)])
    frame_from_picture = np.diag([1 / scale, 1 / scale, 1.0])
    frame_from_picture[:2, 2] = 0.5 / scale - 0.5
    whole = torch.from_numpy(decode(photo, "photo", rgb=True))
    found = crop_pictures([whole] * len(windows), maps @ frame_from_picture, size).numpy()
    for window, ours, theirs in zip(windows, found, expected):
        error = np.abs(ours.astype(int) - theirs)
        assert error.mean() < 0.6 and error.max() <= 5, (window, error.mean(), error.max())
    assert not found[-1].any() and found[0].any()


def test_crops_of_mirrored_views_are_mirrored(photo: bytes) -> None:
    whole = torch.from_numpy(decode(photo, "photo", rgb=True))
    maps = np.stack([w.crop_from_frame(64) for w in WINDOWS])
    plain = crop_pictures([whole] * len(maps), maps, 64)
    mirror = np.array([[-1.0, 0, 63], [0, 1, 0], [0, 0, 1]])
    assert (crop_pictures([whole] * len(maps), mirror @ maps, 64).int() - plain.flip(2).int()).abs().max() <= 1


def test_what_the_decoder_refuses_is_decoded_on_the_cpu(photo: bytes) -> None:
    """A decoder that gives nothing when it refuses one image, as nvJPEG does; it stands in, for there is no GPU."""
    png = cv2.imencode(".png", np.full((5, 7, 3), (3, 2, 1), np.uint8))[1].tobytes()
    asked: list[int] = []

    def picky(images: list[bytes]) -> list[torch.Tensor]:
        asked.append(len(images))
        if any(image[:2] != b"\xff\xd8" for image in images):
            raise RuntimeError("not a JPEG")
        return [torch.from_numpy(decode(image, "", rgb=True)) for image in images]

    pictures = decode_on_device([photo, png, photo], CPU, picky)
    assert asked == [3, 1, 1, 1]
    assert torch.equal(pictures[0], pictures[2]) and pictures[0].shape == (401, 602, 3)
    assert pictures[1].unique(dim=0).squeeze().unique(dim=0).tolist() == [[1, 2, 3]]
    asked.clear()
    decode_on_device([photo, photo], CPU, picky)
    assert asked == [2]
    with pytest.raises(AnnotationError, match="neither a JPEG nor a PNG"):
        decode_on_device([b"nothing"], CPU, picky)

    def full(images: list[bytes]) -> list[torch.Tensor]:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        decode_on_device([photo], CPU, full)


def test_decoding_on_a_gpu_is_asked_for_or_found_out() -> None:
    assert choose_decoder("auto", CPU) is None and choose_decoder("cpu", CPU) is None
    with pytest.raises(ConfigError, match=r"data.decode=cpu"):
        choose_decoder("gpu", CPU)
    if not torch.cuda.is_available():  # the probe itself never raises
        assert choose_decoder("auto", torch.device("cuda")) is None


def test_auto_is_the_cpu_until_the_gpu_decoder_was_run(monkeypatch: pytest.MonkeyPatch) -> None:
    found = object()
    monkeypatch.setattr(gpu_decoder, "nvjpeg_decoder", lambda device: found)
    gpu = torch.device("cuda")
    assert choose_decoder("auto", gpu) is None and choose_decoder("cpu", gpu) is None
    assert choose_decoder("gpu", gpu) is found
