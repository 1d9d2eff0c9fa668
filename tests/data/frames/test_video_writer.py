"""Videos are read back: each picture at its own time, in its colours; nothing partial; a page where nothing encodes."""

from __future__ import annotations

import base64
import importlib.util
import re
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from trace_data.errors import OutputError
from trace_data.frames import video_writer as module
from trace_data.frames.video_writer import PAGE, VideoEncoder, choose_encoder, video_writer

TIMES = [0.0, 0.0333, 0.0667, 0.2, 0.2333, 0.5, 0.5334, 1.7, 1.7334, 1.75]
"""Uneven, with a long stay."""
NTSC = 30000 / 1001
SIZE = (97, 65)


def encoder_of(kind: str) -> VideoEncoder:
    """The encoder, or a skip where it is not installed."""
    if kind == "PyAV":
        pytest.importorskip("av")
        return VideoEncoder(name=kind, suffix=".mp4")
    program = module.shutil.which("ffmpeg") or module._bundled()
    if program is None:
        pytest.skip("no ffmpeg here")
    return VideoEncoder(name=kind, suffix=".mp4", program=program)


def picture(number: int) -> np.ndarray:
    return np.full((SIZE[1], SIZE[0], 3), (20 + 20 * number, 120, 220 - 20 * number), np.uint8)


def written(path: Path, encoder: VideoEncoder, times: list[float] = TIMES) -> Path:
    with video_writer(path, size=SIZE, rate=NTSC, encoder=encoder) as writer:
        for number, time in enumerate(times):
            writer.add(picture(number), time)
    return path


@pytest.mark.parametrize("kind", ["PyAV", "ffmpeg"])
@pytest.mark.parametrize("times", [TIMES, [k * 1001 / 30000 for k in range(8)]], ids=["uneven", "even"])
def test_every_picture_comes_back_at_its_time(kind: str, times: list[float], tmp_path: Path) -> None:
    video = cv2.VideoCapture(str(written(tmp_path / "größe one.mp4", encoder_of(kind), times)))
    found = []
    while (read := video.read())[0]:
        found.append((video.get(cv2.CAP_PROP_POS_MSEC) / 1000, read[1][..., ::-1]))
    np.testing.assert_allclose([time for time, _ in found], times, atol=1e-3)
    for number, (_, shown) in enumerate(found):
        assert shown.shape == (66, 98, 3), "even sizes"
        assert np.abs(shown.astype(int) - picture(number)[0, 0]).max() < 8


@pytest.mark.parametrize("kind", ["PyAV", "ffmpeg"])
def test_browsers_play_it(kind: str, tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    even = written(tmp_path / "even.mp4", encoder_of(kind), [k * 1001 / 30000 for k in range(8)])
    content = even.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat"), "it starts before all of it has come"
    assert b"avc1" in content
    with av.open(str(even)) as container:
        (stream,) = container.streams
        assert stream.codec_context.pix_fmt == "yuv420p" and stream.average_rate == module.Fraction(30000, 1001)
        assert float(stream.duration * stream.time_base) == pytest.approx(8 * 1001 / 30000, abs=2e-3)


@pytest.mark.parametrize("kind", ["PyAV", "ffmpeg", "page"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interruption_leaves_what_was_there(kind: str, error: type[BaseException], tmp_path: Path) -> None:
    encoder = PAGE if kind == "page" else encoder_of(kind)
    path = tmp_path / f"one{encoder.suffix}"
    for before in (None, b"an older one"):
        if before:
            path.write_bytes(before)
        with pytest.raises(error), video_writer(path, size=SIZE, rate=30, encoder=encoder) as writer:
            writer.add(picture(0), 0.0)
            raise error
        assert [file.name for file in tmp_path.iterdir()] == ([path.name] if before else [])
        assert before is None or path.read_bytes() == before


def test_an_encoder_that_fails_is_told(tmp_path: Path) -> None:
    program = tmp_path / "ffmpeg"
    program.write_text("#!/bin/sh\nhead -c 1000 >/dev/null\necho 'no room for the picture' >&2\nexit 3\n")
    program.chmod(0o755)
    out = tmp_path / "one.mp4"
    encoder = VideoEncoder(name="broken", suffix=".mp4", program=str(program))
    with pytest.raises(OutputError, match="no room") as caught:
        written(out, encoder, [k / 30 for k in range(50)])
    assert caught.value.where == str(out) and not out.exists()


def test_pictures_go_into_a_page_where_nothing_encodes(tmp_path: Path) -> None:
    page = written(tmp_path / "<one>.html", PAGE).read_text()
    added = re.findall(r'add\(([\d.]+), "([^"]+)"\)', page)
    assert [float(time) for time, _ in added] == pytest.approx(TIMES)
    shown = cv2.imdecode(np.frombuffer(base64.b64decode(added[3][1]), np.uint8), cv2.IMREAD_COLOR)
    assert shown is not None and np.abs(shown[..., ::-1].astype(int) - picture(3)).max() < 8
    assert "&lt;one&gt;" in page and "<one>" not in page
    assert not re.search(r"https?://|src=\"[^\"]", page), "it needs nothing beside it"


def test_the_order_of_encoders(monkeypatch: pytest.MonkeyPatch) -> None:
    known = importlib.util.find_spec
    missing: set[str] = set()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name in missing else known(name))
    monkeypatch.setattr(module.shutil, "which", lambda name: "/usr/bin/their-ffmpeg")
    monkeypatch.setattr(module, "_encodes", lambda program: True)
    if known("av"):
        assert choose_encoder().name.startswith("PyAV")
        with monkeypatch.context() as broken:
            broken.setitem(sys.modules, "av", None)
            assert choose_encoder().program == "/usr/bin/their-ffmpeg"
    missing.add("av")
    assert choose_encoder().program == "/usr/bin/their-ffmpeg"
    monkeypatch.setattr(module.shutil, "which", lambda name: None)
    if known("imageio_ffmpeg"):
        assert "imageio_ffmpeg" in str(choose_encoder().program)
    missing.add("imageio_ffmpeg")
    assert choose_encoder() == PAGE
    monkeypatch.undo()
    assert not module._encodes(sys.executable)
