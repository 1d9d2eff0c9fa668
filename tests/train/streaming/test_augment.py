"""Views: everything about the camera is carried by the windows, people stay in them, and draws are what they should."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from clips import HEIGHT, WIDTH, make_clip

from trace_data.geometry import project, transform
from trace_data.schema.clip import ClipAnnotations, Window
from trace_train.config import DataConfig, load_config
from trace_train.streaming.augment import ViewPlan, full_frame, plan
from trace_train.streaming.person_boxes import damped, held
from trace_train.streaming.synthetic_camera import ACROSS, UPWARDS, pan_curve

SIZE = 128
KINDS = {
    "full frame": {"crop_probability": 0, "camera_probability": 0},
    "crop": {"crop_probability": 1, "camera_probability": 0},
    "shifted crop": {"crop_probability": 1, "camera_probability": 0, "crop_shift": 0.6},
    "tracking": {"camera_probability": 1, "tracking_probability": 1},
    "pan of the frame": {"camera_probability": 1, "tracking_probability": 0, "crop_probability": 0},
    "pan of a crop": {"camera_probability": 1, "tracking_probability": 0, "crop_probability": 1},
    "flip": {"flip_probability": 1, "camera_probability": 1},
}


def view_of(seed: int, kind: str, clip: ClipAnnotations | None = None, **more: object) -> ViewPlan:
    settings = DataConfig.model_validate(KINDS[kind] | more)
    return plan(clip or make_clip(seed), np.random.default_rng([seed, 1]), settings)


def solved(pixels: npt.NDArray[np.float64], body: npt.NDArray[np.float64], intrinsics: npt.NDArray[np.float64]):  # type: ignore[no-untyped-def]
    """Where a body (J, 3) of camera axes stands so that it projects to pixels (J, 2): linear least squares."""
    rays = np.concatenate([pixels, np.ones((len(pixels), 1))], 1) @ np.linalg.inv(intrinsics).T
    rows = np.zeros((2 * len(pixels), 3))
    rows[0::2, 0], rows[1::2, 1], rows[0::2, 2], rows[1::2, 2] = 1, 1, -rays[:, 0], -rays[:, 1]
    return np.linalg.lstsq(rows, (rays[:, :2] * body[:, 2:] - body[:, :2]).reshape(-1), rcond=None)[0]


@pytest.mark.parametrize("kind", KINDS)
def test_project_crop_solve_reproject(kind: str) -> None:
    """The window's map is all that is needed: people solved from the crop stand where they stand in the world."""
    for seed in range(12):
        view = view_of(seed, kind)
        clip, maps = view.annotations, view.crop_from_frame(SIZE)
        for person in range(2):
            camera = transform(clip.camera_from_world, clip.kp3d[person, ..., :3])
            annotated = np.einsum("tij,tkj->tki", maps[:, :2, :2], clip.kp2d[person, ..., :2].astype(float))
            annotated += maps[:, None, :2, 2]
            for t in (0, 4, 9):
                crop = maps[t] @ clip.intrinsics[t]
                hips = camera[t, 35:37].mean(0)
                found = solved(annotated[t], camera[t] - hips, crop)
                assert np.abs(found - hips).max() < 1e-3
                assert np.abs(project(crop, camera[t] - hips + found) - annotated[t]).max() < 0.01


@pytest.mark.parametrize("kind", [k for k in KINDS if k != "flip"])
def test_somebody_stays_in_every_window(kind: str) -> None:
    for seed in range(40):
        for scale in ((1.0, 1.2), (1.3, 3.0)):
            view = view_of(seed, kind, make_clip(seed, people=1 + seed % 3, walk=2.0), crop_scale=scale)
            center = view.annotations.center + 0.5
            low = np.array([(w.left, w.top) for w in view.windows])
            side = np.array([w.side for w in view.windows])[:, None]
            inside = ((center >= low - 1e-6) & (center <= low + side + 1e-6)).all(-1)
            assert inside.all(1).any(), "one and the same person, in every frame"


def test_a_window_smaller_than_its_people_is_moved_onto_one_of_them() -> None:
    path, centers = np.zeros((3, 2)), np.array([[8.0, 0], [9, 1], [10, 2]])
    np.testing.assert_allclose(held(path, centers, 5.0), np.tile([5.0, 0], (3, 1)))
    np.testing.assert_allclose(held(path, centers * 10, 5.0)[0], [75, 0], err_msg="no shift does: the first counts")
    np.testing.assert_array_equal(held(path, centers, 20.0), path)
    assert damped(np.array([[4.0, 0], [0, 0]]), np.zeros(2), np.array([[-3.0, 0], [0, 0]]), 5.0)[0, 0] == 2.0
    np.testing.assert_array_equal(damped(path + 3, np.zeros(2), np.full((3, 2), np.nan), 1.0), path + 3)


def test_at_rest_in_the_world_and_moving_in_the_crop() -> None:
    moved = 0
    for seed in range(20):
        view = view_of(seed, "pan of a crop", make_clip(seed, walk=0.0))
        clip, maps = view.annotations, view.crop_from_frame(SIZE)
        assert np.abs(np.diff(clip.kp3d[..., :3], axis=1)).max() == 0
        assert np.abs(np.diff(clip.camera_from_world, axis=0)).max() == 0
        in_crop = np.einsum("tij,ptkj->ptki", maps[:, :2, :2], clip.kp2d[..., :2]) + maps[:, None, :2, 2]
        motion = np.diff(in_crop, axis=1)
        assert np.ptp(motion, axis=2).max() < 1e-3, "a pan moves everything alike"
        assert view.camera_moves == (np.abs(motion).max() > 0)
        assert len({w.side for w in view.windows}) == 1
        moved += view.camera_moves
    assert moved > 15


def test_tracking_follows_and_does_not_jump_with_a_joint_that_comes_and_goes() -> None:
    clip = make_clip(3, people=1, walk=2.0)
    view = view_of(3, "tracking", clip)
    middle = np.array([w.left + w.side / 2 for w in view.windows])
    walked = np.diff(clip.kp2d[0, :, 4, 0].astype(float))
    np.testing.assert_allclose(np.diff(middle), walked, rtol=0.25)
    assert any(w.left != round(w.left) for w in view.windows), "never rounded to pixels"
    outermost = int(clip.kp2d[0, 5, :, 0].argmax())
    clip.kp2d[0, 5, outermost] = 0
    path = np.array([w.left for w in view_of(3, "tracking", clip).windows])
    assert np.abs(np.diff(path, 2)).max() < 1.0
    # the published half size: a drawn factor times the largest half side of the person's boxes
    longest = (clip.box[0, :, 2:] - clip.box[0, :, :2]).max()
    sides = [view_of(s, "tracking", clip, crop_scale=(1.4, 3.0)).windows[0].side / longest for s in range(60)]
    assert 1.4 <= min(sides) < 1.6 and 2.8 < max(sides) <= 3.0


def test_nobody_throughout_shows_the_full_frame() -> None:
    clip = make_clip(0)
    there = clip.masks["center"].copy()
    there[:, 4] = False
    clip = replace(clip, masks={**clip.masks, "center": there})
    assert set(view_of(0, "tracking", clip).windows) == {full_frame(WIDTH, HEIGHT)}
    nobody = replace(clip, masks={**clip.masks, "center": np.zeros_like(there)})
    for kind in KINDS:
        window = view_of(0, kind, nobody).windows[0]
        assert window.side == WIDTH, "a pan may still move it"


def test_a_camera_that_moves_gets_no_synthetic_one_and_neither_does_a_single_frame() -> None:
    for seed in range(30):
        assert not view_of(seed, "tracking", make_clip(seed, moving=True)).camera_moves
        assert not view_of(seed, "pan of the frame", make_clip(seed, frames=1)).camera_moves
        dynacam = plan(make_clip(seed, moving=True, dataset="dynacam"), np.random.default_rng(seed), published())
        assert set(dynacam.windows) == {full_frame(WIDTH, HEIGHT)}


def published(**more: object) -> DataConfig:
    return load_config("trace").data.model_copy(update=more)


def test_shares_of_what_is_drawn_are_the_published_ones() -> None:
    clip, trace = make_clip(1), published()
    views = [plan(clip, np.random.default_rng(seed), trace) for seed in range(2000)]
    assert np.mean([view.camera_moves for view in views]) == pytest.approx(0.8, abs=0.04), "static ends of pans count"
    colored = [view.color for view in views if view.color != (1.0, 1.0, 1.0)]
    assert len(colored) / len(views) == pytest.approx(0.2, abs=0.03)
    assert 0.9 <= np.min(colored) < 0.92 and 1.08 < np.max(colored) <= 1.1
    assert not any(view.flip or view.occluder for view in views)
    boxes = clip.box.reshape(-1, 4)
    union = float((boxes[:, 2:].max(0) - boxes[:, :2].min(0)).max())
    fixed = published(camera_probability=0.0)
    still = [plan(clip, np.random.default_rng(seed), fixed).windows[0] for seed in range(1000)]
    assert np.mean([w.side == WIDTH for w in still]) == pytest.approx(0.5, abs=0.05)
    assert max(w.side for w in still) <= 3.0 * union + 1e-6
    other = replace(clip, dataset="somebody's own")
    assert plan(other, np.random.default_rng(0), published()).windows, "a dataset without an entry takes the defaults"


def test_pan_curves_have_the_published_shapes() -> None:
    assert (sum(ACROSS.values()), sum(UPWARDS.values())) == (13, 10)
    rng = np.random.default_rng(0)
    for _ in range(300):
        single, back, shaking = (pan_curve(mode, 10, 0.2, rng) for mode in ("single", "return", "shaking"))
        assert abs(single[0]) <= 0.005 and 0.08 - 0.005 <= abs(single[-1]) <= 0.205
        assert (np.diff(np.sign(single[-1]) * single) > -0.0101).all(), "one way, but for the noise"
        assert np.abs(back).max() <= 0.2 * 1.5 + 0.005
        assert 0 < np.abs(shaking).max() <= 0.05
        assert not pan_curve("static", 10, 0.2, rng).any()
    assert pan_curve("single", 2, 0.2, rng).shape == (2,)


def test_an_occluder_stays_in_the_world_while_the_window_passes() -> None:
    jumps = []
    for seed in range(60):
        view = view_of(seed, "tracking", occlusion_probability=1.0)
        assert view.occluder is not None
        first, middle = view.windows[0], view.occluder.centers
        assert 0.3 <= 2 * view.occluder.half / first.side <= 0.6
        share = (np.median(middle, axis=0) - (first.left, first.top)) / first.side
        assert (share >= 0.25 - 1 / 32).all() and (share <= 0.75 + 1 / 32).all()
        off = np.abs(middle - np.median(middle, axis=0)) / first.side
        assert off.max() <= 2 / 32
        jumps.append((off > 0).any(1).mean())
        # its middle is at (0, 0) of its picture, its right edge at 1
        place = view.occluder.place(view.crop_from_frame(SIZE))
        for t in (0, 9):
            for x, expected in ((0.0, 0.0), (view.occluder.half, 1.0)):
                in_crop = view.windows[t].crop_from_frame(SIZE) @ (*(middle[t] - 0.5 + (x, 0)), 1)
                np.testing.assert_allclose(place[t] @ in_crop, (expected, 0), atol=1e-9)
    assert np.mean(jumps) == pytest.approx(0.1, abs=0.05)


def test_full_frames_hold_everything() -> None:
    assert full_frame(320, 240) == Window(left=0.0, top=-40.0, side=320.0)
    assert full_frame(240, 320) == Window(left=-40.0, top=0.0, side=320.0)
