"""EXIF's orientation: no decoder turns pixels, labels fit them, and verification counts who asks for more."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
import tiny_dynacam
import tiny_penn_action
from PIL import Image

from trace_data.builder.build import build_shards
from trace_data.frames.image import decode, file_header, image_size, scaled
from trace_data.frames.orientation import UPRIGHT, orientation
from trace_data.verify.datasets import verify_datasets

PICTURE = np.zeros((64, 96, 3), np.uint8)
PICTURE[:32, :48] = (20, 60, 240)  # the quarter at the top left tells how it was turned


def exif(how: int, order: str = "<") -> bytes:
    """A TIFF header with one tag, written here."""
    begin = b"II*\0" if order == "<" else b"MM\0*"
    return begin + struct.pack(f"{order}IHHHIHHI", 8, 1, 0x0112, 3, 1, how, 0, 0)


def tagged(encoded: bytes, how: int, order: str = "<", *, late: bool = False) -> bytes:
    """The image with the tag; `late` behind the pixels of a PNG."""
    tiff = exif(how, order)
    if encoded[:2] == b"\xff\xd8":
        held = b"Exif\0\0" + tiff
        return encoded[:2] + b"\xff\xe1" + struct.pack(">H", len(held) + 2) + held + encoded[2:]
    chunk = struct.pack(">I", len(tiff)) + b"eXIf" + tiff + struct.pack(">I", zlib.crc32(b"eXIf" + tiff))
    at = encoded.rindex(b"IEND") - 4 if late else 33
    return encoded[:at] + chunk + encoded[at:]


def encoded(ending: str) -> bytes:
    return bytes(cv2.imencode(ending, PICTURE)[1])


def tag(files: list[Path], how: int) -> None:
    for file in files:
        file.write_bytes(tagged(file.read_bytes(), how))


@pytest.mark.parametrize("ending", [".jpg", ".png"])
@pytest.mark.parametrize("how", [3, 6])
def test_no_decoder_turns_pixels(ending: str, how: int) -> None:
    data = tagged(encoded(ending), how)
    with Image.open(io.BytesIO(data)) as image:
        assert image.getexif()[0x0112] == how, "the tag is one that others read"
        pillow = np.asarray(image)[..., ::-1]
    assert image_size(data, "it") == (96, 64)
    for pixels in (decode(data, "it"), decode(data, "it", rgb=True)[..., ::-1], pillow):
        assert pixels.shape == PICTURE.shape
        assert np.abs(pixels.astype(int) - PICTURE).mean() < 3
    assert decode(data, "it", reduce=2).shape == (32, 48, 3)
    ((level, size),) = scaled(data, "it", [32])
    assert size == (48, 32) and decode(level, "it")[4, 4, 2] > 200


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_the_tag_is_read_wherever_it_stands(tmp_path: Path, order: str, late: bool) -> None:
    for number, ending in enumerate((".jpg", ".png")):
        file = tmp_path / f"{number}{ending}"
        file.write_bytes(tagged(encoded(ending), 6, order, late=late))
        assert file_header(file) == ((96, 64), 6)
        file.write_bytes(encoded(ending))
        assert file_header(file) == ((96, 64), UPRIGHT)


def test_what_is_no_exif_is_upright() -> None:
    for ending in (".jpg", ".png"):
        whole = tagged(encoded(ending), 3)
        for length in range(120):
            assert orientation(io.BytesIO(whole[:length])) in (UPRIGHT, 3)
    for bad in (exif(0), exif(77), exif(3)[:9], b"II*\0" + b"\xff" * 20, b"no TIFF"):
        held = b"Exif\0\0" + bad
        data = b"\xff\xd8\xff\xe1" + struct.pack(">H", len(held) + 2) + held + b"\xff\xda"
        assert orientation(io.BytesIO(data)) == UPRIGHT


def test_verification_counts_them_and_the_build_keeps_pixels_and_labels(tmp_path: Path) -> None:
    """A PNG with orientation 3 had its pixels turned and not its labels; one with 6 ended the whole build."""
    folder = tiny_dynacam.write(tmp_path / "data")
    files = tiny_dynacam.images(folder, tiny_dynacam.TRANSLATION)
    assert {file.suffix for file in files} == {".png"}
    build_shards(["dynacam"], tmp_path / "data", tmp_path / "before", splits=("train",))
    tag(files[:2], 3)
    tag(files[2:3], 6)
    state = tmp_path / "state"
    for _ in range(2):  # what was remembered is counted again
        report = verify_datasets(["dynacam"], tmp_path / "data", depth="content", state=state)
        (said,) = (p for p in report.datasets[0].problems if "EXIF" in p.what)
        assert report.ok and said.severity == "warning" and said.what.startswith(f"3 of {len(files)} images")
    assert build_shards(["dynacam"], tmp_path / "data", tmp_path / "after", splits=("train",)).bad == ()
    for file in (tmp_path / "before").glob("*.h5"):
        with h5py.File(file) as one, h5py.File(tmp_path / "after" / file.name) as other:
            assert (one["frames/bytes"][:] == other["frames/bytes"][:]).all()


def test_a_jpeg_s_is_said_too(tmp_path: Path) -> None:
    folder = tiny_penn_action.write(tmp_path)
    tag([folder / "frames/0003/000002.jpg"], 6)
    problems = verify_datasets(["penn-action"], tmp_path, depth="content", decode=True).datasets[0].problems
    assert [p.what.split(" images")[0] for p in problems if "EXIF" in p.what] == ["1 of 4"]
