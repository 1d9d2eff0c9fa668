"""BEDLAM as images and label rows, against the sample world, which writes them without the renderer's angles."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tiny_bedlam
from found_at_depth import MARK, Payload, assert_error_found
from tiny_bedlam import CLOSEUP, ORBIT, STATIC, ZOOM, change_npz

from trace_data.adapters import find_sequences, read_record
from trace_data.adapters.base import SequenceRef
from trace_data.adapters.bedlam import SPEC, find, inspect
from trace_data.adapters.bedlam.motions import read_motion
from trace_data.adapters.bedlam.stage import FLIP, about, world_from_stage
from trace_data.adapters.bedlam.stills import LAYOUT
from trace_data.adapters.bedlam.tables import camera_table, scene_table
from trace_data.assets.bodies import load_bodies
from trace_data.builder.build import build_shards
from trace_data.errors import AnnotationError
from trace_data.frames.image import decode, read_bytes
from trace_data.frames.video import contents
from trace_data.geometry import matrix_from_axis_angle, project, transform
from trace_data.sample_world.bedlam_rows import write_labels
from trace_data.sample_world.scene import all_joints
from trace_data.schema.check import check_record
from trace_data.schema.clip import ClipRef
from trace_data.schema.frame import TurnedFrame
from trace_data.schema.record import SequenceRecord
from trace_data.shards.checks.shards import verify_shards
from trace_data.shards.reader import ShardReader
from trace_data.verify.datasets import verify_datasets

NUMBERS = [0, 5, 10]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dataset as downloaded. Read only."""
    return tiny_bedlam.write_stills(tmp_path_factory.mktemp("world"))


@pytest.fixture
def folder(world: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return shutil.copytree(world, tmp_path / "BEDLAM")


def everything(folder: Path) -> dict[str, SequenceRef]:
    return {ref.name: ref for split in SPEC.splits for ref in find(folder.parent, split)}


def record_of(folder: Path, scene: str = ORBIT, number: int = 0) -> SequenceRecord:
    return read_record(everything(folder)[f"{scene}/seq_{number:06d}"])


def labels(folder: Path, scene: str = ORBIT) -> Path:
    return folder / "all_npz_12_smpl_training" / f"{scene}_6fps.npz"


def test_what_went_in_comes_out_in_the_axes_of_the_camera(world: Path, packs: Path) -> None:
    truth, bodies, refs = tiny_bedlam.still_truth(), load_bodies(packs), everything(world)
    assert set(refs) == set(truth) and inspect(world.parent) == []
    for name, ref in refs.items():
        record, take = read_record(ref), truth[name]
        assert ref.layout == LAYOUT and ref.frames == len(record.frames) == 3 and check_record(record) == []
        assert record.split == ("val" if take.scene.role.split == "validation" else "train")
        assert record.fps == 30 and record.frame_ids.tolist() == NUMBERS
        assert record.camera.camera_from_world is None and record.camera.moving == (take.kind == "orbit")
        assert (record.camera.width, record.camera.height) == take.scene.camera.size
        np.testing.assert_allclose(record.camera.per_frame(3)[0], take.intrinsics[NUMBERS], rtol=1e-12)
        assert len(record.camera.intrinsics) == (3 if take.kind == "zoom" else 1)
        assert [person.name[-3:] for person in record.people] == [
            f"{performance.person.index:03d}" for performance in take.scene.performances
        ]
        extrinsics = take.scene.camera.camera_from_world[NUMBERS]
        for person, performance in zip(record.people, take.scene.performances):
            body, pose = person.body, performance.motion.pose[::2][NUMBERS]
            assert body is not None and body.origin == "model" and body.gender == person.gender == "neutral"
            assert person.present.all() and person.body_valid.all()
            np.testing.assert_array_equal(body.betas, np.tile(performance.person.betas, (3, 1)))
            np.testing.assert_array_equal(body.pose[:, 1:], pose[:, 1:])
            root = extrinsics[:, :3, :3] @ matrix_from_axis_angle(pose[:, 0])
            np.testing.assert_allclose(matrix_from_axis_angle(body.pose[:, 0]), root, atol=1e-12)
            placed = bodies.place(body)
            assert placed is not None
            joints = transform(extrinsics, all_joints(performance)[0][NUMBERS])
            np.testing.assert_allclose(placed[0], joints, atol=5e-5)  # what the packs and float32 cost
            points, wanted = person.keypoints2d, project(take.intrinsics[NUMBERS], joints[:, :24])
            assert points is not None and points.projected and not points.compared_only
            shown = points.points[..., 2] > 0
            np.testing.assert_allclose(points.points[shown, :2], wanted[shown], atol=1e-9)
            inside = ((wanted >= -0.5) & (wanted < np.array(take.scene.camera.size) - 0.5)).all(axis=-1)
            assert (shown == inside).all()


def test_the_world_of_rows_is_never_supervised_and_nobody_counts_as_alone(world: Path) -> None:
    for ref in everything(world).values():
        record = read_record(ref)
        assert not record.world_valid and record.world_up is None and not record.everyone_annotated.any()


def test_images_and_videos_put_everybody_at_the_same_place(world: Path, packs: Path, tmp_path: Path) -> None:
    """The rows of images lead by another way to the same joints in the camera's axes as the tables of videos."""
    bodies, compared = load_bodies(packs), 0
    for name, ref in everything(tiny_bedlam.write(tmp_path, tiny_bedlam.STILL_FRAMES)).items():
        scene, _, number = name.rpartition("/seq_")
        video, stills = read_record(ref), record_of(world, scene, int(number))
        extrinsics = video.camera.per_frame(len(video.frames))[1]
        for one, other in zip(video.people, stills.people, strict=True):
            assert one.name == other.name and one.body is not None and other.body is not None
            here, there = bodies.place(other.body), bodies.place(one.body)
            assert here is not None and there is not None
            np.testing.assert_allclose(here[0], transform(extrinsics, there[0])[NUMBERS], atol=2e-6)
            compared += 1
    assert compared == 10


def test_the_rows_are_those_of_the_published_formulas(world: Path, tmp_path: Path) -> None:
    """What the twin writes from where everybody stands is what the release's own script makes of its tables
    (docs/reference/further-datasets.md#bedlam-geometry)."""
    videos = tiny_bedlam.write(tmp_path, tiny_bedlam.STILL_FRAMES)
    for scene in (ORBIT, CLOSEUP, ZOOM):
        [body, *_] = scene_table(videos / scene / "be_seq.csv").sequences["seq_000000"].bodies
        table = videos / scene / "ground_truth/camera/seq_000000_camera.csv"
        camera = camera_table(table, "seq_000000", tiny_bedlam.STILL_FRAMES)
        motion = read_motion(tiny_bedlam.motions(videos, scene)[0])
        rest = tiny_bedlam.still_truth()[f"{scene}/seq_000000"].scene.performances[0].rest_pelvis()
        with np.load(labels(world, scene)) as held:
            chosen = [f"seq_000000/seq_000000_{number:04d}.png" for number in NUMBERS]
            rows = np.flatnonzero(np.isin(held["imgname"], chosen) & (held["sub"] == body.subject))
            pose_world, cam_ext = held["pose_world"][rows], held["cam_ext"][rows]
            pose_cam, trans_cam, trans_world = (
                held["pose_cam"][rows],
                held["trans_cam"][rows],
                held["trans_world"][rows],
            )
        for n, number in enumerate(NUMBERS):
            lean = (90.0 if scene == CLOSEUP else 0.0) - camera.roll[number]
            tilt = about(2, np.array(lean)) @ about(0, -camera.pitch[number])
            turn = about(1, np.array(body.yaw - 90 - camera.yaw[number])) @ FLIP
            own = matrix_from_axis_angle(motion.pose[body.start + number, 0])
            np.testing.assert_allclose(matrix_from_axis_angle(pose_world[n, :3]), turn @ own, atol=1e-6)
            np.testing.assert_allclose(matrix_from_axis_angle(pose_cam[n, :3]), tilt @ turn @ own, atol=1e-6)
            np.testing.assert_allclose(cam_ext[n, :3, :3], tilt, atol=1e-6)
            away = world_from_stage(np.array(body.position)) - world_from_stage(camera.position[number])
            seen = tilt @ about(1, -camera.yaw[number]) @ away
            np.testing.assert_allclose(cam_ext[n, :3, 3], seen, atol=1e-6)
            placed = turn @ (rest + motion.translation[body.start + number])
            np.testing.assert_allclose(trans_world[n], placed - rest, atol=1e-6)
            np.testing.assert_allclose(trans_cam[n], tilt @ placed - rest, atol=1e-6)


def test_every_depth_is_well_and_shards_hold_upright_frames(world: Path, packs: Path, tmp_path: Path) -> None:
    report = verify_datasets(["bedlam"], world.parent, depth="geometry", packs=packs)
    assert report.ok and report.datasets[0].synthetic and not report.datasets[0].problems
    assert report.largest_reprojection_px is not None and report.largest_reprojection_px < 0.02
    index = build_shards(["bedlam"], world.parent, tmp_path, packs=packs, splits=["train"], check="geometry").index
    assert not index.bad and verify_shards(tmp_path).ok
    number = next(i for i, entry in enumerate(index.sequences) if CLOSEUP in entry.name)
    clip = ShardReader(tmp_path).annotations(ClipRef(sequence=number, start=0, stride=1, length=3))
    assert (clip.width, clip.height) == (72, 128) and clip.frame_ids.tolist() == NUMBERS
    take = tiny_bedlam.still_truth()[f"{CLOSEUP}/seq_000000"]
    for person, performance in enumerate(take.scene.performances):
        joints = transform(take.scene.camera.camera_from_world, all_joints(performance)[0])[NUMBERS]
        np.testing.assert_allclose(clip.kp3d[person, :, :, :3], joints, atol=5e-5)
    for mask in ("pose2d", "joints3d", "root_rotation", "body_pose", "shape", "translation"):
        assert clip.masks[mask].all(), mask
    assert not clip.masks["world"].any() and not clip.masks["everyone_annotated"].any()


def pixels(record: SequenceRecord) -> list[np.ndarray]:
    return [
        decode(read_bytes(content), content) if isinstance(content, Path) else content.pixels
        for content in contents(record.frames)
    ]


@pytest.mark.parametrize("scene", [CLOSEUP, ORBIT, ZOOM])
def test_frames_are_upright_and_those_of_their_numbers(world: Path, scene: str) -> None:
    pictures = list(tiny_bedlam.still_truth()[f"{scene}/seq_000000"].pictures())
    for number, found in zip(NUMBERS, pixels(record_of(world, scene))):
        np.testing.assert_array_equal(found, pictures[number])


def test_closeups_that_somebody_set_upright_stay_as_they_are(folder: Path, world: Path) -> None:
    assert all(isinstance(frame, TurnedFrame) for frame in record_of(folder, CLOSEUP).frames)
    for file in (folder / f"{CLOSEUP}_6fps/png/seq_000000").iterdir():
        cv2.imwrite(str(file), cv2.rotate(cv2.imread(str(file)), cv2.ROTATE_90_CLOCKWISE))
    record = record_of(folder, CLOSEUP)
    assert all(isinstance(frame, Path) for frame in record.frames)
    for one, other in zip(pixels(record), pixels(record_of(world, CLOSEUP))):
        np.testing.assert_array_equal(one, other)


def test_scenes_that_are_called_30_fps_have_rows_for_every_fifth_frame_too(tmp_path: Path) -> None:
    folder = tiny_bedlam.write_stills(tmp_path, suffix="_30fps", every=1)
    assert inspect(tmp_path) == []
    record = record_of(folder)
    assert record.frame_ids.tolist() == NUMBERS and record.fps == 30
    assert [str(frame)[-8:-4] for frame in record.frames] == ["0000", "0005", "0010"]
    assert not verify_datasets(["bedlam"], tmp_path, depth="content").datasets[0].problems


def test_blanks_and_other_spellings_of_a_scene(folder: Path) -> None:
    other = f" {ZOOM.replace('20221020_', '20221020-').replace('3-8', '3_8')}_6fps"
    (folder / f"{ZOOM}_6fps").rename(folder / other)
    labels(folder, ZOOM).rename(labels(folder).with_name(f" {ZOOM}_6fps.npz"))
    assert inspect(folder.parent) == [] and record_of(folder, ZOOM).name == f"{ZOOM}/seq_000000"


def test_the_place_of_a_person_needs_the_place_of_its_stage(folder: Path, world: Path) -> None:
    """`trans_cam` alone is not where the body stands."""
    change_npz(labels(folder), lambda held: held["cam_ext"][:, :3, 3].__iadd__([0.5, 0, 1]))
    for one, other in zip(record_of(folder).people, record_of(world).people):
        assert one.body is not None and other.body is not None
        np.testing.assert_allclose(one.body.translation - other.body.translation, [[0.5, 0, 1]] * 3)  # type: ignore[operator]


def test_the_world_of_rows_is_not_read(folder: Path, world: Path) -> None:
    def other(held: dict[str, Any]) -> None:
        for key in ("pose_world", "trans_world", "gender", "motion_info", "center", "scale"):
            del held[key]

    change_npz(labels(folder), other)
    one, two = record_of(folder).people[0].body, record_of(world).people[0].body
    assert one is not None and two is not None
    np.testing.assert_array_equal(one.pose, two.pose)


def test_people_of_older_files_are_known_by_their_betas(tmp_path: Path, world: Path) -> None:
    folder = tiny_bedlam.write_stills(tmp_path, subjects=False)
    named, found = record_of(world), record_of(folder)
    assert len({person.name for person in found.people}) == len(found.people) == len(named.people)
    for one, other in zip(found.people, named.people):
        assert one.name.startswith("betas_") and one.body is not None and other.body is not None
        np.testing.assert_array_equal(one.body.pose, other.body.pose)
    change_npz(labels(folder, STATIC), lambda held: held.update(shape=np.tile(first(folder), (len(held["shape"]), 1))))
    assert record_of(folder, STATIC).people[0].name == found.people[0].name, "in every scene"


def first(folder: Path) -> np.ndarray:
    with np.load(labels(folder)) as held:
        return np.asarray(held["shape"][0])


def test_names_may_be_objects(folder: Path, world: Path) -> None:
    change_npz(labels(folder), lambda held: held.update(sub=held["sub"].astype(object)))
    assert [p.name for p in record_of(folder).people] == [p.name for p in record_of(world).people]


def test_the_same_subject_twice_keeps_two_names(folder: Path) -> None:
    change_npz(labels(folder), lambda held: held["sub"].__setitem__(slice(0, 6), held["sub"][0]))
    names = [person.name for person in record_of(folder).people]
    assert names == ["rp_synthetic_posed_000", "rp_synthetic_posed_000#2"]


def test_who_has_no_row_in_a_frame_is_absent_there(folder: Path) -> None:
    def drop(held: dict[str, Any]) -> None:
        kept = held["imgname"] != "seq_000000/seq_000000_0005.png"
        kept[: len(kept) // 3] = True
        held.update({key: held[key][kept] for key in held if held[key].ndim})

    change_npz(labels(folder), drop)
    record = record_of(folder)
    assert [person.present.tolist() for person in record.people] == [[True] * 3, [True, False, True]]
    points = record.people[1].keypoints2d
    assert points is not None and not points.points[1].any() and check_record(record) == []


def test_broken_betas_leave_a_body_out_and_all_of_them_the_sequence(folder: Path) -> None:
    change_npz(labels(folder), lambda held: held["shape"].__setitem__((slice(0, 3), 2), 113))
    record = record_of(folder)
    assert len(record.people) == 1 and any("1 of 2" in remark and "betas" in remark for remark in record.remarks)
    change_npz(labels(folder), lambda held: held["shape"].__setitem__((slice(None), 2), 113))
    with pytest.raises(AnnotationError, match="betas") as caught:
        record_of(folder)
    assert caught.value.where == str(labels(folder))


def test_sequences_with_videos_are_read_from_these_and_the_others_from_images(folder: Path) -> None:
    tiny_bedlam.write(folder.parent)
    refs = everything(folder)
    assert set(refs) == set(tiny_bedlam.still_truth()) and all(ref.layout != LAYOUT for ref in refs.values())
    assert inspect(folder.parent) == []
    (folder / ORBIT / "ground_truth/camera/seq_000001_camera.csv").unlink()
    shutil.rmtree(folder / ZOOM)
    by_image = {name for name, ref in everything(folder).items() if ref.layout == LAYOUT}
    assert by_image == {f"{ORBIT}/seq_000001", f"{ZOOM}/seq_000000"} and inspect(folder.parent) == []
    shutil.rmtree(folder / f"{ORBIT}_6fps/png/seq_000001")
    [finding] = inspect(folder.parent)
    assert finding.key == f"{ORBIT}/seq_000001" and "_camera.csv" in finding.what


def rows(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], Any]:
    return lambda folder: change_npz(labels(folder), change)


def images(change: Callable[[Any], Any], scene: str = ORBIT) -> Callable[[Path], Any]:
    def redraw(folder: Path) -> None:
        for file in (folder / f"{scene}_6fps/png/seq_000000").iterdir():
            cv2.imwrite(str(file), change(cv2.imread(str(file))))

    return redraw


def other_scene(folder: Path) -> None:
    """Labels of portrait frames."""
    take = tiny_bedlam.still_truth()[f"{CLOSEUP}/seq_000000"]
    write_labels(folder / "aside", [take])
    shutil.copy(folder / f"aside/{CLOSEUP}_6fps.npz", labels(folder))


BROKEN: dict[str, tuple[str, Callable[[Path], Any], str]] = {
    "no labels": ("layout", lambda f: labels(f).unlink(), "images without labels"),
    "labels that are cut": ("layout", lambda f: labels(f).write_bytes(b"PK"), "_6fps.npz"),
    "names of other images": (
        "layout", rows(lambda held: held["imgname"].__setitem__(1, "a.png")), "imgname has 'a.png'",
    ),
    "no images of a sequence": (
        "layout", lambda f: shutil.rmtree(f / f"{ORBIT}_6fps/png/seq_000000"), "labels without images",
    ),
    "labels of SMPL-X": (
        "content", rows(lambda held: held.update(pose_cam=np.zeros((len(held["imgname"]), 165)))), "165 columns",
    ),
    "16 betas, some of them broken": (
        "content", rows(lambda held: held.update(shape=np.zeros((len(held["imgname"]), 16)))), "shape has 16 columns",
    ),
    "degrees": ("content", rows(lambda held: held.update(pose_cam=np.degrees(held["pose_cam"]))), "expected radians"),
    "centimetres": (
        "content",
        rows(lambda held: (held["cam_ext"].__imul__(100), held.update(trans_cam=100 * held["trans_cam"]))),
        "m from the camera",
    ),
    "rows that are lost": (
        "content", rows(lambda held: held.update(trans_cam=held["trans_cam"][:-1])), "trans_cam has shape",
    ),
    "no camera": ("content", rows(lambda held: held.pop("cam_int")), "has no cam_int"),
    "NaN": ("content", rows(lambda held: held["pose_cam"].__setitem__((0, 7), np.nan)), "not finite"),
    "two cameras in a frame": (
        "content", rows(lambda held: held["cam_int"].__setitem__((0, 0, 0), 300)), "is not that of others in the frame",
    ),
    "labels of a closeup": ("content", other_scene, "not a closeup"),
    "images on their side": ("content", images(lambda image: np.rot90(image).copy()), "72x128 px, expected 128x72"),
    "images of half the size": ("content", images(lambda image: image[::2, ::2].copy(), CLOSEUP), "64x36 px"),
    "joints of another row": (
        "geometry", rows(lambda held: held.update(gtkps=held["gtkps"][::-1])), "meet the 2D joints"),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_it_is_found_at_its_depth(case: str, folder: Path, packs: Path) -> None:
    depth, damage, words = BROKEN[case]
    damage(folder)
    assert_error_found("bedlam", folder.parent, depth, words, packs)


def test_broken_labels_cost_their_scene_and_no_other(folder: Path) -> None:
    labels(folder).write_bytes(b"PK")
    refs = find_sequences("bedlam", folder.parent, "train")
    assert [ref.name for ref in refs if ref.broken is not None] == [f"{ORBIT}_6fps.npz"]
    assert len(refs) == 4 and all(read_record(ref) for ref in refs if ref.broken is None)


def test_names_that_would_run_code_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    ref = everything(folder)[f"{ORBIT}/seq_000000"]
    change_npz(labels(folder), lambda held: held.update(sub=np.array([Payload() for _ in held["sub"]], object)))
    with pytest.raises(AnnotationError, match=r"posix\.mkdir") as caught:
        read_record(ref)
    assert str(labels(folder)) in str(caught.value.where) and not MARK.exists()
