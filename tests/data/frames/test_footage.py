"""Videos for prediction: upright, by true times, with gaps where frames cannot be read, and one error for the rest."""

from __future__ import annotations

import math
import os
import shutil
import struct
import weakref
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from videos import SIZE, VIDEOS, box, edited, inserted, lens_record, number_of, turned

from trace_data.errors import ConfigError, FootageError, TraceError
from trace_data.frames import video as video_module
from trace_data.frames.footage import Footage, FootageFrame, group_inputs, open_footage
from trace_data.frames.video import Picture, contents, video_facts
from trace_data.frames.video_file import TimestampRepair
from trace_data.schema.frame import VideoFrame

PLAIN = VIDEOS / "plain.mp4"
UNEVEN = [0, 0.033, 0.066, 0.166, 0.266, 0.299, 0.332, 0.432, 0.532, 0.565]


def read(path: Path, **given: Any) -> tuple[Footage, list[FootageFrame]]:
    footage = open_footage([path])
    return footage, list(footage.frames(**given))


def changed(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def written(path: Path, size: tuple[int, int] = SIZE, frames: int = 5, code: str = "MJPG") -> Path:
    out = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*code), 25.0, size)
    for number in range(frames):
        out.write(np.full((size[1], size[0], 3), 40 * number % 256, np.uint8))
    out.release()
    return path


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_turned_clip_equals_its_upright_twin(tmp_path: Path, degrees: int) -> None:
    clip = changed(tmp_path / "phone.mp4", turned(PLAIN.read_bytes(), degrees))
    footage, frames = read(clip)
    assert footage.facts.rotation == degrees
    assert footage.facts.size == (SIZE[::-1] if degrees % 180 else SIZE)
    _, twin = read(PLAIN)
    assert len(frames) == len(twin) == 12
    for one, other in zip(frames, twin):
        assert one.pixels is not None and other.pixels is not None and one.time == other.time
        assert (one.pixels == np.rot90(other.pixels, -degrees // 90)).all()


def test_a_version_of_opencv_that_turns_nevertheless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = changed(tmp_path / "phone.mp4", turned(PLAIN.read_bytes(), 90))
    expected = [frame.pixels for frame in read(clip)[1]]

    def stubborn(video: Path, *, threads: int = 1) -> Any:
        return cv2.VideoCapture(str(video), cv2.CAP_FFMPEG)

    def turning(video: Path, *, threads: int = 1) -> Any:
        capture = stubborn(video)
        capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
        return capture

    monkeypatch.setattr("trace_data.frames.video_file.open_capture", turning)
    footage, frames = read(clip)
    assert footage.facts.size == SIZE[::-1] and footage.facts.rotation == 90
    assert all((frame.pixels == other).all() for frame, other in zip(frames, expected))


def test_datasets_take_frames_of_videos_as_they_are_stored(tmp_path: Path) -> None:
    """In every version of OpenCV, also in those that turn them by default."""
    clip = changed(tmp_path / "phone.mp4", turned(PLAIN.read_bytes(), 90))
    facts = video_facts(clip)
    assert (facts.width, facts.height) == SIZE
    (picture,) = contents([VideoFrame(clip, 5)])
    assert isinstance(picture, Picture) and number_of(picture.pixels) == 5


@pytest.mark.parametrize("name", ["variable.mp4", "variable.webm"])
def test_times_of_a_variable_rate_are_the_true_ones(name: str) -> None:
    footage, frames = read(VIDEOS / name)
    assert [frame.time for frame in frames] == pytest.approx(UNEVEN, abs=1e-6)
    assert [number_of(frame.pixels) for frame in frames if frame.pixels is not None] == list(range(10))
    outcome = footage.outcome()
    assert outcome.variable_rate and outcome.frame_rate == pytest.approx(9 / 0.565) and not outcome.warnings
    if name.endswith("mp4"):  # its index lists them
        assert footage.facts.variable_rate and footage.facts.frame_rate == pytest.approx(9 / 0.565)
        assert footage.facts.frames == 10


@pytest.mark.parametrize("name", ["plain.mp4", "late.mp4", "late.mkv", "camcorder.ts"])
def test_time_begins_with_the_first_frame(name: str) -> None:
    """The header of late.mkv claims 25 frames; there are 12."""
    footage, frames = read(VIDEOS / name)
    assert [frame.time for frame in frames] == pytest.approx(np.arange(12) / 25, abs=1e-6)
    assert [number_of(frame.pixels) for frame in frames if frame.pixels is not None] == list(range(12))
    assert footage.facts.variable_rate in (False, None) and footage.facts.frame_rate == pytest.approx(25)


def test_frames_that_an_edit_hides_are_hidden(tmp_path: Path) -> None:
    for begin, duration, numbers in ((1280, 200, [0, 1, 2, 3, 4]), (2560, 160, [2, 3, 4, 5])):
        footage, frames = read(changed(tmp_path / "a.mp4", edited(PLAIN.read_bytes(), begin, duration)))
        assert [number_of(frame.pixels) for frame in frames if frame.pixels is not None] == numbers
        assert [frame.number for frame in frames] == list(range(len(numbers)))
        assert footage.facts.frames == len(numbers) and footage.outcome().ended is None


def test_an_edit_list_of_several_parts_is_said(tmp_path: Path) -> None:
    """Their times are FFmpeg's, which leave holes where the parts meet."""
    whole = PLAIN.read_bytes()
    begin, place = whole.index(b"edts") - 4, whole.index(b"elst") + 8
    entry = struct.pack(">IiI", 160, 1280, 65536)
    for second, told in ((struct.pack(">IiI", 160, 6400, 65536), True), (b"", False)):
        edits = entry + second
        table = box(b"edts", box(b"elst", bytes(4), struct.pack(">I", len(edits) // 12), edits))
        data = bytearray(whole[:begin] + table + whole[place + 16 :])
        for kind in (b"moov", b"trak"):
            at = data.index(kind) - 4
            data[at : at + 4] = struct.pack(">I", int.from_bytes(data[at : at + 4], "big") + len(second))
        warnings = open_footage([changed(tmp_path / "a.mp4", bytes(data))]).facts.warnings
        assert any("edit list" in warning for warning in warnings) == told


def test_hdr_and_depth_are_said() -> None:
    facts = open_footage([VIDEOS / "hlg.mp4"]).facts
    assert (facts.hdr, facts.bit_depth) == ("HLG", 10) and "HDR" in facts.warnings[0]
    assert cv2.__version__ in facts.decoder
    plain = open_footage([PLAIN]).facts
    assert (plain.hdr, plain.bit_depth, plain.warnings) == (None, 8, ())


@pytest.mark.parametrize(("name", "depth"), [("grey16.mkv", 16), ("alpha.mkv", 8)])
def test_grey_and_transparent_frames_are_rgb(name: str, depth: int) -> None:
    footage, frames = read(VIDEOS / name)
    assert footage.facts.bit_depth == depth
    for frame in frames:
        assert frame.pixels is not None and frame.pixels.shape == (64, 96, 3) and frame.pixels.dtype == np.uint8
    red, _, blue = (float(frames[0].pixels[:20, :, channel].mean()) for channel in range(3))  # type: ignore[index]
    assert red == pytest.approx(blue) if "grey" in name else red > blue + 100


def test_odd_sizes() -> None:
    footage, frames = read(VIDEOS / "odd.mkv")
    assert footage.facts.size == (97, 63) and len(frames) == 6
    assert all(frame.pixels is not None and frame.pixels.shape == (63, 97, 3) for frame in frames)


@pytest.mark.parametrize(
    ("name", "lost"), [("damaged.mp4", {16, 18}), ("damaged.avi", {15, 16}), ("damaged.webm", {15, 16})]
)
def test_what_cannot_be_decoded_is_a_gap(name: str, lost: set[int]) -> None:
    """Neither a frame that is missing, nor one that a decoder made up from it, has pixels."""
    footage, frames = read(VIDEOS / name)
    assert [frame.number for frame in frames] == list(range(30))
    assert [frame.time for frame in frames] == pytest.approx(np.arange(30) / 25, abs=1e-6)
    gaps = {frame.number for frame in frames if frame.pixels is None}
    assert {
        frame.number for frame in frames if "could not be decoded" in str(frame.gap) and frame.pixels is None
    } == gaps
    assert lost <= gaps <= set(range(15, 20))
    for frame in frames:
        assert (frame.gap is None) == (frame.pixels is not None)
        assert frame.pixels is None or number_of(frame.pixels) == frame.number
    outcome = footage.outcome()
    assert outcome.gaps == len(gaps) and str(min(gaps)) in str(outcome.first_gap) and outcome.warnings


def test_a_video_that_was_cut_off_is_read_to_its_end(tmp_path: Path) -> None:
    footage, frames = read(VIDEOS / "cut.mp4")
    assert [number_of(frame.pixels) for frame in frames if frame.pixels is not None] == list(range(20))
    assert footage.facts.frames == 30 and "20 of the 30" in str(footage.outcome().ended)
    whole = written(tmp_path / "a.avi", frames=40).read_bytes()
    footage, frames = read(changed(tmp_path / "b.avi", whole[: len(whole) // 2]))
    assert 5 < len(frames) < 30 and "1.60 s" in str(footage.outcome().ended)
    assert footage.outcome().warnings


@pytest.mark.parametrize("path", [PLAIN, VIDEOS / "variable.mp4", VIDEOS / "damaged.mp4", VIDEOS / "variable.webm"])
@pytest.mark.parametrize(("start", "end", "stride"), [(0.1, None, 1), (None, 0.3, 2), (0.066, 0.4, 3), (0, 99, 7)])
def test_a_part_is_the_same_frames(path: Path, start: float | None, end: float | None, stride: int) -> None:
    _, whole = read(path)
    inside = [f for f in whole if (start or 0) - 1e-6 <= f.time < (math.inf if end is None else end) - 1e-6]
    expected = [frame for frame in inside if (frame.number - inside[0].number) % stride == 0]
    footage = open_footage([path])
    part = list(footage.frames(start=start, end=end, stride=stride))
    assert footage.outcome().frames == len(part)
    for after in (None, *(frame.number for frame in part)):
        found = list(footage.frames(start=start, end=end, stride=stride, after=after))
        rest = [frame for frame in expected if after is None or frame.number > after]
        assert [(f.number, f.time, f.gap) for f in found] == [(f.number, f.time, f.gap) for f in rest]
        for one, other in zip(found, rest):
            assert (one.pixels is None and other.pixels is None) or (one.pixels == other.pixels).all()  # type: ignore


def test_only_the_frame_at_hand_is_in_memory() -> None:
    alive: list[weakref.ref[np.ndarray]] = []
    for frame in open_footage([PLAIN]).frames():
        assert frame.pixels is not None
        alive = [*(other for other in alive if other() is not None), weakref.ref(frame.pixels)]
        assert len(alive) <= 2


@pytest.mark.parametrize(
    "given", [{"start": -1}, {"start": math.nan}, {"start": 2, "end": 1}, {"end": 0}, {"stride": 0}]
)
def test_impossible_parts(given: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        open_footage([PLAIN]).frames(**given)
    assert caught.value.where is not None and caught.value.where.startswith("--")


def test_nothing_in_a_part_is_an_error() -> None:
    with pytest.raises(FootageError, match="last one") as caught:
        read(PLAIN, start=3)
    assert caught.value.where == str(PLAIN)


def test_a_given_rate_replaces_the_times() -> None:
    """As for slow motion, which is stored to be played slowly."""
    footage = open_footage([VIDEOS / "variable.mp4"], frame_rate=240)
    assert [frame.time for frame in footage.frames()] == pytest.approx(np.arange(10) / 240)
    assert footage.facts.frame_rate == 240 and footage.facts.variable_rate is False
    for rate in (0, -1, math.nan, math.inf):
        with pytest.raises(ConfigError):
            open_footage([PLAIN], frame_rate=rate)


def test_the_lens_record_is_that_of_the_upright_picture(tmp_path: Path) -> None:
    record = lens_record(21, (26).to_bytes(4, "big"))
    clip = turned(inserted(PLAIN.read_bytes(), record, b"moov", b"trak"), 90)
    lens = open_footage([changed(tmp_path / "phone.mov", clip)]).facts.lens
    assert lens is not None and lens.focal_35mm == 26 and "phone" in lens.source
    assert lens.focal_px == pytest.approx(26 / math.hypot(36, 24) * math.hypot(*SIZE))
    assert open_footage([PLAIN]).facts.lens is None


@pytest.mark.parametrize("seed", range(8))
def test_times_always_rise(seed: int) -> None:
    rng = np.random.default_rng(seed)
    true = np.cumsum(rng.uniform(0.01, 0.1, 300))
    stamps = TimestampRepair(0.04)
    assert [stamps.true(time) for time in true] == list(true) and stamps.repaired == 0
    bad = np.where(rng.random(300) < 0.3, rng.choice([0, np.nan, -1, np.inf, 1e9], 300), true)
    bad = np.where(rng.random(300) < 0.1, np.roll(bad, 1), bad)
    stamps = TimestampRepair(0.04)
    times = np.array([stamps.true(float(stamp)) for stamp in bad])
    assert (np.diff(times) > 0).all() and np.isfinite(times).all() and stamps.repaired > 30


def test_stamps_that_stand_still_are_replaced() -> None:
    stamps = TimestampRepair(0.04)
    assert [stamps.true(t) for t in (0.5, 0.5, 0.54, 0.58)] == pytest.approx([0.5, 0.52, 0.54, 0.58])
    stamps = TimestampRepair(0.04)
    assert [stamps.true(0.0) for _ in range(4)] == pytest.approx([0, 0.02, 0.06, 0.1])


BAD = {
    "missing": (None, "no such file"),
    "empty": (b"", "empty"),
    "text": (b"#EXTM3U\n#EXTINF:10,\nother.mp4\n" * 9, "no video"),
    "cut before its index": (PLAIN.read_bytes()[:1500], "index"),
    "sound only": ((VIDEOS / "sound.mp4").read_bytes(), "sound"),
    "a picture of a phone": (b"\0\0\0\x18ftypheic" + bytes(99), "HEIC"),
    "noise": (bytes(range(4, 12)) * 99, "no video"),
    "beginning only": (b"\0\0\0\x18ftypmp42" + bytes(12), "index"),
    "wav": (b"RIFF" + (36).to_bytes(4, "little") + b"WAVEfmt " + bytes(28), "sound only"),
    "mp3": (b"ID3\x04" + bytes(40), "sound only"),
    "flac": (b"fLaC" + bytes(40), "sound only"),
}


@pytest.mark.parametrize("name", ["clip.mp4", "noël 雨 .mov", "  .mp4", "12:30.mp4"])
@pytest.mark.parametrize("case", BAD)
def test_each_refusal_is_one_error_with_the_file(case: str, name: str, tmp_path: Path, capfd: Any) -> None:
    content, word = BAD[case]
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(FootageError, match=word) as caught:
        open_footage([path])
    assert caught.value.where == str(path) and caught.value.hint
    assert capfd.readouterr() == ("", "")  # what FFmpeg and OpenCV say would stand beside it


def test_pipes_and_typing_errors(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(FootageError, match="pipe"):
        open_footage([tmp_path / "pipe.mp4"])
    shutil.copy(PLAIN, tmp_path / "jump.mp4")
    with pytest.raises(FootageError) as caught:
        open_footage([tmp_path / "jmp.mp4"])
    assert "jump.mp4" in str(caught.value.hint)
    (tmp_path / "loop.mp4").symlink_to(tmp_path / "loop.mp4")
    with pytest.raises(FootageError):
        open_footage([tmp_path / "loop.mp4"])


@pytest.mark.parametrize("seed", range(6))
def test_damage_anywhere_ends_in_an_error_or_in_honest_frames(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    data = bytearray((VIDEOS / "damaged.mp4").read_bytes())
    for place in rng.integers(0, len(data), 12):
        data[place] = rng.integers(256)
    try:
        _, frames = read(changed(tmp_path / "a.mp4", bytes(data)))
    except TraceError as error:
        assert error.where == str(tmp_path / "a.mp4")
        return
    assert [frame.number for frame in frames] == list(range(len(frames)))
    assert (np.diff([frame.time for frame in frames]) > 0).all()


@pytest.mark.parametrize(
    "name", ["12:30.mp4", "concat:a.mp4", "shot%03d.mp4", "noël 雨.mp4", "  .mp4", "bad\udcff.mp4", "clip"]
)
def test_any_name_can_be_opened(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """FFmpeg takes some for addresses, and OpenCV crashes on those that are no UTF-8."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(PLAIN, name)
    _, frames = read(Path(name))
    assert len(frames) == 12
    assert video_facts(Path(name)).frames == 12


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("clip.mp4", "clip"),
        ("my.clip.v2.mp4", "my.clip.v2"),
        (".mp4", "mp4"),
        ("..a.mov", "a"),
        ("noël 雨.mp4", "noël 雨"),
    ],
)
def test_the_name_of_results(path: str, name: str, tmp_path: Path) -> None:
    shutil.copy(PLAIN, tmp_path / path)
    assert open_footage([tmp_path / path]).facts.name == name


def test_blank_names_and_folders_have_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(PLAIN, tmp_path / "   ")
    assert open_footage([tmp_path / "   "]).facts.name.strip()
    folder = tmp_path / "my.run"
    folder.mkdir()
    cv2.imwrite(str(folder / "a.png"), np.zeros((8, 8, 3), np.uint8))
    monkeypatch.chdir(folder)
    for path in (folder, Path(f"{folder}/"), Path(), Path("../my.run/.")):
        assert open_footage([path]).facts.name == "my.run"
    assert open_footage([Path("a.png")]).facts.name == "a"


def test_inputs_are_grouped(tmp_path: Path) -> None:
    images = [tmp_path / f"{number}.png" for number in (10, 9)]
    for image in images:
        cv2.imwrite(str(image), np.zeros((8, 8, 3), np.uint8))
    assert group_inputs([PLAIN, *images, tmp_path, PLAIN]) == [(PLAIN,), tuple(images), (tmp_path,), (PLAIN,)]
    assert open_footage(images).facts.frames == 2
    for wrong in ([], [PLAIN, PLAIN], [images[0], tmp_path]):
        with pytest.raises(ConfigError):
            open_footage(wrong)
    with pytest.raises(FootageError):
        group_inputs([tmp_path / "none.mp4"])


def test_the_fingerprint_follows_the_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = tmp_path / "a.mp4"
    data = PLAIN.read_bytes()
    first = open_footage([changed(clip, data)]).fingerprint()
    assert first.startswith("sha256:") and open_footage([PLAIN]).fingerprint() == first
    other = open_footage([changed(clip, data[:-1] + bytes([data[-1] ^ 1]))]).fingerprint()
    assert other != first
    monkeypatch.setattr("trace_data.frames.footage._WHOLE", 100)
    monkeypatch.setattr("trace_data.frames.footage._END", 64)
    of_ends = {open_footage([changed(clip, some)]).fingerprint() for some in (data, data + b"x", data[:-1] + b"y")}
    assert len(of_ends) == 3 and all(text.startswith("sha256-ends:") for text in of_ends)


def test_refusals_of_a_video_leave_opencv_as_it_was(tmp_path: Path) -> None:
    logging: Any = getattr(cv2.utils, "logging", cv2)
    before = logging.getLogLevel()
    with pytest.raises(FootageError):
        open_footage([changed(tmp_path / "a.avi", b"RIFF" + bytes(99))])
    assert logging.getLogLevel() == before and video_module.open_capture(PLAIN).isOpened()
