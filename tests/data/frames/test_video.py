"""Frames from videos: the right one, in one pass, and named when it is not there."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
import tiny_3dpw

from trace_data.adapters import read_record
from trace_data.adapters.threedpw import find
from trace_data.errors import AnnotationError
from trace_data.frames.video import Picture, contents, video_facts
from trace_data.schema.check import check_record
from trace_data.schema.clip import ClipRef
from trace_data.schema.frame import Frame, VideoFrame
from trace_data.shards.entries import ShardIndex, numbered
from trace_data.shards.index import save_index
from trace_data.shards.levels import Storage
from trace_data.shards.reader import ShardReader
from trace_data.shards.rows import rows_of
from trace_data.shards.writer import ShardWriter

SIZE = (96, 64)


def write(file: Path, frames: int, code: str = "MJPG") -> Path:
    """A video whose frames show their number in six stripes, white for ones; no codec loses that."""
    out = cv2.VideoWriter(str(file), cv2.VideoWriter.fourcc(*code), 25.0, SIZE)
    for number in range(frames):
        bits = [number >> bit & 1 for bit in range(6)]
        row = np.repeat(np.array(bits, np.uint8) * 200 + 20, SIZE[0] // 6)
        out.write(np.tile(row[None, :, None], (SIZE[1], 1, 3)))
    out.release()
    return file


def number_of(picture: np.ndarray) -> int:
    """What the stripes say."""
    stripes = picture.mean(axis=(0, 2)).reshape(6, -1).mean(axis=1)
    return sum(1 << bit for bit, value in enumerate(stripes) if value > 120)


def numbers(frames: Sequence[Frame]) -> list[int]:
    return [number_of(content.pixels) for content in contents(frames) if isinstance(content, Picture)]


@pytest.mark.parametrize(("name", "code"), [("a.avi", "MJPG"), ("a.mp4", "mp4v")])
def test_each_frame_is_the_one_that_was_asked_for(tmp_path: Path, name: str, code: str) -> None:
    video = write(tmp_path / name, 30, code)
    facts = video_facts(video)
    assert (facts.width, facts.height, facts.frames, facts.fps) == (*SIZE, 30, 25.0)
    for wanted in (range(30), range(4, 30, 5), [29], [7, 8, 20]):
        assert numbers([VideoFrame(video, n) for n in wanted]) == list(wanted)
    other = write(tmp_path / f"b{name}", 5, code)
    mixed = [VideoFrame(video, 3), tmp_path / "image.jpg", VideoFrame(video, 9), VideoFrame(other, 2)]
    assert numbers(mixed) == [3, 9, 2] and list(contents(mixed))[1] == tmp_path / "image.jpg"


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    video = write(tmp_path / "a.avi", 10)
    with pytest.raises(AnnotationError, match="the video ends after 10 frames, frame 12 is asked for"):
        list(contents([VideoFrame(video, n) for n in (3, 12)]))
    with pytest.raises(AnnotationError, match="frame 2 is asked for after 4"):
        list(contents([VideoFrame(video, n) for n in (4, 2)]))
    with pytest.raises(AnnotationError, match="the video is missing"):
        list(contents([VideoFrame(tmp_path / "none.avi", 0)]))
    for content in (b"", b"no video at all" * 9):
        (tmp_path / "bad.avi").write_bytes(content)
        with pytest.raises(AnnotationError, match=f"{len(content)} bytes that are no video"):
            video_facts(tmp_path / "bad.avi")


@pytest.mark.parametrize("heights", [(720,), (32,), ()])
def test_shards_take_videos_as_they_take_images(tmp_path: Path, heights: tuple[int, ...]) -> None:
    storage = Storage(heights=heights, raised=False)
    tiny_3dpw.write(tmp_path, {"train": 1}, frames=12, size=SIZE)
    record = read_record(find(tmp_path, "train")[0])
    video = write(tmp_path / "a.avi", 30)
    record = dataclasses.replace(record, frames=tuple(VideoFrame(video, 2 * i) for i in range(12)))
    assert not check_record(record)
    with ShardWriter(tmp_path, "3dpw-train-00000", storage=storage) as writer:
        writer.add(record, rows_of(record, {}))
        closed = writer.close("3dpw", "train")
    assert closed is not None
    save_index(ShardIndex(folder=tmp_path, shards=(closed[0],), sequences=numbered([closed[1]]), bad=(), settings={}))
    ref = ClipRef(sequence=0, start=1, stride=3, length=4)
    pictures = [cv2.imdecode(np.frombuffer(data, np.uint8), 1) for data in ShardReader(tmp_path).encoded(ref)]
    assert [number_of(picture) for picture in pictures] == [2, 8, 14, 20]
    height = 32 if heights == (32,) else 64
    assert {picture.shape for picture in pictures} == {(height, height * 3 // 2, 3)}
    lost = dataclasses.replace(record, frames=tuple(VideoFrame(tmp_path / "none.avi", i) for i in range(12)))
    assert [f"{f.key}: {f.what.partition(',')[0]}" for f in check_record(lost)] == ["frames: 1 of 1 files are missing"]


PLAYLISTS = {
    "a playlist": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{other}\n#EXT-X-ENDLIST\n",
    "a list of files": "ffconcat version 1.0\nfile {other}\n",
    "a description": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n",
    "a text that begins like a packet": "Go to {other} instead" + " " * 200,
}


@pytest.mark.parametrize("case", PLAYLISTS)
def test_a_text_that_names_other_files_is_no_video(case: str, tmp_path: Path) -> None:
    other = write(tmp_path / "other.avi", 5)
    video = tmp_path / "a.mp4"
    video.write_text(PLAYLISTS[case].format(other=other))
    with pytest.raises(AnnotationError, match="no container of video") as caught:
        video_facts(video)
    assert caught.value.where == str(video)
    with pytest.raises(AnnotationError, match="no container of video"):
        list(contents([VideoFrame(video, 0)]))


@pytest.mark.parametrize("field", ["frames", "fps", "width"])
def test_a_header_without_usable_numbers_is_named(field: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a video of unknown length, of which FFmpeg makes -36,028,797,018,963,472 frames."""
    video = write(tmp_path / "a.avi", 5)
    key = {"frames": cv2.CAP_PROP_FRAME_COUNT, "fps": cv2.CAP_PROP_FPS, "width": cv2.CAP_PROP_FRAME_WIDTH}[field]

    class Capture:
        def __init__(self, plain: cv2.VideoCapture) -> None:
            self.plain, self.release, self.isOpened, self.set = plain, plain.release, plain.isOpened, plain.set

        def get(self, wanted: int) -> float:
            return -3.6028797018963472e16 if wanted == key else self.plain.get(wanted)

    plain = cv2.VideoCapture
    monkeypatch.setattr(cv2, "VideoCapture", lambda *given: Capture(plain(*given)))
    with pytest.raises(AnnotationError, match="header") as caught:
        video_facts(video)
    assert caught.value.where == str(video)
