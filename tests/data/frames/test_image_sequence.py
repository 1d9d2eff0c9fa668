"""Images for prediction: the same upright pixels whatever the format, in natural order, and gaps for what is broken."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from trace_data.errors import FootageError
from trace_data.frames.footage import open_footage
from trace_data.frames.image_sequence import natural
from trace_data.frames.orientation import upright

SMOOTH = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8), (0, 0), 5)
STORED_AS = {1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 8, 7: 7, 8: 6}
"""The turn that undoes each of EXIF's orientations."""


def save(file: Path, pixels: np.ndarray = SMOOTH, *, how: int = 1, focal: int | None = None) -> Path:
    exif = Image.Exif()
    exif[0x0112] = how
    if focal:
        exif.get_ifd(0x8769)[0xA405] = focal
    best = {".jpg": {"quality": 97, "subsampling": 0}, ".webp": {"lossless": True}}.get(file.suffix.lower(), {})
    Image.fromarray(pixels).save(file, exif=exif.tobytes(), **best)
    return file


@pytest.mark.parametrize("ending", [".jpg", ".png", ".webp"])
@pytest.mark.parametrize("how", range(1, 9))
def test_exif_turns_every_format_alike(tmp_path: Path, how: int, ending: str) -> None:
    file = save(tmp_path / f"a{ending}", upright(SMOOTH, STORED_AS[how]), how=how, focal=26)
    footage = open_footage([tmp_path])
    (frame,) = footage.frames()
    assert frame.pixels is not None and frame.pixels.shape == SMOOTH.shape
    assert np.abs(frame.pixels.astype(int) - SMOOTH).max() <= (6 if ending == ".jpg" else 0)
    assert footage.facts.size == (60, 40) and footage.facts.rotation == 0
    assert footage.facts.lens is not None
    assert (footage.facts.lens.focal_35mm, footage.facts.lens.source) == (26, "EXIF")
    with Image.open(file) as image:
        assert image.getexif()[0x0112] == how, "the tag is one that others read"


def test_every_kind_of_picture_is_rgb(tmp_path: Path) -> None:
    grey = SMOOTH[..., 0]
    save(tmp_path / "1.PNG")
    save(tmp_path / "2.Webp")
    cv2.imwrite(str(tmp_path / "3.bmp"), SMOOTH[..., ::-1])
    save(tmp_path / "4.png", np.dstack([SMOOTH, grey]))  # transparent
    save(tmp_path / "5.JPEG")
    save(tmp_path / "6.jpg", grey)
    save(tmp_path / "7.png", grey)
    save(tmp_path / "8.bmp", grey)
    cv2.imwrite(str(tmp_path / "9.png"), grey.astype(np.uint16) * 257)
    (tmp_path / "10.jpg").write_bytes((tmp_path / "1.PNG").read_bytes())  # by its content, not its name
    frames = list(open_footage([tmp_path]).frames())
    assert len(frames) == 10
    for number, frame in enumerate(frames, 1):
        expected = np.repeat(grey[..., None], 3, 2) if 6 <= number <= 9 else SMOOTH
        assert frame.pixels is not None and frame.pixels.shape == (40, 60, 3), frame.gap
        assert np.abs(frame.pixels.astype(int) - expected).mean() < 2, number


def test_frames_come_in_natural_order(tmp_path: Path) -> None:
    names = ["shot2_1.png", "shot2_9.png", "Shot2_10.png", "shot10_1.png", "Ünder.png", "雨.png"]
    for number, name in enumerate(names):
        save(tmp_path / name, np.full((8, 8, 3), 20 * number, np.uint8))
    for name in ("._shot2_1.png", ".hidden.png", "notes.txt", "Thumbs.db"):
        (tmp_path / name).write_bytes(b"none")
    footage = open_footage([tmp_path], frame_rate=10)
    frames = list(footage.frames())
    assert [int(frame.pixels[0, 0, 0]) // 20 for frame in frames if frame.pixels is not None] == list(range(6))
    assert [frame.time for frame in frames] == pytest.approx(np.arange(6) / 10)
    assert footage.facts.frame_rate == 10 and open_footage([tmp_path]).facts.frame_rate is None
    shuffled = [tmp_path / name for name in reversed(names)]
    assert [f.pixels[0, 0, 0] for f in open_footage(shuffled).frames()] == [f.pixels[0, 0, 0] for f in frames]  # type: ignore
    natural(Path("9" * 100_000))  # in no time


@pytest.mark.parametrize("ending", [".jpg", ".png", ".webp", ".bmp"])
@pytest.mark.parametrize("left", [0, 9, 30, 0.5, 0.98])
def test_a_broken_image_is_a_gap(tmp_path: Path, ending: str, left: float) -> None:
    for number in range(3):
        save(tmp_path / f"{number}{ending}")
    broken = tmp_path / f"1{ending}"
    data = broken.read_bytes()
    broken.write_bytes(data[: int(left * len(data)) if isinstance(left, float) else left])
    footage = open_footage([tmp_path])
    frames = list(footage.frames())
    assert [frame.pixels is None for frame in frames] == [False, True, False]
    assert broken.name in str(frames[1].gap)
    assert [frame.number for frame in frames] == [0, 1, 2] and footage.outcome().gaps == 1


def test_a_vanished_or_changed_image_is_a_gap(tmp_path: Path) -> None:
    for number in range(3):
        save(tmp_path / f"{number}.png")
    footage = open_footage([tmp_path])
    (tmp_path / "0.png").unlink()
    save(tmp_path / "2.png", SMOOTH[:20])
    assert [frame.pixels is None for frame in footage.frames()] == [True, False, True]


def test_portrait_and_landscape_that_are_one_size_upright_go_together(tmp_path: Path) -> None:
    save(tmp_path / "0.png")
    save(tmp_path / "1.png", upright(SMOOTH, 8), how=6)
    first, second = open_footage([tmp_path]).frames()
    assert first.pixels is not None and second.pixels is not None and (first.pixels == second.pixels).all()


def test_folders_that_are_no_footage(tmp_path: Path) -> None:
    cases = {
        "empty": [],
        "mixed": [("0.png", SMOOTH), ("1.png", SMOOTH), ("2.png", SMOOTH[:20])],
        "twice": [("0.png", SMOOTH), ("0.jpg", SMOOTH)],
    }
    words = {"empty": "no image", "mixed": "sizes.*2 of 60x40.*1 of 60x20", "twice": "0.jpg, 0.png"}
    for case, files in cases.items():
        folder = tmp_path / f"{case}.mp4"
        folder.mkdir()
        for name, pixels in files:
            save(folder / name, pixels)
        with pytest.raises(FootageError, match=words[case]) as caught:
            open_footage([folder])
        assert caught.value.where == str(folder) and caught.value.hint
    (tmp_path / "bad").mkdir()
    for name in ("0.png", "1.png"):
        (tmp_path / "bad" / name).write_bytes(b"no picture")
    with pytest.raises(FootageError) as caught:
        open_footage([tmp_path / "bad"])
    assert caught.value.where == str(tmp_path / "bad" / "0.png")


def test_the_fingerprint_is_that_of_all_images(tmp_path: Path) -> None:
    for number in range(3):
        save(tmp_path / f"{number}.png")
    first = open_footage([tmp_path]).fingerprint()
    assert open_footage([tmp_path]).fingerprint() == first
    save(tmp_path / "1.png", 255 - SMOOTH)
    second = open_footage([tmp_path]).fingerprint()
    (tmp_path / "1.png").rename(tmp_path / "7.png")
    assert len({first, second, open_footage([tmp_path]).fingerprint()}) == 3
