"""What the boxes of an MP4 say: the phone's lens, HDR and exact times; and that no file hurts whoever reads them."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from videos import VIDEOS, box, edited, inserted, lens_record

from trace_data.frames.mp4_boxes import MovieFacts, movie_facts

PLAIN = (VIDEOS / "plain.mp4").read_bytes()
BRAND = box(b"ftyp", b"qt  ", bytes(4))
VIDEO = box(b"mdia", box(b"hdlr", bytes(8), b"vide", bytes(12)))
SOUND = box(b"mdia", box(b"hdlr", bytes(8), b"soun", bytes(12)))


def facts(data: bytes) -> MovieFacts:
    found = movie_facts(io.BytesIO(data))
    assert found is not None
    return found


@pytest.mark.parametrize("quicktime", [True, False], ids=["QuickTime", "MP4"])
@pytest.mark.parametrize("place", ["track", "movie", "other track"])
@pytest.mark.parametrize(
    ("kind", "value"),
    [(21, struct.pack(">i", 26)), (22, b"\x1a"), (1, b"26"), (23, struct.pack(">f", 26)), (24, struct.pack(">d", 26))],
)
def test_the_lens_is_found_wherever_phones_write_it(kind: int, value: bytes, place: str, quicktime: bool) -> None:
    record = lens_record(kind, value, quicktime=quicktime, others=(b"com.apple.quicktime.make", b"x"))
    tracks = {
        "track": [box(b"trak", SOUND), box(b"trak", VIDEO, record)],
        "movie": [box(b"trak", VIDEO), record],
        "other track": [box(b"trak", VIDEO), box(b"trak", SOUND, record)],
    }[place]
    assert facts(BRAND + box(b"mdat", bytes(100)) + box(b"moov", *tracks)).lens_35mm == 26
    assert facts(inserted(PLAIN, record, b"moov", b"trak")).lens_35mm == 26


@pytest.mark.parametrize(
    ("kind", "value"),
    [(1, b"wide"), (1, b"\xff"), (1, b"nan"), (21, b"\0"), (22, b"\xff" * 9), (23, b"x"), (9, b"26")],
)
def test_what_is_no_focal_length_is_passed_over(kind: int, value: bytes) -> None:
    record = lens_record(kind, value)
    assert facts(BRAND + box(b"moov", box(b"trak", VIDEO, record))).lens_35mm is None


def test_times_and_transfer() -> None:
    for name, expected in (
        ("plain.mp4", np.arange(12) / 25),
        ("late.mp4", np.arange(12) / 25),
        ("variable.mp4", np.array([0, 0.033, 0.066, 0.166, 0.266, 0.299, 0.332, 0.432, 0.532, 0.565])),
    ):
        found = facts((VIDEOS / name).read_bytes())
        assert found.times is not None and np.abs(found.times - expected).max() < 1e-9 and found.transfer is None
    assert facts((VIDEOS / "hlg.mp4").read_bytes()).transfer == 18
    cut = facts(PLAIN[: PLAIN.index(b"moov") - 4])
    assert not cut.has_index
    assert not facts((VIDEOS / "sound.mp4").read_bytes()).has_video
    assert movie_facts(io.BytesIO((VIDEOS / "late.mkv").read_bytes())) is None


def test_edits_take_frames_away() -> None:
    whole, fewer = facts(PLAIN).times, facts(edited(PLAIN, 1280, 200)).times
    assert whole is not None and len(whole) == 12
    assert fewer is not None and fewer == pytest.approx(whole[:5])
    assert [facts(edited(PLAIN, begin, 200)).hidden for begin in (1280, 2560)] == [0, 2]


def test_several_edits_say_nothing_of_times() -> None:
    """Their frames may be shown twice or in another order."""
    begin = PLAIN.index(b"edts") - 4
    length = int.from_bytes(PLAIN[begin : begin + 4], "big")
    part = struct.pack(">IiI", 200, 1280, 65536)
    for number, known in ((1, True), (2, False)):
        edits = box(b"edts", box(b"elst", bytes(4), struct.pack(">I", number), part * number))
        data = bytearray(PLAIN[:begin] + edits + PLAIN[begin + length :])
        for kind in (b"moov", b"trak"):
            place = data.index(kind) - 4
            size = int.from_bytes(data[place : place + 4], "big") + len(edits) - length
            data[place : place + 4] = struct.pack(">I", size)
        assert (facts(bytes(data)).times is not None) == known


@pytest.mark.parametrize("seed", range(20))
def test_damaged_boxes_are_passed_over(seed: int) -> None:
    """Whatever stands there: an answer, without an error, much memory or a long time."""
    rng = np.random.default_rng(seed)
    whole = inserted(PLAIN, lens_record(21, struct.pack(">i", 26)), b"moov", b"trak")
    index = whole.index(b"moov")
    for _ in range(30):
        data = bytearray(whole)
        for place in rng.integers(index, len(data), rng.integers(1, 8)):
            data[place] = rng.choice([0, 1, 127, 255, rng.integers(256)])
        found = movie_facts(io.BytesIO(data[: rng.integers(8, len(data) + 1)]))
        if found is not None and found.times is not None:
            assert found.times[0] == 0 and (np.diff(found.times) >= 0).all()


def test_frames_that_are_all_shown_at_once_have_no_times() -> None:
    at = PLAIN.index(b"stts") + 12
    assert facts(PLAIN[: at + 4] + bytes(4) + PLAIN[at + 8 :]).times is not None  # its ctts still spreads them
    plain = bytearray(PLAIN[: at + 4] + bytes(4) + PLAIN[at + 8 :])
    plain[plain.index(b"ctts") : plain.index(b"ctts") + 4] = b"free"
    assert facts(bytes(plain)).times is None


def test_a_box_that_holds_itself_ends() -> None:
    nothing = struct.pack(">I", 0) + b"moov"
    assert facts(BRAND + nothing * 3).has_index
    for size in (1, 2, 7, 0xFFFFFFFF):
        movie_facts(io.BytesIO(BRAND + (struct.pack(">I", size) + b"moov") * 50))
    movie_facts(io.BytesIO(BRAND + struct.pack(">I", 1) + b"moov" + b"\xff" * 8))
    movie_facts(io.BytesIO(BRAND + box(b"free") * 100_000))
