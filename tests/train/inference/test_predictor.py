"""Videos to results: the same whatever the chunks, interruptions and gaps; live pictures; geometry; bad input."""

from __future__ import annotations

import os
import signal
from dataclasses import fields
from pathlib import Path

import cv2
import numpy as np
import pytest
from small_disk import filled, mounted
from spotted import folder_of, open_spotter, video_of
from spotter import frames
from tiny_runs import StopAt

from trace_data.errors import ConfigError, FootageError, InterruptedRun, OutputError, TraceError
from trace_data.progress import Progress
from trace_data.results import writer
from trace_data.results.file import partial_of, read_result
from trace_data.results.result import SEEN, Result
from trace_train.config.world import WorldConfig
from trace_train.inference import Predictor, VideoOptions
from trace_train.weights.folder import RELEASED

RATE = VideoOptions(frame_rate=30.0)


@pytest.fixture
def predictor(packs: Path, monkeypatch: pytest.MonkeyPatch) -> Predictor:
    open_spotter(monkeypatch)
    return Predictor("weights", packs=packs)


def configured(packs: Path, *settings: str) -> Predictor:
    return Predictor("weights", packs=packs, config=settings)


def arrays(result: Result) -> dict[str, np.ndarray]:
    return {f.name: getattr(result, f.name) for f in fields(result) if isinstance(getattr(result, f.name), np.ndarray)}


def shot(count: int, brightness: tuple[int, int]) -> list[np.ndarray]:
    """`frames` before a ground with details."""
    coarse = np.random.default_rng(brightness[0]).integers(*brightness, (9, 12, 3), dtype=np.uint8)
    coarse[..., 0] //= 1 + (brightness[0] < 50)  # other colours too
    ground = cv2.resize(coarse, (96, 72), interpolation=cv2.INTER_LINEAR)
    people = [(np.abs(picture.astype(int) - 115).max(-1, keepdims=True) > 40, picture) for picture in frames(count)]
    return [np.where(there, picture, ground) for there, picture in people]


# --- one result --------------------------------------------------------------------------------------------------


def test_everybody_keeps_one_identity_through_a_time_out_of_sight(predictor: Predictor, tmp_path: Path) -> None:
    result = predictor.run(video_of(tmp_path / "walk", 40, hidden=range(15, 24)), options=RATE)
    assert result.person.tolist() == [1, 2] and len(result.time) == 40
    assert [len(result.rows_of(person)) for person in (0, 1)] in ([40, 31], [31, 40])
    assert (result.state == SEEN).all() and result.camera_observed.all()
    assert np.allclose(result.time, np.arange(40) / 30)
    assert result.about["camera_source"] == "static" and result.about["scale"] == "assumed from fov 50"
    # the world projects to where the joints are
    frame = result.row_frame
    camera = result.camera_from_world[frame]
    points = np.einsum("nij,nkj->nki", camera[:, :3, :3], result.joints) + camera[:, None, :3, 3]
    image = points @ result.intrinsics[0].T
    assert np.abs(image[..., :2] / image[..., 2:] - result.joints_2d[:, :24]).max() < 0.01


@pytest.mark.parametrize("chunk", [1, 13])
def test_the_length_of_chunks_changes_nothing(predictor: Predictor, packs: Path, tmp_path: Path, chunk: int) -> None:
    video = video_of(tmp_path / "walk", 26, hidden=range(9, 12))
    ours, theirs = (one.run(video, options=RATE) for one in (predictor, configured(packs, f"chunk={chunk}")))
    for name, values in arrays(ours).items():
        if values.dtype.kind == "f":
            scale = 2e-3 if name in ("joints_2d", "box") else 1e-5  # px
            np.testing.assert_allclose(getattr(theirs, name), values, rtol=1e-5, atol=scale, err_msg=name)
        else:
            assert np.array_equal(getattr(theirs, name), values), name


@pytest.mark.parametrize("published", [False, True])
def test_an_interrupted_run_goes_on_to_the_same_bits(
    packs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, published: bool
) -> None:
    open_spotter(monkeypatch, RELEASED if published else None)
    monkeypatch.setattr(writer, "PART_FRAMES", 16)
    predictor = configured(packs, *(["tracker.kind=published", "tracker.published.people=2"] if published else []))
    video = video_of(tmp_path / "walk", 43, hidden=range(20, 27))
    whole = predictor.prepare(video, RATE).write(tmp_path / "whole.trace.npz")
    assert whole.continued == 0 and whole.people >= 2
    out = tmp_path / "parts.trace.npz"
    for stop in (8, 24):
        with pytest.raises(InterruptedRun, match="same command"):
            predictor.prepare(video, RATE).write(out, progress=StopAt(stop))
        assert not out.exists() and partial_of(out).is_dir()
    with pytest.raises(OutputError, match="other options"):
        predictor.prepare(video, VideoOptions(frame_rate=25.0)).write(out)
    report = predictor.prepare(video, RATE).write(out)
    assert report.continued == 32 and not partial_of(out).exists()
    assert (report.frames, report.people, report.rows) == (whole.frames, whole.people, whole.rows)
    assert out.read_bytes() == (tmp_path / "whole.trace.npz").read_bytes()


@pytest.mark.parametrize("moment", ["before the first part", "at the end"])
def test_a_full_disk_costs_no_frame(
    predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """The disk gets full after 8 frames; at 16 a part is due, or the result after 20."""
    if moment == "before the first part":
        monkeypatch.setattr(writer, "PART_FRAMES", 16)
    video = video_of(tmp_path / "walk", 20)
    predictor.prepare(video, RATE).write(tmp_path / "whole.trace.npz")
    with mounted(tmp_path / "disk", "33m") as disk:

        class Filled(Progress):
            def advance(self, amount: int = 1, detail: str = "") -> None:
                if not (disk / "of somebody else").exists():
                    filled(disk)

        kept = 16 if moment == "before the first part" else 20
        with pytest.raises(OutputError, match=f"{kept} frames are kept") as caught:
            predictor.prepare(video, RATE).write(disk / "a.trace.npz", progress=Filled())
        assert "same command" in str(caught.value.hint) and not (disk / "a.trace.npz").exists()
        (disk / "of somebody else").unlink()
        assert predictor.prepare(video, RATE).write(disk / "a.trace.npz").continued == kept
        assert (disk / "a.trace.npz").read_bytes() == (tmp_path / "whole.trace.npz").read_bytes()


def test_frames_that_cannot_be_read_are_gaps_and_not_pictures(predictor: Predictor, tmp_path: Path) -> None:
    video = video_of(tmp_path / "walk", 24)
    for number in (9, 10):
        (video / f"{number:05d}.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    report = predictor.prepare(video, RATE).write(tmp_path / "walk.trace.npz")
    result = read_result(tmp_path / "walk.trace.npz")
    assert report.gaps == 2 and any("frame 9" in line for line in report.warnings)
    assert result.person.tolist() == [1, 2] and len(result.time) == 24
    assert set(result.row_frame.tolist()) == set(range(24)) - {9, 10}


def test_a_cut_begins_another_shot(predictor: Predictor, packs: Path, tmp_path: Path) -> None:
    video = folder_of(tmp_path / "cut", [*shot(13, (64, 180)), *shot(12, (10, 90))])
    assert predictor.run(video, options=RATE).about["camera"]["cuts"] == 1
    assert "cuts" not in configured(packs, "cuts.detect=false").run(video, options=RATE).about["camera"]


def test_start_end_and_stride_keep_true_times(predictor: Predictor, tmp_path: Path) -> None:
    options = VideoOptions(frame_rate=30.0, start=0.2, end=0.9, stride=2)
    result = predictor.run(video_of(tmp_path / "walk", 40), options=options)
    assert result.frame_id.tolist() == list(range(6, 27, 2))
    assert np.allclose(result.time, result.frame_id / 30)


@pytest.mark.parametrize("lens", [{"focal": 70.0}, {"fov": 80.0}])
def test_a_known_lens_changes_depth_and_keeps_the_place_in_the_picture(
    predictor: Predictor, tmp_path: Path, lens: dict[str, float]
) -> None:
    video = video_of(tmp_path / "walk", 12)
    assumed, known = (predictor.run(video, options=VideoOptions(frame_rate=30.0, **given)) for given in ({}, lens))  # type: ignore[arg-type]
    focal = known.intrinsics[0, 0, 0] / assumed.intrinsics[0, 0, 0]
    assert known.hips_in_camera[:, 2] == pytest.approx(focal * assumed.hips_in_camera[:, 2], rel=1e-5)
    hips = known.hips_in_camera @ known.intrinsics[0].T
    before = assumed.hips_in_camera @ assumed.intrinsics[0].T
    assert np.abs(hips[:, :2] / hips[:, 2:] - before[:, :2] / before[:, 2:]).max() < 0.01


def test_a_video_may_have_a_camera_of_its_own(predictor: Predictor, packs: Path, tmp_path: Path) -> None:
    video, places = video_of(tmp_path / "walk", 12), [tmp_path / f"{name}.trace.npz" for name in ("own", "all", "none")]
    predictor.prepare(video, RATE, world=WorldConfig(camera="moving")).write(places[0])
    configured(packs, "world.camera=moving").prepare(video, RATE).write(places[1])
    predictor.prepare(video, RATE).write(places[2])
    own, everybody, none = (read_result(place) for place in places)
    assert places[0].read_bytes() == places[1].read_bytes()
    assert own.about["camera_source"] == everybody.about["camera_source"] != none.about["camera_source"] == "static"


def test_nobody_anywhere_is_a_result_without_rows(predictor: Predictor, tmp_path: Path) -> None:
    report = predictor.prepare(video_of(tmp_path / "empty", 9, people=0), RATE).write(tmp_path / "e.trace.npz")
    result = read_result(tmp_path / "e.trace.npz")
    assert len(result.time) == 9 and len(result.row_frame) == len(result.person) == report.people == 0
    assert [line for line in report.warnings if "nobody" in line] and result.camera_from_world.shape == (9, 4, 4)


def test_one_picture_is_a_video_too(predictor: Predictor, tmp_path: Path) -> None:
    result = predictor.run(folder_of(tmp_path / "one", frames(1, people=3)))
    assert len(result.time) == 1 and len(result.row_frame) == 3


# --- live --------------------------------------------------------------------------------------------------------


def test_live_pictures_show_people_once_they_are_confirmed(predictor: Predictor, tmp_path: Path) -> None:
    pictures = frames(12)
    seen = [predictor.step(picture, number / 30) for number, picture in enumerate(pictures)]
    assert not seen[0].people and set(seen[-1].people) == {1, 2}
    result = predictor.run(folder_of(tmp_path / "walk", pictures), options=RATE)
    for person, identity in enumerate((1, 2)):
        row = result.rows_of(person)[-1]
        body = seen[-1].people[identity]
        assert body.hips == pytest.approx(result.hips_in_camera[row], abs=1e-4)
        assert body.pose.shape == (24, 3) and body.score == pytest.approx(result.score[row])
    predictor.reset()
    assert not predictor.step(pictures[0], 0.0).people


# --- bad input ---------------------------------------------------------------------------------------------------


def test_bad_input_is_one_error_and_leaves_nothing(predictor: Predictor, packs: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "none").mkdir()
    for name in ("missing.mp4", "empty.mp4", "text.mp4", "none"):
        with pytest.raises(FootageError) as found:
            predictor.prepare(tmp_path / name)
        assert name in str(found.value)
    video = video_of(tmp_path / "walk", 3)
    with pytest.raises(FootageError, match="start"):
        predictor.prepare(video, VideoOptions(start=50.0)).write(tmp_path / "late.trace.npz")
    assert not [*tmp_path.glob("late*")]
    predictor.prepare(video).write(tmp_path / "walk.trace.npz")
    with pytest.raises(OutputError, match="exists"):
        predictor.prepare(video).write(tmp_path / "walk.trace.npz")
    predictor.prepare(video).write(tmp_path / "walk.trace.npz", force=True)
    with pytest.raises(ConfigError, match=r"tracker\.remembr"):
        configured(packs, "tracker.remembr=2")
    with pytest.raises(ConfigError, match="device"):
        Predictor("weights", packs=packs, device="nonsense")
    with pytest.raises(TraceError):
        Predictor("weights", packs=tmp_path / "nowhere")


def test_an_interruption_in_the_first_chunk_loses_nothing_that_was_done(predictor: Predictor, tmp_path: Path) -> None:
    video, out = video_of(tmp_path / "walk", 20), tmp_path / "walk.trace.npz"

    class AtOnce(StopAt):
        def begin(self, title: str, total: int, unit: str = "items") -> None:
            assert total == 20
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(InterruptedRun, match="8 frames"):
        predictor.prepare(video, RATE).write(out, progress=AtOnce(0))
    assert predictor.prepare(video, RATE).write(out).continued == 8
