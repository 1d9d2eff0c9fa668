"""Tables of MP4 files that state more samples than there are bytes are refused before FFmpeg believes them."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import pytest
from test_video import write

from trace_data.errors import AnnotationError
from trace_data.frames.mp4_tables import stated as tables
from trace_data.frames.video import contents, video_facts
from trace_data.schema.frame import VideoFrame


def box(name: bytes, *content: bytes) -> bytes:
    inside = b"".join(content)
    return struct.pack(">I4s", 8 + len(inside), name) + inside


def stated(data: bytes) -> int:
    return tables(io.BytesIO(data), len(data)).samples


@pytest.mark.parametrize("count", [65_540, 0x03FFFFFF, 0xFFFFFFFF])
def test_a_small_file_with_many_samples_is_refused_by_name(tmp_path: Path, count: int) -> None:
    video = write(tmp_path / "a.mp4", 4, "mp4v")
    data = bytearray(video.read_bytes())
    place = data.index(b"stsz") + 8
    data[place : place + 8] = struct.pack(">II", 48, count)
    video.write_bytes(data)
    for read in (video_facts, lambda file: list(contents([VideoFrame(file, 0)]))):
        with pytest.raises(AnnotationError, match="samples") as caught:
            read(video)
        assert caught.value.where == str(video)


def test_edits_that_show_everything_again_and_again_are_refused_by_name(tmp_path: Path) -> None:
    """98 kB of these made FFmpeg take 1.3 GB."""
    count = 6000
    sizes = box(b"stsz", struct.pack(">III", 0, 0, count), struct.pack(">I", 1) * count)
    stored = box(b"mdia", box(b"minf", box(b"stbl", sizes)))
    video = tmp_path / "a.mp4"
    for edits, refused in ((count, True), (2, False)):
        elst = box(b"elst", struct.pack(">II", 0, edits), struct.pack(">IiI", 9, 0, 65536) * edits)
        video.write_bytes(box(b"ftyp", b"isom") + box(b"moov", box(b"trak", box(b"edts", elst), stored)))
        with pytest.raises(AnnotationError) as caught:
            video_facts(video)
        assert ("edit list" in caught.value.message) == refused and caught.value.where == str(video)
    claimed = box(b"moov", box(b"trak", box(b"edts", box(b"elst", struct.pack(">II", 0, 1 << 31))), stored))
    assert tables(io.BytesIO(claimed), len(claimed)).shown == 0, "edits that are not there"


def test_whole_videos_are_read(tmp_path: Path) -> None:
    assert video_facts(write(tmp_path / "a.mp4", 4, "mp4v")).frames == 4
    assert video_facts(write(tmp_path / "a.mov", 4, "MJPG")).frames == 4


def test_tables_are_found_wherever_they_lie() -> None:
    size = box(b"stsz", struct.pack(">III", 0, 9, 1234))
    table = box(b"trak", box(b"mdia", box(b"minf", box(b"stbl", box(b"stts", b"12345678"), size))))
    assert stated(box(b"ftyp", b"isom") + box(b"moov", box(b"mvhd", bytes(20)), table)) == 1234
    run = box(b"moof", box(b"mfhd", bytes(8)), box(b"traf", box(b"trun", struct.pack(">II", 0, 77))))
    assert stated(box(b"moov", table) + box(b"mdat", bytes(50)) + run) == 1234
    assert stated(box(b"mdat", bytes(50)) + run) == 77
    long = struct.pack(">I4sQ", 1, b"moov", 16 + len(table)) + table
    assert stated(long) == 1234
    assert stated(box(b"moov", box(b"stsz", struct.pack(">III", 0, 0, 5)))) == 0, "each has its own size in the file"


@pytest.mark.parametrize(
    "data",
    [b"", b"\0", struct.pack(">I4s", 0, b"moov"), struct.pack(">I4s", 4, b"moov"), struct.pack(">I4sQ", 1, b"moov", 1),
     struct.pack(">I4s", 1 << 31, b"moov") * 3, box(b"moov", struct.pack(">I4s", 1 << 31, b"stsz")),
     struct.pack(">I4s", 8, b"moov") * 200_000],
)  # fmt: skip
def test_broken_boxes_end_the_walk(data: bytes) -> None:
    assert stated(data) == 0
