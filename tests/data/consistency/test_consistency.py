"""Geometry of any joint set: compared by name, exchanged sides and jumps found, with bodies where packs are there."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import tiny_3dpw
from random_bodies import TwoBodies
from standing_figure import standing

from trace_data.adapters import read_record
from trace_data.adapters.threedpw import find
from trace_data.consistency.joint_errors import backwards_from_to
from trace_data.consistency.sequence import Consistency, judge, measure
from trace_data.geometry import project, transform
from trace_data.schema.keypoints import ALL_44, LAYOUTS, LSP_14, Keypoints
from trace_data.schema.record import Person, SequenceRecord

FRAMES = 24
H36M_17 = (
    "Pelvis", "L_Hip", "L_Knee", "L_Ankle", "R_Hip", "R_Knee", "R_Ankle", "Spine_H36M", "Neck", "Jaw_H36M", "Head",
    "L_Shoulder", "L_Elbow", "L_Wrist", "R_Shoulder", "R_Elbow", "R_Wrist",
)  # fmt: skip
J17_FROM_RAW = (6, 5, 4, 1, 2, 3, 16, 15, 14, 11, 12, 13, 8, 10, 0, 7, 9)
"""Rows of the raw regressor in the body model's order (docs/reference/joints.md#rows-of-the-human36m-regressor)."""


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> SequenceRecord:
    root = tmp_path_factory.mktemp("datasets")
    tiny_3dpw.write(root, {"train": 1}, frames=FRAMES)
    return read_record(find(root, "train")[0])


@pytest.fixture(autouse=True)
def layouts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LAYOUTS, "H36M_17", H36M_17)
    monkeypatch.setitem(LAYOUTS, "H36M_J17", tuple(H36M_17[row] for row in J17_FROM_RAW))


def with_points(record: SequenceRecord, **changes: object) -> SequenceRecord:
    """The record, its people changed."""
    people = tuple(dataclasses.replace(person, **changes) for person in record.people)  # type: ignore[arg-type]
    return dataclasses.replace(record, people=people)


def seen(record: SequenceRecord, joints44: np.ndarray) -> np.ndarray:
    """(T, 44, 3) the joints through the camera, confidence 1."""
    intrinsics, extrinsics = record.camera.per_frame(len(record.frames))
    return np.concatenate([project(intrinsics, transform(extrinsics, joints44)), np.ones((FRAMES, 44, 1))], axis=2)


def posed(record: SequenceRecord) -> tuple[TwoBodies, SequenceRecord, list[np.ndarray]]:
    """People whose 2D points are those of their bodies, without 3D joints; somewhere in front of the camera."""
    bodies, people, joints = TwoBodies(), [], []
    for person in record.people:
        assert person.body is not None
        body = dataclasses.replace(person.body, translation=person.body.translation + np.array([0, 0, 4]))
        joints.append(bodies.model(body.gender).joints44(body.pose, body.betas, body.translation))
        points = Keypoints(layout="ALL_44", points=seen(record, joints[-1]))
        people.append(dataclasses.replace(person, body=body, joints3d=None, keypoints2d=points))
    return bodies, dataclasses.replace(record, people=tuple(people)), joints


def words(record: SequenceRecord, bodies: TwoBodies | None = None) -> list[str]:
    return [f"{f.severity}: {f.what}" for f in judge(measure(record, bodies), record)]


def test_2d_without_3d_joints_is_compared_with_the_body(record: SequenceRecord) -> None:
    bodies, ours, _ = posed(record)
    consistency = measure(ours, bodies)
    assert consistency.reprojection_px is not None and consistency.reprojection_px.worst < 1e-6
    assert consistency.body_mm is None and consistency.bone_change is None
    assert measure(ours, None).reprojection_px is None
    far = dataclasses.replace(ours.camera, intrinsics=ours.camera.intrinsics * np.array([[[1.5], [1.5], [1.0]]]))
    assert "3D joints meet the 2D joints at" in words(dataclasses.replace(ours, camera=far), bodies)[0]


def lsp(joints: np.ndarray) -> np.ndarray:
    return joints[:, [ALL_44.index(name) for name in LSP_14]]


def test_joints_of_another_set_are_compared_by_name(record: SequenceRecord) -> None:
    bodies, ours, joints = posed(record)
    points = [np.concatenate([lsp(own), np.ones((FRAMES, 14, 1))], axis=2) for own in joints]
    people = tuple(
        dataclasses.replace(person, joints3d=Keypoints(layout="LSP_14", points=own))
        for person, own in zip(ours.people, points)
    )
    consistency = measure(dataclasses.replace(ours, people=people), bodies)
    assert consistency.body_mm is not None and consistency.body_mm.worst < 1e-6
    assert consistency.reprojection_px is not None and consistency.reprojection_px.worst < 1e-6


@pytest.mark.parametrize("layout", ["H36M_17", "H36M_J17"])
def test_joints_of_human36m_are_compared_through_its_own_regressor(record: SequenceRecord, layout: str) -> None:
    bodies, ours, _ = posed(record)
    people = []
    for person in ours.people:
        body = person.body
        assert body is not None
        own = bodies.model(body.gender).joints_h36m17(body.pose, body.betas, body.translation)
        if layout == "H36M_17":
            own = own[:, np.argsort(J17_FROM_RAW)]
        points = np.concatenate([own, np.ones((FRAMES, 17, 1))], axis=2)
        people.append(dataclasses.replace(person, joints3d=Keypoints(layout=layout, points=points), keypoints2d=None))
    consistency = measure(dataclasses.replace(ours, people=tuple(people)), bodies)
    assert consistency.body_mm is not None and consistency.body_mm.worst < 1e-6


def exchanged(points: Keypoints) -> Keypoints:
    """Left and right, by name."""
    names = LAYOUTS[points.layout]
    other = {"L": "R", "R": "L"}
    order = [names.index(other[n[0]] + n[1:]) if n[1] == "_" and n[0] in other else i for i, n in enumerate(names)]
    return Keypoints(layout=points.layout, points=points.points[:, order])


def test_sides_exchanged_in_2d_and_3d_alike_show_against_the_body(record: SequenceRecord) -> None:
    bodies, ours, joints = posed(record)

    def turned(person: Person, own: np.ndarray) -> Person:
        points = np.concatenate([own[:, :24], np.ones((FRAMES, 24, 1))], axis=2)
        assert person.keypoints2d is not None
        return dataclasses.replace(
            person,
            joints3d=exchanged(Keypoints(layout="SMPL_24", points=points)),
            keypoints2d=exchanged(person.keypoints2d),
        )

    people = tuple(map(turned, ours.people, joints))
    wrong = dataclasses.replace(ours, people=people)
    assert "error: left and right of the 3D joints are exchanged for 0, 1" in words(wrong, bodies)
    assert not [what for what in words(wrong) if "left" in what], "2D and 3D agree with each other"


def test_a_camera_that_jumps_for_a_moment_is_found(record: SequenceRecord) -> None:
    assert words(record) == []
    path = record.camera.camera_from_world
    assert path is not None
    jumping = path.copy()
    jumping[[7, 8], 0, 3] += 1.0
    camera = dataclasses.replace(record.camera, camera_from_world=jumping)
    consistency = measure(dataclasses.replace(record, camera=camera), None)
    assert consistency.off_frames == (7, 8) and consistency.reprojection_px is not None
    assert set(consistency.reprojection_px.worst_frames[:2]) == {7, 8}
    assert words(dataclasses.replace(record, camera=camera)) == ["warning: 2D and 3D joints disagree in 2 frames: 7, 8"]
    jumping[[1, 2], 0, 3] += 1.0
    assert words(dataclasses.replace(record, camera=dataclasses.replace(camera, camera_from_world=jumping))) == [
        "error: 2D and 3D joints disagree in 4 frames: 1, 2, 7, 8"
    ]


def test_a_jump_of_the_whole_world_shows_in_the_speed(record: SequenceRecord) -> None:
    """Camera and people jump together: the pictures fit, the motion cannot be true."""
    path = record.camera.camera_from_world
    assert path is not None
    path = path.copy()
    path[12:, :3, 3] -= (3.0, 0, 0)
    people = []
    for person in record.people:
        assert person.joints3d is not None
        points = person.joints3d.points.copy()
        points[12:, :, 0] += 3.0
        people.append(dataclasses.replace(person, joints3d=Keypoints(layout="SMPL_24", points=points)))
    moved = dataclasses.replace(
        record, people=tuple(people), camera=dataclasses.replace(record.camera, camera_from_world=path)
    )
    consistency = measure(moved, None)
    assert consistency.fastest_frame == 12 and consistency.fastest == pytest.approx(90, abs=1)
    assert consistency.reprojection_px is not None and consistency.reprojection_px.worst < 1e-6
    assert words(moved) == ["warning: a person moves at 90 m/s through the world, up to frame 12"]


def test_a_gap_in_the_frame_ids_is_no_jump(record: SequenceRecord) -> None:
    ids = record.frame_ids.copy()
    ids[12:] += 100
    there = measure(record, None).fastest
    assert there is not None and there < 5
    assert measure(dataclasses.replace(record, frame_ids=ids), None).fastest == pytest.approx(there, rel=0.2)


def test_bones_of_other_sets_may_move_more(record: SequenceRecord) -> None:
    shins = ("R_Knee", "R_Ankle"), ("L_Knee", "L_Ankle")
    for growth, wrong in ((0.05, False), (0.5, True)):
        points = np.zeros((FRAMES, 14, 4))
        points[..., 2] = 5
        for knee, ankle in shins:
            points[:, [LSP_14.index(knee), LSP_14.index(ankle)], 3] = 1
            points[:, LSP_14.index(knee), 1] = np.linspace(0.4, 0.4 * (1 + growth), FRAMES)
        changed = with_points(record, joints3d=Keypoints(layout="LSP_14", points=points), keypoints2d=None)
        assert bool([what for what in words(changed) if "bone" in what]) == wrong


def test_consistency_survives_json(record: SequenceRecord) -> None:
    consistency = measure(record, None)
    assert Consistency.from_json(json.loads(json.dumps(dataclasses.asdict(consistency)))) == consistency


def test_nothing_to_compare_is_none(record: SequenceRecord) -> None:
    empty = with_points(record, keypoints2d=None, joints3d=None, body=None, body_valid=np.zeros(FRAMES, bool))
    consistency = measure(empty, TwoBodies())
    assert consistency.reprojection_px is consistency.body_mm is consistency.bone_change is consistency.fastest is None
    assert (
        consistency.off_frames == consistency.swapped == consistency.backwards == () and judge(consistency, empty) == []
    )
    assert measure(dataclasses.replace(record, people=()), None).fastest is None


@pytest.mark.parametrize("shift", [1, -1])
def test_points_of_the_next_frame_are_found_however_small_the_motion(record: SequenceRecord, shift: int) -> None:
    """A step is a third of a pixel here, and the limit two."""
    joints = record.people[0].joints3d
    assert joints is not None
    still = np.tile(joints.to_44()[:1], (FRAMES, 1, 1))
    still[..., 0] += np.linspace(0, 0.3, FRAMES)[:, None]
    camera = dataclasses.replace(record.camera, camera_from_world=record.camera.camera_from_world[:1])  # type: ignore[index]
    record = dataclasses.replace(record, camera=camera)
    points = seen(record, still[..., :3]) * (still[..., 3:] > 0)
    people = {"joints3d": Keypoints(layout="ALL_44", points=still), "body_valid": np.zeros(FRAMES, bool)}
    for found, expected in ((0, ()), (shift, (f"those of the frame {'after' if shift > 0 else 'before'}",))):
        moved = with_points(record, **people, keypoints2d=Keypoints(layout="ALL_44", points=np.roll(points, -found, 0)))
        consistency = measure(moved, None)
        assert set(consistency.shifts) == {found} and consistency.reprojection_px is not None
        assert consistency.reprojection_px.median < 1
        said = [f.what for f in judge(consistency, moved) if f.key == "reprojection"]
        assert len(said) == len(expected) and all(words in what for words, what in zip(expected, said)), said


def alone(record: SequenceRecord, layout: str, *, size: int = 2048) -> SequenceRecord:
    """One person of a joint set before a large camera, whose 2D points are projections."""
    focal = np.array([[[size, 0, size / 2], [0, size, size / 2], [0, 0, 1.0]]])
    camera = dataclasses.replace(
        record.camera, width=size, height=size, intrinsics=focal, camera_from_world=np.eye(4)[None], moving=False
    )
    joints = standing(LAYOUTS[layout], FRAMES) + np.array([0, 0.9, 4])
    ones = np.ones((*joints.shape[:2], 1))
    points = Keypoints(layout=layout, points=np.concatenate([project(focal, joints), ones], axis=2), projected=True)
    person = dataclasses.replace(
        record.people[0],
        keypoints2d=points,
        joints3d=Keypoints(layout=layout, points=np.concatenate([joints, ones], axis=2)),
        body=None,
        body_valid=np.zeros(FRAMES, bool),
    )
    return dataclasses.replace(record, camera=camera, people=(person,))


@pytest.mark.parametrize("layout", ["MPI_INF_28", "MPI_INF_TEST_17", "H36M_32", "H36M_17_RIGHT_FIRST", "SMPL_24"])
def test_sides_exchanged_in_2d_and_3d_alike_make_knees_and_toes_point_backwards(
    record: SequenceRecord, layout: str
) -> None:
    ours = alone(record, layout)
    assert words(ours) == []
    (person,) = ours.people
    assert person.keypoints2d is not None and person.joints3d is not None
    turned = dataclasses.replace(person, joints3d=exchanged(person.joints3d), keypoints2d=exchanged(person.keypoints2d))
    (what,) = words(dataclasses.replace(ours, people=(turned,)))
    assert what.startswith("error: knees bend") and "left and right are exchanged" in what


@pytest.mark.parametrize("layout", ["MPI_INF_28", "H36M_32"])
def test_a_stretch_that_is_mirrored_is_found(record: SequenceRecord, layout: str) -> None:
    """MPI-INF-3DHP S4/Seq2, by one reader's account."""
    frames = 2000
    joints = standing(LAYOUTS[layout], frames)
    points = np.concatenate([joints, np.ones((*joints.shape[:2], 1))], axis=2)
    person = dataclasses.replace(
        record.people[0],
        present=np.ones(frames, bool),
        keypoints2d=None,
        joints3d=Keypoints(layout=layout, points=points),
        body=None,
        body_valid=np.zeros(frames, bool),
    )
    assert backwards_from_to(person) is None
    mirrored = points.copy()
    mirrored[730:1490, :, 0] *= -1
    found = backwards_from_to(
        dataclasses.replace(person, joints3d=dataclasses.replace(person.joints3d, points=mirrored))  # type: ignore[type-var]
    )
    assert found is not None and abs(found[0] - 730) < 200 and abs(found[1] - 1490) < 200
    measured = dataclasses.replace(measure(record, None), backwards=(), swapped=(), backwards_stretches=((1, 3),))
    told = [finding for finding in judge(measured, record) if "frames 1 to 3" in finding.what]
    assert [finding.severity for finding in told] == ["warning"]
    assert Consistency.from_json(json.loads(json.dumps(dataclasses.asdict(measured)))) == measured
    mirrored[...] = points
    mirrored[730:800, :, 0] *= -1
    alone = dataclasses.replace(person, joints3d=Keypoints(layout=layout, points=mirrored))
    assert backwards_from_to(alone) is None, "a pose may bend so for a moment"


CAMERAS = {
    "a principal point 25 px off": lambda k, e: k.__setitem__((0, 0, 2), k[0, 0, 2] + 25),
    "a focal length 1 % off": lambda k, e: k.__setitem__((0, (0, 1), (0, 1)), 1.01 * k[0, 0, 0]),
    "a camera 70 mm off": lambda k, e: e.__setitem__((0, 0, 3), 0.07),
}


@pytest.mark.parametrize("case", CAMERAS)
@pytest.mark.parametrize("layout", ["MPI_INF_28", "H36M_32"])
def test_where_2d_is_a_projection_of_3d_a_camera_must_be_right_to_two_pixels(
    record: SequenceRecord, layout: str, case: str
) -> None:
    ours = alone(record, layout)
    intrinsics, extrinsics = ours.camera.intrinsics.copy(), np.eye(4)[None]
    CAMERAS[case](intrinsics, extrinsics)
    camera = dataclasses.replace(ours.camera, intrinsics=intrinsics, camera_from_world=extrinsics)
    stale = dataclasses.replace(ours, camera=camera)
    assert any(what.startswith("error: ") and "2D joints" in what for what in words(stale))
    (person,) = stale.people
    assert person.keypoints2d is not None
    detected = dataclasses.replace(person, keypoints2d=dataclasses.replace(person.keypoints2d, projected=False))
    assert words(dataclasses.replace(stale, people=(detected,))) == [], "detections may lie so far off"


@pytest.mark.parametrize("factor", [0.99, 1.01])
@pytest.mark.parametrize("layout", ["MPI_INF_28", "H36M_32"])
def test_a_focal_length_shows_before_a_small_person_is_two_pixels_off(
    record: SequenceRecord, layout: str, factor: float
) -> None:
    ours = alone(record, layout, size=960)
    intrinsics = ours.camera.intrinsics.copy()
    intrinsics[:, (0, 1), (0, 1)] *= factor
    stale = dataclasses.replace(ours, camera=dataclasses.replace(ours.camera, intrinsics=intrinsics))
    measured = measure(stale, None).reprojection_px
    assert measured is not None and measured.median < 2 and measured.p95 < 4
    (what,) = words(stale)
    assert what.startswith("error: ") and ("closer" if factor > 1 else "wider") in what and "1.0%" in what
    (person,) = ours.people
    assert person.keypoints2d is not None
    noise = np.zeros_like(person.keypoints2d.points)
    noise[..., :2] = np.random.default_rng(0).normal(0, 0.5, noise[..., :2].shape)
    for points in (np.round(person.keypoints2d.points), person.keypoints2d.points + noise):
        rough = dataclasses.replace(person, keypoints2d=dataclasses.replace(person.keypoints2d, points=points))
        assert words(dataclasses.replace(ours, people=(rough,))) == []


def test_points_of_the_opposite_camera_are_not_called_exchanged_sides(record: SequenceRecord) -> None:
    """Seen from behind, left and right fit better exchanged, but they do not fit."""
    ours = alone(record, "MPI_INF_28")
    (person,) = ours.people
    assert person.joints3d is not None and person.keypoints2d is not None
    behind = np.diag([-1.0, 1, -1, 1])
    behind[:3, 3] = 0.1, 0.02, 8.2
    other = project(ours.camera.intrinsics, transform(behind[None], person.joints3d.points[..., :3]))
    points = np.concatenate([other, np.ones((*other.shape[:2], 1))], axis=2)
    wrong = dataclasses.replace(person, keypoints2d=Keypoints(layout="MPI_INF_28", points=points, projected=True))
    consistency = measure(dataclasses.replace(ours, people=(wrong,)), None)
    assert consistency.swapped == ()
    (what,) = words(dataclasses.replace(ours, people=(wrong,)))
    assert "3D joints meet the 2D joints at" in what


@pytest.mark.parametrize("drift", [True, False])
def test_a_body_elsewhere_is_not_a_body_of_another_gender(record: SequenceRecord, drift: bool) -> None:
    """A stale camera moves the joints away from their body, in each frame elsewhere; an origin is a short shift."""
    bodies, ours, joints = posed(record)
    shift = np.linspace((0.1, 0, 0), (0.4, 0.1, 0.3), FRAMES) if drift else np.full((FRAMES, 3), 0.04)
    people = tuple(
        dataclasses.replace(
            person,
            joints3d=Keypoints(
                layout="SMPL_24",
                points=np.concatenate([own[:, :24] + shift[:, None], np.ones((FRAMES, 24, 1))], axis=2),
            ),
            keypoints2d=None,
        )
        for person, own in zip(ours.people, joints)
    )
    wrong = dataclasses.replace(ours, people=people)
    (found,) = (f for f in judge(measure(wrong, bodies), wrong) if f.key == "body")
    assert ("moved there" in found.what) == drift and ("gender" in found.hint) != drift


def test_nobody_moves_at_hundreds_of_metres_a_second(record: SequenceRecord) -> None:
    """Also where only the place of a body is known, and no body models are at hand."""
    person = dataclasses.replace(record.people[0], joints3d=None, keypoints2d=None)
    assert person.body is not None and person.body.translation is not None
    for metres, severity in ((1.0, "warning"), (15.0, "error")):
        place = np.zeros((FRAMES, 3))
        place[12:, 0] = metres  # in a thirtieth of a second
        body = dataclasses.replace(person.body, translation=place)
        moved = dataclasses.replace(record, people=(dataclasses.replace(person, body=body),))
        assert [what.split(": ")[0] for what in words(moved) if "m/s" in what] == [severity]
