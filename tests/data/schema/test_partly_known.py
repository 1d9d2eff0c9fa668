"""What of a body or a camera is not known is supervised nowhere, and the rest is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from trace_data.assets.bodies import BodyModels
from trace_data.consistency.sequence import measure
from trace_data.geometry import project
from trace_data.schema.body import BodyParams, BodyPart
from trace_data.schema.camera import Camera, nominal_camera
from trace_data.schema.check import check_record
from trace_data.schema.keypoints import Keypoints
from trace_data.schema.record import Person, SequenceRecord
from trace_data.shards.layout import PEOPLE_COLUMNS
from trace_data.shards.rows import rows_of

FRAMES = 4
JOINTS = np.random.default_rng(0).uniform((-0.5, -0.8, 3.5), (0.5, 0.8, 4.5), (FRAMES, 24, 3))


def record(known: set[BodyPart], camera: Camera, *, points: bool = True, valid: int = FRAMES) -> SequenceRecord:
    """One person whose body is trusted in the first `valid` frames."""
    rng = np.random.default_rng(1)
    body = BodyParams(
        gender="neutral",
        pose=rng.normal(0, 0.2, (FRAMES, 24, 3)),
        betas=rng.normal(0, 1, (FRAMES, 10)),
        translation=rng.normal(0, 1, (FRAMES, 3)),
        known=frozenset(known),
    )
    pixels = project(camera.per_frame(FRAMES)[0], JOINTS)
    seen = np.ones((FRAMES, 24, 1))
    person = Person(
        name="0",
        gender="neutral",
        present=np.ones(FRAMES, bool),
        keypoints2d=Keypoints(layout="SMPL_24", points=np.concatenate([pixels, seen], axis=2)) if points else None,
        joints3d=Keypoints(layout="SMPL_24", points=np.concatenate([JOINTS, seen], axis=2)),
        body=body,
        body_valid=np.arange(FRAMES) < valid,
    )
    return SequenceRecord(
        dataset="3dpw",
        split="train",
        name="a",
        frames=tuple(Path(__file__) for _ in range(FRAMES)),
        frame_ids=np.arange(FRAMES),
        fps=30.0,
        camera=camera,
        people=(person,),
        everyone_annotated=np.ones(FRAMES, bool),
        world_valid=True,
        world_reason="",
    )


def a_camera(*, known: bool = True) -> Camera:
    intrinsics = nominal_camera(200, 300, moving=False).intrinsics
    return Camera(width=200, height=300, intrinsics=intrinsics, camera_from_world=None, moving=False, known=known)


PARTS: dict[BodyPart, tuple[str, ...]] = {
    "root_rotation": ("root_rotation",),
    "body_pose": ("body_pose",),
    "shape": ("shape",),
    "translation": ("translation",),
}


@pytest.mark.parametrize("part", PARTS)
def test_only_the_known_part_has_a_mask_and_numbers(part: BodyPart, packs: Path) -> None:
    made = record({part}, a_camera())
    assert check_record(made) == []
    people = rows_of(made, BodyModels(packs).complete(made)).people
    masks = {name.removeprefix("masks/") for name in PEOPLE_COLUMNS if name.startswith("masks/")}
    held = {name for name in masks if people[f"masks/{name}"].all()}
    assert held == {"center", "pose2d", "joints3d", *PARTS[part]}
    assert not any(people[f"masks/{name}"].any() for name in masks - held)
    assert people["people/pose"][:, 0].any() == (part == "root_rotation")
    assert people["people/pose"][:, 1:].any() == (part == "body_pose")
    assert people["people/betas"].any() == people["people/betas_neutral"].any() == (part == "shape")
    assert people["people/translation"].any() == (part == "translation")
    # the body model adds no joints to a body that cannot be placed
    assert (people["people/kp3d"][..., 3] > 0).sum(1).tolist() == [24] * FRAMES


def test_clips_wait_for_a_body_or_joints_but_not_for_limbs_alone() -> None:
    whole = record({"root_rotation", "body_pose", "shape", "translation"}, a_camera(), valid=2)
    joints = whole.people[0].joints3d
    assert whole.people[0].body is not None and whole.people[0].body.whole and joints is not None
    assert rows_of(whole, {}).usable == (((0, FRAMES),),)
    joints.points[FRAMES - 1] = 0  # neither body nor joints: seen in 2D alone
    assert rows_of(whole, {}).usable == (((0, FRAMES - 1),),)
    limbs = rows_of(record({"body_pose"}, a_camera(), valid=2), {})
    assert limbs.usable == (((0, FRAMES),),)
    np.testing.assert_array_equal(limbs.people["masks/body_pose"], [1, 1, 0, 0])
    assert rows_of(whole, {}).people["masks/world"].tolist() == [1, 1, 0, 0]


def test_nothing_is_projected_by_a_camera_that_is_not_known() -> None:
    known, unknown = (record({"body_pose"}, a_camera(known=flag), points=False) for flag in (True, False))
    assert rows_of(known, {}).people["masks/center"].all()
    assert not rows_of(unknown, {}).people["masks/center"].any()
    assert rows_of(known, {}).frames["frame_masks/intrinsics"].all()
    assert not rows_of(unknown, {}).frames["frame_masks/intrinsics"].any()
    wrong = record({"body_pose"}, a_camera())
    moved = wrong.people[0].joints3d
    assert moved is not None
    moved.points[..., 0] += 0.3
    assert measure(wrong, None).reprojection_px is not None
    as_unknown = record({"body_pose"}, a_camera(known=False))
    assert measure(as_unknown, None).reprojection_px is None


def test_the_nominal_camera_sees_50_degrees_over_the_longer_side() -> None:
    for width, height in ((640, 480), (480, 640)):
        camera = nominal_camera(width, height, moving=False)
        assert not camera.known and camera.camera_from_world is None
        inverse = np.linalg.inv(camera.intrinsics[0])
        edges = [inverse @ (x, y, 1) for x, y in ((-0.5, -0.5), (width - 0.5, height - 0.5))]
        angles = np.degrees(np.arctan(np.abs(edges)[:, :2]))
        np.testing.assert_allclose(angles[:, int(height > width)], 25)
