"""The page of a result: everything inside it, its numbers, its size, and results at the edges."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from example_result import example_result
from page_numbers import PageNumbers
from turned_results import nobody, one_frame

from trace_data.export.mesh import FreeMeshes
from trace_data.export.skeleton import global_rotations
from trace_data.geometry import matrix_from_axis_angle, project, transform
from trace_data.results.result import Result
from trace_data.results.scene import SceneOptions, arrange
from trace_data.schema.keypoints import SMPL_PARENTS
from trace_data.view.from_result import scene_of
from trace_data.view.page import page_text
from trace_data.view.scene import ShownScene, Stills

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&"


@cache
def arranged() -> Result:
    return arrange(example_result(frames=30), SceneOptions())


def page_of(result: Result, title: str = "walk", *, skeletons: bool = False) -> str:
    return page_text(scene_of(result, title, None if skeletons else FreeMeshes(), picture=None))


def joints_on(page: PageNumbers, person: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """(R, 24, 3) from the numbers on the page alone, as its script poses them."""
    entry = page.scene["people"][person]
    rest = page.array(entry["rest"]).reshape(24, 3).astype(np.float64)
    turned = global_rotations(matrix_from_axis_angle(page.pose(person)))
    out = np.empty((len(turned), 24, 3))
    out[:, 0] = page.array(entry["place"]).reshape(-1, 3)
    for joint, parent in enumerate(SMPL_PARENTS[1:], start=1):
        out[:, joint] = out[:, parent] + turned[:, parent] @ (rest[joint] - rest[parent])
    return out


def test_numbers_are_those_of_the_result() -> None:
    result, page = arranged(), PageNumbers(page_of(arranged()))
    assert page.array(page.scene["time"]) == pytest.approx(result.time)
    cameras = np.tile(np.eye(4), (len(result.time), 1, 1))
    cameras[:, :3] = page.array(page.scene["cameras"]).reshape(-1, 3, 4)
    assert len(page.scene["people"]) == 3
    for person, entry in enumerate(page.scene["people"]):
        rows = result.rows_of(person)
        assert (page.array(entry["frames"]) == result.row_frame[rows]).all()
        assert (page.array(entry["state"]) == result.state[rows]).all()
        joints = joints_on(page, person)
        assert np.abs(joints - result.joints[rows]).max() < 5e-4
        shown = project(result.intrinsics, transform(cameras[result.row_frame[rows]], joints))
        assert np.abs(shown - result.joints_2d[rows, :24]).max() < 0.1


def test_meshes_are_shared_and_their_weights_sum_to_one() -> None:
    page = PageNumbers(page_of(arranged()))
    (surface,) = page.scene["surfaces"]
    assert (page.array(surface["weights"]).reshape(-1, 4).sum(axis=1, dtype=int) == 255).all()
    for person, entry in enumerate(page.scene["people"]):
        mesh = FreeMeshes().of(arranged(), person)
        vertices = page.array(entry["mesh"]["vertices"]).reshape(-1, 3) * (entry["mesh"]["size"] / 32767)
        assert np.abs(vertices - mesh.vertices).max() < 1e-4


def test_nothing_is_fetched() -> None:
    page = page_of(arranged())
    assert not re.search(r"https?://|//cdn|@import|url\(|fetch\(|XMLHttpRequest|import\s*\(", page)
    assert not re.search(r'\b(?:src|href)="', page)


def test_hostile_names_stay_text() -> None:
    result = arranged()
    named = replace(
        result,
        about={**result.about, "video": {"name": HOSTILE}, "warnings": [HOSTILE], "licence": HOSTILE},
        person_name=np.array([HOSTILE, "", "\udcff"]),
    )
    page = page_of(named, HOSTILE)
    assert "<script>alert" not in page and "<img src=x" not in page
    assert page.count("<script") == page.count("</script>") == page_of(result).count("<script")
    assert PageNumbers(page).scene["people"][0]["label"] == HOSTILE


def test_a_minute_of_three_people_is_small() -> None:
    short, long = (len(page_of(arrange(example_result(frames=frames), SceneOptions()))) for frames in (30, 60))
    assert short + (long - short) / 30 * (1800 - 30) < 5e6


def test_facts_tell_where_numbers_are_from() -> None:
    page = page_of(arranged())
    facts = page[page.index("<table") : page.index("</table>")]
    for words in (
        "zwei Wege.mp4", "30 a second, from time stamps", "520 px", "metric: true", "CC0", "predicted", "absent",
    ):  # fmt: skip
        assert words in facts


def test_without_surfaces_people_are_skeletons() -> None:
    page = PageNumbers(page_of(arranged(), skeletons=True))
    assert not page.scene["surfaces"] and all("mesh" not in entry for entry in page.scene["people"])
    assert "skeletons" in page_of(arranged(), skeletons=True)


@pytest.mark.parametrize("few", [nobody, one_frame])
def test_few_people_or_frames(few: Callable[[Result], Result]) -> None:
    page = page_of(arrange(few(example_result(frames=30)), SceneOptions()))
    assert ("<p>nobody, 30 frames" in page) == (few is nobody)


def test_frames_are_inside_and_follow_the_time(tmp_path: Path) -> None:
    pictures = Stills(jpegs=[b"first", b"second"], frame=np.repeat([0, 1], 15))
    scene: ShownScene = scene_of(arranged(), "walk", None, picture=pictures)
    page = page_text(scene)
    assert PageNumbers(page).scene["stills"] == [0] * 15 + [1] * 15 and 'id="frames">Zmlyc3Q=\n' in page


@pytest.mark.parametrize(
    ("degrees", "metres", "said"),
    [
        (0.0, 0.0, "the camera stands still"),
        (4.0, 0.0, "turns by 4.0° on the spot"),
        (4.0, 0.1, "the camera moves 0.9 m"),
    ],
)
def test_a_camera_that_turns_does_not_stand_still(degrees: float, metres: float, said: str) -> None:
    result = example_result(frames=10, moving=False)
    turn = np.zeros((10, 3))
    turn[:, 1] = np.radians(np.linspace(0, degrees, 10))
    poses = np.tile(np.eye(4), (10, 1, 1))
    poses[:, :3, :3] = matrix_from_axis_angle(turn)
    centre = np.zeros((10, 3))
    centre[:, 0] = metres * np.arange(10)
    poses[:, :3, 3] = -np.einsum("tij,tj->ti", poses[:, :3, :3], centre)
    scene = scene_of(replace(result, camera_from_world=poses), "a turn", None, picture=None)
    assert said in scene.lead
