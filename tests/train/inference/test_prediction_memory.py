"""Memory does not grow with a video."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from spotted import open_spotter
from spotter import frames
from tiny_runs import StopAt

from trace_data.errors import InterruptedRun
from trace_data.frames.footage_frame import FootageFacts, FootageFrame
from trace_data.results.file import read_result
from trace_train.inference import Predictor, VideoOptions
from trace_train.inference.video_prediction import VideoPrediction, _Gaps, _save

MEGABYTE = 1 << 20


class Endless:
    """Footage of any length: the same steps again and again."""

    def __init__(self, count: int) -> None:
        self.count, self.pictures = count, frames(105, people=3)  # 105 frames: there and back
        self.facts = FootageFacts(
            name="endless", path=Path("endless"), kind="video", size=(96, 72), rotation=0, frame_rate=30.0,
            variable_rate=False, frames=count, hdr=None, bit_depth=8, lens=None, decoder="none",
        )  # fmt: skip

    def frames(self, **_: object) -> Iterator[FootageFrame]:
        for number in range(self.count):
            yield FootageFrame(
                number=number, time=number / 30, pixels=self.pictures[number % len(self.pictures)], gap=None
            )

    def outcome(self) -> object:
        class Outcome:
            frame_rate, variable_rate, repaired, ended = 30.0, False, 0, None

        return Outcome()

    def fingerprint(self) -> str:
        return "endless"


def test_what_a_video_carries_along_hardly_grows(packs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_spotter(monkeypatch)
    model = Predictor("weights", packs=packs, config=["world.camera=moving"]).model
    state = model.state((96, 72), np.array([[103.0, 0, 47.5], [0, 103.0, 35.5], [0, 0, 1.0]]))
    sizes = []
    pictures = frames(96, people=3)
    for at in range(0, 96, 8):
        settled = state.add([number / 30 for number in range(at, at + 8)], pictures[at : at + 8])
        assert len(settled) <= 16
        sizes.append(len(_save(state, at + 7, _Gaps())))
    # the camera path, and what it keeps of three people
    assert (sizes[-1] - sizes[3]) / 64 < 1000


@pytest.mark.nightly
def test_three_thousand_frames_of_three_people_need_little_memory(
    packs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_spotter(monkeypatch)
    model = Predictor("weights", packs=packs).model
    used = []
    for name, count in (("short", 100), ("long", 3000)):
        prediction = VideoPrediction(model, Endless(count), VideoOptions())  # type: ignore[arg-type]
        prediction.write(tmp_path / f"{name}.trace.npz")
        used.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
    assert used[1] - used[0] < 500 * MEGABYTE
    assert len(read_result(tmp_path / "long.trace.npz").row_frame) > 8500


@pytest.mark.nightly
def test_ten_minutes_of_video_need_no_more_memory_than_one(
    packs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is decoded, with the camera followed in the pictures; stopped once in the middle, and gone on."""
    open_spotter(monkeypatch)
    predictor, pictures, used = Predictor("weights", packs=packs), frames(105, people=3), []
    for minutes in (1, 10):
        video = tmp_path / f"minutes-{minutes}.mp4"
        writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*"mp4v"), 30.0, (96, 72))
        for number in range(minutes * 1800):
            writer.write(np.ascontiguousarray(pictures[number % len(pictures)][..., ::-1]))
        writer.release()
        out, half = tmp_path / f"minutes-{minutes}.trace.npz", minutes * 904  # whole chunks
        with pytest.raises(InterruptedRun):
            predictor.prepare(video).write(out, progress=StopAt(half))
        report = predictor.prepare(video).write(out)
        assert report.frames == minutes * 1800 and report.people >= 3 and report.continued == half
        used.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
    assert used[1] - used[0] < 150 * MEGABYTE
