"""A mirrored clip is one that a camera could have taken: everything in it agrees as it did before."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from clips import WIDTH, make_clip

from trace_data.assets.body_model import BodyModel
from trace_data.geometry import project, transform
from trace_data.schema.clip import ClipAnnotations, Window
from trace_data.schema.keypoints import FLIP_24, FLIP_44
from trace_train.streaming.mirror import mirrored
from trace_train.streaming.views import mirror_map

# docs/reference/joints.md#source-joints-of-the-44, column "L/R flip"; and
# docs/reference/joints.md#horizontal-flip with the two hands
PUBLISHED_44 = (
    0, 2, 1, 3, 5, 4, 6, 8, 7, 9, 11, 10, 12, 14, 13, 15, 17, 16, 19, 18, 21, 20, 23, 22, 24, 26, 25, 28, 27, 32, 33,
    34, 29, 30, 31, 36, 35, 37, 38, 39, 40, 41, 42, 43,
)  # fmt: skip
PUBLISHED_22 = (0, 2, 1, 3, 5, 4, 6, 8, 7, 9, 11, 10, 12, 14, 13, 15, 17, 16, 19, 18, 21, 20)


def test_the_permutations_are_the_published_ones() -> None:
    assert FLIP_44 == PUBLISHED_44
    assert (*PUBLISHED_22, 23, 22) == FLIP_24


def test_projected_mirrored_joints_meet_mirrored_pixels() -> None:
    for seed in range(5):
        clip = mirrored(make_clip(seed))
        for person in range(2):
            camera = transform(clip.camera_from_world, clip.kp3d[person, ..., :3])
            error = project(clip.intrinsics, camera) - clip.kp2d[person, ..., :2]
            assert np.abs(error).max() < 1e-3, "float32 pixels"
        rotation = clip.camera_from_world[:, :3, :3].astype(float)
        np.testing.assert_allclose(np.linalg.det(rotation), 1, atol=1e-5)
        np.testing.assert_allclose(rotation @ rotation.transpose(0, 2, 1), np.tile(np.eye(3), (10, 1, 1)), atol=1e-5)


def test_pixel_centres_are_mirrored_not_edges() -> None:
    """The left-most pixel becomes the right-most; the published W - x would put it outside the frame."""
    clip = make_clip(0)
    clip.kp2d[0, 0, 4] = (0, 7, 1)  # a left knee
    assert mirrored(clip).kp2d[0, 0, 5].tolist() == [WIDTH - 1, 7, 1]
    assert (mirror_map(WIDTH) @ (0, 7, 1)).tolist() == [WIDTH - 1, 7, 1]
    window = Window(left=10.25, top=3.0, side=100.5)
    np.testing.assert_allclose(  # crop, then mirror = mirror, then crop
        mirror_map(64) @ window.crop_from_frame(64),
        window.mirrored(WIDTH).crop_from_frame(64) @ mirror_map(WIDTH),
        atol=1e-9,
    )


def test_missing_points_stay_missing_and_twice_is_the_original() -> None:
    clip = make_clip(1)
    clip.kp2d[0, :, 20], clip.kp3d[0, :, 20] = 0, 0
    absent = {**clip.masks, "center": np.array([[True] * 5 + [False] * 5, [True] * 10])}
    clip = replace(clip, masks=absent, center=clip.center * absent["center"][..., None])
    clip = replace(clip, box=clip.box * absent["center"][..., None])
    once = mirrored(clip)
    assert not once.kp2d[0, :, 21].any() and not once.kp3d[0, :, 21].any() and once.kp2d[0, :, 20].any()
    assert not once.box[0, 5:].any() and (once.box[..., 2] >= once.box[..., 0]).all()
    twice = mirrored(once)
    for name in ClipAnnotations.__slots__:
        if isinstance(getattr(clip, name), np.ndarray):
            np.testing.assert_allclose(getattr(twice, name), getattr(clip, name), atol=1e-3, err_msg=name)


@pytest.mark.parametrize("gender", ["neutral", "male", "female"])
def test_mirrored_parameters_pose_the_mirrored_body(packs: Path, gender: str) -> None:
    """The sample's bodies are exactly symmetric at rest; their pose corrections are so to a part of a millimetre."""
    body = BodyModel.load(packs / f"SMPL_{gender.upper()}.pth")
    clip = make_clip(2, people=1)
    again = mirrored(clip)
    expected = body.joints44(clip.pose[0], clip.betas[0], clip.translation[0])[:, FLIP_44] * (-1, 1, 1)
    found = body.joints44(again.pose[0], again.betas[0], again.translation[0])
    assert np.abs(expected - found)[:, :24].max() < 1e-6
    assert np.abs(expected - found).max() < 1e-3
    assert np.abs(expected[:, FLIP_44] - found).max() > 0.1, "left and right are exchanged"
