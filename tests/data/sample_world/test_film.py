"""Videos of the sample world: what happens in them, and that their truth is what their pictures show."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from repository import ROOT

from trace_data.frames.footage import open_footage
from trace_data.progress import SILENT
from trace_data.results.camera_files import read_camera_file
from trace_data.results.file import read_result
from trace_data.sample_world import tasks
from trace_data.sample_world.film import FPS, FRAMES, Film, FilmFrame, draw_film, name_of, render_film
from trace_data.sample_world.film_files import TRUTH, VIDEO, truth_of, write_film
from trace_data.sample_world.people import cast, people_of
from trace_data.schema.keypoints import ALL_44

EVERY = 5
HEIGHT = 96
INNER = [ALL_44.index(f"{side}_{name}") for side in "LR" for name in ("Knee", "Ankle", "Shoulder", "Elbow", "Hip")]
"""Joints well inside the limbs."""
MOVING, STATIC, CUT = range(3)


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A film, each fifth of its pictures, and the truth of these."""

    film: Film
    frames: list[FilmFrame]
    visible: npt.NDArray[np.float64]
    """(P, frames)."""
    truth: dict[str, Any]

    def rows(self, person: int, frame: int) -> npt.NDArray[np.int64]:
        return np.flatnonzero((self.truth["row_person"] == person) & (self.truth["row_frame"] == EVERY * frame))


@pytest.fixture(scope="module", params=[MOVING, STATIC, CUT], ids=["moving", "static", "cut"])
def shown(request: pytest.FixtureRequest) -> Shown:
    film = draw_film(4, request.param, HEIGHT)
    frames = list(render_film(film, every=EVERY))
    boxes, visible = np.full((3, FRAMES, 4), np.nan), np.zeros((3, FRAMES))
    boxes[:, ::EVERY] = np.stack([frame.boxes for frame in frames], axis=1)
    visible[:, ::EVERY] = np.stack([frame.visible for frame in frames], axis=1)
    return Shown(film=film, frames=frames, visible=visible[:, ::EVERY], truth=truth_of(film, boxes, visible, 4))


def test_people_enter_leave_and_hide_for_two_seconds(shown: Shown) -> None:
    hidden = shown.visible < 0.05
    assert (hidden[:, 0] | hidden[:, -1] | (shown.visible.min(1) > 0.5)).any(), "nobody enters or leaves"
    assert (shown.visible.max(1) > 0.9).all(), "somebody is never seen whole"
    longest = max(_between_sights(hidden[person]) for person in range(3)) * EVERY / FPS
    assert 1.5 <= longest <= 3.2
    pillar = [frame.seen.actor == frame.actors.index(-1) for frame in shown.frames]
    assert all(np.isin(frame.seen.ids, 1 + np.flatnonzero(of)).any() for frame, of in zip(shown.frames, pillar))


def _between_sights(hidden: npt.NDArray[np.bool_]) -> int:
    """Frames in the longest run of hidden ones that has seen ones before and after it."""
    seen = np.flatnonzero(~hidden)
    return int(np.diff(seen).max()) - 1


def test_people_hide_each_other_when_they_cross(shown: Shown) -> None:
    crossed = 0
    for frame in shown.frames:
        first, second = frame.boxes[0], frame.boxes[1]
        over = np.minimum(first[:2] + first[2:], second[:2] + second[2:]) - np.maximum(first[:2], second[:2])
        crossed += bool((over > 0).all()) and 0.2 < frame.visible[:2].min() < 0.97
    assert crossed >= 1


def test_nobody_walks_through_anybody_or_the_pillar(shown: Shown) -> None:
    people = [performance.points[::EVERY, ::5] for performance in shown.film.performances]
    pillar = np.broadcast_to(shown.film.pillar.points, (len(people[0]), *shown.film.pillar.points.shape))
    for number, person in enumerate(people):
        for other in people[:number]:
            assert _gap(person, other) > 0.02
            assert np.linalg.norm(person.mean(1) - other.mean(1), axis=-1).min() > 0.5
        assert _gap(person, pillar) > 0.03
        assert np.linalg.norm(person.mean(1) - pillar.mean(1), axis=-1).min() > 0.5


def _gap(first: npt.NDArray[np.float64], second: npt.NDArray[np.float64]) -> float:
    """Least distance of the points of two things in any frame, as seen from above, m."""
    return float(np.linalg.norm(first[:, :, None, [0, 2]] - second[:, None, :, [0, 2]], axis=-1).min())


def test_joints_lie_within_the_painted_person(shown: Shown) -> None:
    checked = 0
    for number, frame in enumerate(shown.frames):
        for actor, person in enumerate(frame.actors):
            if person < 0 or frame.visible[person] < 1:
                continue
            painted = np.isin(frame.seen.ids, 1 + np.flatnonzero(frame.seen.actor == actor)).astype(np.uint8)
            near = cv2.dilate(painted, np.ones((5, 5), np.uint8))
            (row,) = shown.rows(person, number)
            x, y = np.rint(2 * shown.truth["joints_2d"][row][INNER] + 0.5).astype(int).T
            assert near[y, x].all()
            checked += 1
    assert checked >= 5


def test_boxes_are_around_painted_pixels(shown: Shown) -> None:
    for number, frame in enumerate(shown.frames):
        for actor, person in enumerate(frame.actors):
            if person < 0 or frame.visible[person] < 1:
                continue
            y, x = np.nonzero(np.isin(frame.seen.ids, 1 + np.flatnonzero(frame.seen.actor == actor)))
            (row,) = shown.rows(person, number)
            left, top, width, height = shown.truth["box"][row]
            found = np.array([x.min(), y.min(), x.max() + 1, y.max() + 1]) / 2 - 0.5
            np.testing.assert_allclose([left, top, left + width, top + height], found, atol=0.01)


def test_shares_are_of_the_whole_person(shown: Shown) -> None:
    """Whoever is partly outside the picture, or behind something, has a share between 0 and 1, and a row."""
    width, height = shown.film.size
    row = {"row_person": shown.truth["row_person"], "row_frame": shown.truth["row_frame"]}
    low, size = shown.truth["box"][:, :2], shown.truth["box"][:, 2:]
    whole = (low >= -0.5).all(1) & (low + size <= [width - 0.5, height - 0.5]).all(1)
    assert (shown.truth["visible"][~whole] < 1).all()
    assert (shown.truth["state"] == np.where(shown.truth["visible"] > 0, 0, 2)).all()
    assert len(np.unique(np.stack(list(row.values())), axis=1).T) == len(low)


def test_each_camera_does_what_is_said(shown: Shown) -> None:
    for number, kind in enumerate(shown.truth["shot_camera"]):
        camera = shown.truth["camera_from_world"][shown.truth["shot"] == number]
        place = -np.einsum("tji,tj->ti", camera[:, :3, :3], camera[:, :3, 3])
        turned, moved = np.abs(camera[:, :3, :3] - camera[0, :3, :3]).max(), np.ptp(place, axis=0).max()
        assert (moved > 0.1) == (kind == "moving")
        assert (turned > 0.02) == (kind in ("moving", "turning"))


def test_the_three_kinds_of_videos() -> None:
    assert [name_of(number).split("-", 2) for number in range(4)] == [
        ["synthetic", "01", "moving"], ["synthetic", "02", "static"], ["synthetic", "03", "cut"],
        ["synthetic", "04", "moving"],
    ]  # fmt: skip


def test_nobody_is_in_a_training_sequence() -> None:
    training = {person for role in cast(0, 320) if role.split == "train" for person in role.people}
    for number in (MOVING, STATIC):
        people = {performance.person.index for performance in draw_film(0, number, 64, frames=2).performances}
        assert people <= set(people_of("test")) and not people & training and len(people) == 3


def test_the_same_seed_makes_the_same_files(tmp_path: Path) -> None:
    for folder, seed in (("first", 0), ("again", 0), ("other", 1)):
        write_film(tmp_path / folder, seed, MOVING, 64, frames=6)
    for suffix in (VIDEO, TRUTH):
        first, again, other = (
            (tmp_path / folder / f"{name_of(MOVING)}{suffix}").read_bytes() for folder in ("first", "again", "other")
        )
        assert first == again != other
    assert not list((tmp_path / "first").glob("_*"))


def test_the_readers_agree_with_the_truth(tmp_path: Path) -> None:
    """The truth is a result that fulfils everything a result has to, and the video has its frames, size and times."""
    name = write_film(tmp_path, 4, CUT, 64, frames=130)
    result = read_result(tmp_path / f"{name}{TRUTH}")
    footage = open_footage([tmp_path / f"{name}{VIDEO}"])
    frames = list(footage.frames())
    assert len(result.person) == 3 and len(result.row_frame) > 100 and result.about["synthetic"] is True
    assert footage.facts.size == tuple(result.image_size)
    np.testing.assert_allclose([frame.time for frame in frames], result.time, atol=1e-6)
    np.testing.assert_array_equal([frame.number for frame in frames], result.frame_id)
    camera = read_camera_file(tmp_path / f"{name}{TRUTH}")
    np.testing.assert_array_equal(camera.camera_from_world, result.camera_from_world)
    with np.load(tmp_path / f"{name}{TRUTH}", allow_pickle=False) as raw:
        assert raw["visible"].shape == raw["row_frame"].shape
        assert len(raw["shot_camera"]) == raw["shot"].max() + 1 == 2


WRITERS = ("film", "film_files", "walks", "pillar", "recorded")


def test_the_truth_is_made_by_other_code_than_it_tests() -> None:
    motions = sorted((ROOT / "trace_data/motions").glob("*.py"))
    assert len(motions) > 1
    for file in (*motions, *(ROOT / f"trace_data/sample_world/{name}.py" for name in WRITERS)):
        text = file.read_text()
        assert not any(f"trace_data.{room}" in text for room in ("frames", "results", "export", "shards"))


def test_a_finished_video_is_not_drawn_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []

    def write(folder: Path, seed: int, number: int, height: int, *, motions: object) -> str:
        drawn.append((number, height))
        return write_film(folder, seed, number, height, frames=2)

    monkeypatch.setattr(tasks, "write_film", write)
    for _ in range(2):
        for task in tasks.waiting_films(tmp_path / tasks.VIDEOS, tasks.films_of(2, 72, iter(()))):
            tasks.draw(tmp_path, 0, 4, 64, task, SILENT)
    assert drawn == [(0, 72), (1, 72)]
