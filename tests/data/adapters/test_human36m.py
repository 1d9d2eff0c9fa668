"""Human3.6M in its three layouts: the sample world comes back, and the traps of
docs/reference/datasets.md#traps-of-the-releases are avoided."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cdflib
import cdflib.cdfwrite
import cv2
import numpy as np
import pytest
import tiny_human36m as tiny

from trace_data.adapters import canonical_name, load_adapter, read_record
from trace_data.adapters.human36m import find, inspect, read
from trace_data.adapters.human36m.calibration import read_metadata
from trace_data.adapters.human36m.official import positions
from trace_data.assets.bodies import load_bodies
from trace_data.assets.body_model import BodyModel
from trace_data.errors import AnnotationError, ConfigError
from trace_data.extract import extract_frames
from trace_data.frames.video import contents
from trace_data.geometry import matrix_from_axis_angle, transform
from trace_data.sample_world.human36m import Layout, write_human36m
from trace_data.sample_world.human36m_clips import draw_clips
from trace_data.sample_world.people import Role
from trace_data.schema.check import check_record
from trace_data.schema.frame import VideoFrame
from trace_data.schema.keypoints import ALL_44, H36M_17_RIGHT_FIRST, H36M_32
from trace_data.schema.record import SequenceRecord
from trace_data.schema.thinning import thinned
from trace_data.shards.rows import rows_of
from trace_data.verify.datasets import verify_datasets

OFFICIAL, REPACKAGED, PACKED = "official", "repackaged", "packed"
LAYOUTS: tuple[Layout, ...] = ("official", "repackaged", "packed")
NAMES = {OFFICIAL: "S1_Discussion.54138969", REPACKAGED: "s_01_act_03_subact_01_ca_01", PACKED: "S1_Discussion_0"}
EXACT = 1e-6
OFF = np.array([200.0, 0, 0])
"""By how much some clips of subject 9 are off, mm."""


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {layout: tiny.write(tmp_path_factory.mktemp(layout), layout) for layout in LAYOUTS}


def record_of(folder: Path, split: Any = "train", number: int = 0) -> SequenceRecord:
    record = read_record(find(folder.parent, split)[number])
    assert check_record(record) == []
    return record


def joints_by_name(record: SequenceRecord) -> np.ndarray:
    joints = record.people[0].joints3d
    assert joints is not None
    return joints.to_44()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_goes_in_comes_out(worlds: dict[str, Path], layout: str) -> None:
    folder = worlds[layout]
    clips = tiny.truth(10.0 if layout == PACKED else 50.0, () if layout == REPACKAGED else tiny.LENS)
    refs = {split: find(folder.parent, split) for split in ("train", "val", "test")}
    assert [len(refs[split]) for split in refs] == [2, 2, 0]
    assert refs["train"][0].name == NAMES[layout] and {ref.frames for ref in refs["train"]} == {tiny.FRAMES}
    assert [f.severity for f in inspect(folder.parent)] == (["warning"] if layout == PACKED else [])
    for (subject, _), clip, ref in zip(clips, clips.values(), refs["train"] + refs["val"]):
        record = read_record(ref)
        assert check_record(record) == []
        person = record.people[0]
        assert [p.name for p in record.people] == [f"S{subject}"] and person.gender == "neutral"
        assert record.fps == (10.0 if layout == PACKED else 50.0) and record.frame_ids.tolist() == [0, 1, 2, 3]
        assert record.world_valid and record.everyone_annotated.all() and not record.camera.moving
        assert record.provenance["synthetic"] == "true" and record.provenance["defects"] == ""
        camera = clip.scene.camera
        assert (record.camera.width, record.camera.height) == camera.size
        np.testing.assert_allclose(record.camera.intrinsics[0], camera.intrinsics, atol=1e-4)
        # where there is no calibration, the world is the camera's
        rotation, place = clip.extrinsics()
        matrix = np.eye(4)
        if layout != PACKED:
            matrix[:3, :3], matrix[:3, 3] = rotation, -rotation @ place
            np.testing.assert_allclose(record.camera.camera_from_world[0], matrix, atol=EXACT)  # type: ignore[index]
        else:
            assert record.camera.camera_from_world is None
        truth = clip.joints() if layout != PACKED else clip.in_camera(clip.joints())
        joints, points = joints_by_name(record), person.keypoints2d
        assert points is not None
        known = joints[..., 3] > 0
        assert known.sum() == tiny.FRAMES * {OFFICIAL: 19, REPACKAGED: 17, PACKED: 44}[layout]
        np.testing.assert_allclose(joints[known][:, :3], truth[known], atol=EXACT)
        flat = points.to_44()
        seen = flat[..., 2] > 0
        np.testing.assert_allclose(flat[seen][:, :2], clip.pixels(clip.joints())[seen], atol=2e-5)
        pose, shape, translation = clip.body()
        assert person.body is not None and person.body_valid.all() and person.body.gender == "neutral"
        turns = matrix_from_axis_angle(person.body.pose)
        wanted = matrix_from_axis_angle(pose.reshape(-1, 24, 3))
        if layout == PACKED:
            wanted[:, 0] = rotation @ wanted[:, 0]
            assert person.body.translation is None
        else:
            np.testing.assert_allclose(person.body.translation, translation, atol=EXACT)  # type: ignore[arg-type]
        last = 22 if layout == PACKED else 24  # packed files may say nothing of the hands
        np.testing.assert_allclose(turns[:, :last], wanted[:, :last], atol=EXACT)
        np.testing.assert_allclose(person.body.betas, np.tile(shape, (tiny.FRAMES, 1)), atol=EXACT)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_frames_are_those_that_were_drawn(worlds: dict[str, Path], layout: str) -> None:
    clip = tiny.truth(10.0 if layout == PACKED else 50.0, () if layout == REPACKAGED else tiny.LENS)[1, 0]
    drawn = list(clip.pictures())
    for number, content in enumerate(contents(record_of(worlds[layout]).frames)):
        pixels = cv2.imread(str(content)) if isinstance(content, Path) else content.pixels
        errors = [np.abs(pixels.astype(int) - other).mean() for other in drawn]
        assert int(np.argmin(errors)) == number and errors[number] < 8


@pytest.mark.parametrize("layout", LAYOUTS)
def test_geometry_agrees_and_shards_can_be_filled(worlds: dict[str, Path], packs: Path, layout: str) -> None:
    report = verify_datasets(["h36m"], worlds[layout].parent, depth="geometry", packs=packs)
    assert report.ok, [problem.what for problem in report.datasets[0].problems]
    assert report.datasets[0].frames == 16 and report.datasets[0].synthetic
    for consistency in report.datasets[0].geometry:
        assert consistency.reprojection_px is not None and consistency.reprojection_px.worst < 0.01
        assert consistency.body_mm is not None and consistency.body_mm.worst < 0.1
        assert consistency.bone_change is not None and consistency.bone_change < 1e-5
    record = record_of(worlds[layout])
    rows = rows_of(record, load_bodies(packs).complete(record)).people
    assert all(rows[f"masks/{name}"].all() for name in ("center", "translation", "world", "shape", "joints3d"))
    clip = tiny.truth(10.0 if layout == PACKED else 50.0)[1, 0]
    body = record.people[0].body
    assert body is not None
    placed = BodyModel.load(packs / "SMPL_NEUTRAL.pth").joints44(body.pose, body.betas, rows["people/translation"])
    world = clip.in_camera(clip.joints()) if layout == PACKED else clip.joints()
    count = 20 if layout == PACKED else 44  # packed files may say nothing of the hands
    np.testing.assert_allclose(placed[:, :count], world[:, :count], atol=2e-4)


def test_the_rotation_is_that_of_the_angles(worlds: dict[str, Path]) -> None:
    from scipy.spatial.transform import Rotation

    folder = worlds[OFFICIAL]
    metadata = read_metadata(folder)
    assert metadata is not None
    text = (folder / "metadata.xml").read_text().split("<w0>[")[1].split("]")[0]
    angles = np.array(text.split(), float)[:264].reshape(4, 11, 6)[..., :3]
    expected = Rotation.from_euler("XYZ", angles.reshape(-1, 3)).as_matrix().reshape(4, 11, 3, 3)
    np.testing.assert_allclose(metadata.rotation, expected, atol=1e-12)
    assert metadata.clips[9, "Walking 1"] == (14, 2) and metadata.clips[8, "Walking 1"] == (14, 1)


def rewrite_w0(folder: Path, change: Any) -> None:
    """Change the numbers of `metadata.xml`: extrinsics (4, 11, 6) and intrinsics (4, 9), in place."""
    file = folder / "metadata.xml"
    head, rest = file.read_text().split("<w0>[")
    numbers, tail = rest.split("]", 1)
    w0 = np.array(numbers.split(), float)
    change(w0[:264].reshape(4, 11, 6), w0[264:].reshape(4, 9))
    file.write_text(f"{head}<w0>[{' '.join(map(repr, w0.tolist()))}]{tail}")


def test_a_transposed_rotation_is_found(worlds: dict[str, Path], tmp_path: Path) -> None:
    from scipy.spatial.transform import Rotation

    def transpose(extrinsic: np.ndarray, intrinsic: np.ndarray) -> None:
        turned = Rotation.from_euler("XYZ", extrinsic[..., :3].reshape(-1, 3)).inv()
        extrinsic[..., :3] = turned.as_euler("XYZ").reshape(4, 11, 3)

    folder = tiny.copy(worlds[OFFICIAL], tmp_path)
    rewrite_w0(folder, transpose)
    record, before = record_of(folder), record_of(worlds[OFFICIAL])
    assert record.provenance["camera"] == "metadata.xml, R transposed, lens of the release's code"
    np.testing.assert_allclose(record.camera.camera_from_world, before.camera.camera_from_world, atol=1e-9)  # type: ignore[arg-type]


def test_the_lens_of_the_joints_is_found(tmp_path: Path) -> None:
    """Tangential terms once, as the release's code has them, or twice, as OpenCV does: 2D joints of either kind."""
    folder = tiny.write(tmp_path, "official", tiny.STRONG)
    own = record_of(folder)
    assert own.provenance["camera"].endswith("lens of the release's code")
    k1, k2, k3, p1, p2 = tiny.STRONG
    lens = np.array([k1, k2, p1, p2, k3])

    def opencv(points: np.ndarray) -> np.ndarray:
        seen = transform(own.camera.camera_from_world[0], own.people[0].joints3d.points[..., :3])  # type: ignore[index,union-attr]
        flat = cv2.projectPoints(seen.reshape(-1, 3), np.zeros(3), np.zeros(3), own.camera.intrinsics[0], lens)[0]
        return flat.reshape(points.shape)

    tiny.change_cdf(folder / "S1/MyPoseFeatures/D2_Positions/Discussion.54138969.cdf", opencv)
    other = record_of(folder)
    assert other.provenance["camera"].endswith("lens of OpenCV")
    np.testing.assert_array_equal(other.camera.distortion, lens)


def test_without_calibration_the_camera_is_found_from_the_joints(tmp_path: Path) -> None:
    folder = tiny.write(tmp_path, "official", tiny.STRONG)
    known = record_of(folder)
    (folder / "metadata.xml").unlink()
    found = record_of(folder)
    assert found.provenance["camera"] == "found from 3D and 2D joints" and found.camera.camera_from_world is None
    np.testing.assert_allclose(found.camera.intrinsics, known.camera.intrinsics, atol=0.05)
    assert found.people[0].body is None, "it is in a world that is not known"
    report = verify_datasets(["h36m"], tmp_path, depth="geometry")
    assert report.ok and (report.largest_reprojection_px or 1) < 0.01
    assert any("metadata.xml" in example for p in report.datasets[0].problems for example in p.examples)


@pytest.mark.parametrize("compressed", ["variable", "file"])
def test_compressed_cdf_files_are_read(tmp_path: Path, compressed: str) -> None:
    points = np.random.default_rng(0).normal(0, 1000, (1, 7, 96)).astype(np.float32)
    file = cdflib.cdfwrite.CDF(tmp_path / "a.cdf", cdf_spec={"Compressed": 6 if compressed == "file" else 0})
    spec = {"Variable": "Pose", "Data_Type": 44, "Num_Elements": 1, "Rec_Vary": True, "Dim_Sizes": [7, 96]}
    file.write_var(spec | {"Compress": 6 if compressed == "variable" else 0}, var_data=points)
    file.close()
    np.testing.assert_array_equal(positions(tmp_path / "a.cdf", 3), points.reshape(7, 32, 3))


def test_official_joints_may_be_of_the_camera_and_points_missing(worlds: dict[str, Path], tmp_path: Path) -> None:
    folder = tiny.copy(worlds[OFFICIAL], tmp_path)
    (folder / "S1/MyPoseFeatures/D3_Positions/Discussion.cdf").unlink()
    (folder / "S1/MyPoseFeatures/D2_Positions/Discussion.54138969.cdf").unlink()
    (folder / "annotations/Human36M_subject1_SMPL_NeuralAnnot.json").unlink()
    record, before = record_of(folder), record_of(worlds[OFFICIAL])
    np.testing.assert_allclose(joints_by_name(record), joints_by_name(before), atol=EXACT)
    assert record.people[0].keypoints2d is None and record.people[0].body is None


@pytest.mark.parametrize("place", [False, True])
def test_both_meanings_of_camera_t_are_found(worlds: dict[str, Path], tmp_path: Path, place: bool) -> None:
    folder = tiny.copy(worlds[REPACKAGED], tmp_path)
    before = record_of(folder)
    assert before.provenance["camera"] == "camera.t is -R C"

    def move(cameras: Any) -> None:
        for camera in cameras.values():
            camera["t"] = (-np.array(camera["R"]).T @ camera["t"]).tolist()

    tiny.change_json(folder / "annotations/Human36M_subject1_camera.json", move)
    if place:  # then only what is seen inside the frame tells
        (folder / "annotations/Human36M_subject1_data.json").unlink()
    record = record_of(folder)
    assert record.provenance["camera"] == "camera.t is the camera's place"
    np.testing.assert_allclose(record.camera.camera_from_world, before.camera.camera_from_world, atol=1e-9)  # type: ignore[arg-type]


def test_joints_of_the_json_have_the_right_leg_first(worlds: dict[str, Path]) -> None:
    record, clip = record_of(worlds[REPACKAGED]), tiny.truth(50.0)[1, 0]
    points = record.people[0].joints3d
    assert points is not None and points.layout == "H36M_17_RIGHT_FIRST"
    assert H36M_17_RIGHT_FIRST[1:7] == ("R_Hip", "R_Knee", "R_Ankle", "L_Hip", "L_Knee", "L_Ankle")
    np.testing.assert_allclose(points.points[:, 3, :3], clip.joints()[:, ALL_44.index("R_Ankle")], atol=EXACT)


def test_balls_of_the_feet_are_no_big_toes_and_ends_of_toes_no_small_ones(worlds: dict[str, Path]) -> None:
    """docs/reference/joints.md#toes-of-the-human36m-skeleton."""
    assert H36M_32[4] == ALL_44[11] == "R_Toe_SMPL" and H36M_32[9] == ALL_44[10] == "L_Toe_SMPL"
    assert not {H36M_32[5], H36M_32[10]} & set(ALL_44)
    record = record_of(worlds[OFFICIAL])
    points = record.people[0].keypoints2d
    assert points is not None
    known = {ALL_44[joint] for joint in np.flatnonzero(points.to_44()[0, :, 2])}
    assert {"L_Toe_SMPL", "R_Toe_SMPL"} <= known and not any("BigToe" in name or "SmallToe" in name for name in known)


def test_thinned_images_and_bodies_of_every_fifth_frame(worlds: dict[str, Path], tmp_path: Path) -> None:
    folder = tiny.copy(worlds[REPACKAGED], tmp_path)
    for number in (2, 4):
        (folder / f"images/{NAMES[REPACKAGED]}/{NAMES[REPACKAGED]}_{number:06d}.jpg").unlink()

    def thin(bodies: Any) -> None:
        for frame in ("1", "2", "3"):
            del bodies["3"]["1"][frame]

    tiny.change_json(folder / "annotations/Human36M_subject1_SMPL_NeuralAnnot.json", thin)
    record, before = record_of(folder), record_of(worlds[REPACKAGED])
    assert record.frame_ids.tolist() == [0, 2] and record.fps == 50.0
    assert record.people[0].body_valid.tolist() == [True, False]
    np.testing.assert_array_equal(joints_by_name(record), joints_by_name(before)[::2])


def test_packed_files_with_calibration_stand_in_the_world(worlds: dict[str, Path], tmp_path: Path, packs: Path) -> None:
    folder = tiny.copy(worlds[PACKED], tmp_path)
    (folder / "metadata.xml").write_bytes((worlds[OFFICIAL] / "metadata.xml").read_bytes())
    clip = tiny.truth(10.0)[1, 0]
    rotation, place = clip.extrinsics()

    # the official world was drawn at another rate, its camera stands elsewhere: put this clip's own in
    def stand(extrinsic: np.ndarray, intrinsic: np.ndarray) -> None:
        from scipy.spatial.transform import Rotation

        extrinsic[0, 0] = [*Rotation.from_matrix(rotation).as_euler("XYZ"), *(1000 * place)]
        intrinsic[0, :4] = clip.scene.camera.intrinsics[(0, 1, 0, 1), (0, 1, 2, 2)]

    rewrite_w0(folder, stand)
    record = record_of(folder)
    np.testing.assert_allclose(joints_by_name(record)[..., :3], clip.joints(), atol=EXACT)
    found = load_bodies(packs).complete(record)["S1"].translation
    np.testing.assert_allclose(found, clip.body()[2], atol=5e-3)  # hands are at rest in packed files


def test_a_body_whose_place_is_not_known_is_thinned_and_needs_body_models(worlds: dict[str, Path]) -> None:
    record = thinned(record_of(worlds[PACKED]), 3)
    body = record.people[0].body
    assert record.frame_ids.tolist() == [0, 3] and body is not None
    assert body.translation is None and body.pose.shape == (2, 24, 3)
    rows = rows_of(record, {}).people
    assert rows["masks/body_pose"].all() and rows["masks/center"].all()
    assert not any(rows[f"masks/{name}"].any() for name in ("translation", "world", "shape"))


def test_packed_joints_may_be_relative_to_the_hips(worlds: dict[str, Path], tmp_path: Path) -> None:
    folder = tiny.copy(worlds[PACKED], tmp_path)

    def align(entries: Any) -> None:
        for entry in entries.values():
            hips = entry["kp3ds_smpl"][[35, 36]].mean(0)
            entry["kp3ds_smpl"] = entry["kp3ds_smpl"] - hips

    tiny.change_npz(folder / "annots_smplkps.npz", "annots", align)
    np.testing.assert_allclose(joints_by_name(record_of(folder)), joints_by_name(record_of(worlds[PACKED])), atol=EXACT)


def test_packed_files_without_shapes_or_places(worlds: dict[str, Path], tmp_path: Path) -> None:
    folder = tiny.copy(worlds[PACKED], tmp_path)
    (folder / "smpl_neutral_betas.npz").unlink()
    record = record_of(folder)
    assert record.people[0].body is None and not record.people[0].body_valid.any()
    assert any("pose and shape are not supervised" in finding.what for finding in inspect(tmp_path))
    tiny.change_npz(
        folder / "annots_smplkps.npz", "annots", lambda held: [entry.pop("kp3ds_smpl") for entry in held.values()]
    )
    joints = record_of(folder).people[0].joints3d
    assert joints is not None and joints.layout == "H36M_32"


@pytest.mark.parametrize("layout", ["official", "repackaged"])
def test_the_three_shifted_actions_of_subject_9_are_mended(
    worlds: dict[str, Path], tmp_path: Path, layout: str
) -> None:
    """World x is 200 mm too large, and so is what derives from it.

    Source: docs/reference/datasets.md#human36m-shifted-clips-of-s9.
    """
    folder = tiny.copy(worlds[layout], tmp_path)
    wanted = record_of(folder, "val")
    if layout == OFFICIAL:
        poses = folder / "S9/MyPoseFeatures"
        tiny.change_cdf(poses / "D3_Positions/Discussion.cdf", lambda points: points + OFF)
        metadata = read_metadata(folder)
        assert metadata is not None
        clip = tiny.truth(50.0)[9, 0]
        moved = clip.joints()
        moved[..., 0] += 0.2
        by_name = [ALL_44.index(name) if name in ALL_44 else 39 for name in H36M_32]
        tiny.change_cdf(poses / "D2_Positions/Discussion.54138969.cdf", lambda points: clip.pixels(moved[:, by_name]))
        for file in sorted(folder.glob("S9/*/**/Discussion*")):
            file.rename(file.with_name(file.name.replace("Discussion", "Greeting")))
        text = (folder / "metadata.xml").read_text()
        (folder / "metadata.xml").write_text(text.replace(">Discussion<", ">Greeting<"))
    else:
        old, new = "s_09_act_03_subact_01", "s_09_act_05_subact_02"
        for file in sorted(folder.glob(f"images/{old}*/*")) + sorted(folder.glob(f"images/{old}*")):
            file.rename(file.with_name(file.name.replace(old, new)))

        def shift(joints: Any) -> None:
            frames = joints.pop("3")["1"]
            joints["5"] = {"2": {n: (np.array(row) + OFF).tolist() for n, row in frames.items()}}

        tiny.change_json(folder / "annotations/Human36M_subject9_joint_3d.json", shift)
        (folder / "annotations/Human36M_subject9_data.json").unlink()
    body = folder / "annotations/Human36M_subject9_SMPL_NeuralAnnot.json"

    def shift_body(bodies: Any) -> None:
        frames = bodies["3"]["1"]
        for frame in frames.values():
            frame["trans"][0] += 0.2
        bodies["5"] = {"2": frames}

    tiny.change_json(body, shift_body)
    ref = find(tmp_path, "val")[0]
    raw, record = read_record(ref, defects=False), read_record(ref)
    assert "200 mm" in record.provenance["defects"] and raw.provenance["defects"] == ""
    np.testing.assert_allclose(joints_by_name(record), joints_by_name(wanted), atol=EXACT)
    assert np.abs(joints_by_name(raw) - joints_by_name(wanted)).max() == pytest.approx(0.2, abs=1e-5)
    flat, expected = (r.people[0].keypoints2d.to_44() for r in (record, wanted))  # type: ignore[union-attr]
    np.testing.assert_allclose(flat, expected, atol=1e-3)
    np.testing.assert_allclose(record.people[0].body.translation, wanted.people[0].body.translation, atol=1e-9)  # type: ignore[union-attr,arg-type]


def test_clips_that_are_lost_are_not_listed_but_said(worlds: dict[str, Path], tmp_path: Path) -> None:
    folder = tiny.copy(worlds[OFFICIAL], tmp_path)
    (folder / "S9").rename(folder / "S11")
    for file in sorted((folder / "S11").glob("*/**/Discussion*")):
        file.rename(file.with_name(file.name.replace("Discussion", "Directions")))
    assert [ref.name for ref in find(tmp_path, "val")] == ["S11_Directions.55011271"]
    assert "S11_Directions.54138969" in [f.key for f in inspect(tmp_path) if "left out" in f.what]


def test_other_names_and_letter_cases_are_found(worlds: dict[str, Path], tmp_path: Path) -> None:
    assert {canonical_name(n) for n in ("h36m", "Human3.6M", "human36m", "H3.6M", "human-3.6m")} == {"h36m"}
    assert load_adapter("Human3.6M").SPEC.name == "h36m"
    folder = tiny.copy(worlds[OFFICIAL], tmp_path / "official").rename(tmp_path / "official/Human3.6M")
    (folder / "S1").rename(folder / "s1")
    (folder / "s1/Videos").rename(folder / "s1/videos")
    (folder / "s1/MyPoseFeatures/D3_Positions").rename(folder / "s1/Poses_D3_Positions")
    (folder / "metadata.xml").rename(folder / "Metadata.XML")
    assert [ref.name for ref in find(folder.parent, "train")] == [ref.name for ref in find(folder, "train")]
    assert read(find(folder, "train")[0]).provenance["camera"].startswith("metadata.xml, R,")
    folder = tiny.copy(worlds[REPACKAGED], tmp_path / "repackaged")
    (folder / "images").rename(folder / "Images")
    (folder / "annotations").rename(folder / "Annotations")
    assert len(find(folder.parent, "val")) == 2 and read(find(folder.parent, "val")[0]).people[0].body is not None
    folder = tiny.copy(worlds[PACKED], tmp_path / "packed")
    (folder / "annots_smplkps.npz").rename(folder / "Annots_SmplKps.npz")
    assert len(read(find(folder.parent, "train")[0]).frames) == tiny.FRAMES


def test_two_layouts_in_one_folder_are_said(worlds: dict[str, Path], tmp_path: Path) -> None:
    folder = tiny.copy(worlds[OFFICIAL], tmp_path)
    (folder / "annots_smplkps.npz").write_bytes(b"")
    assert find(tmp_path, "train")[0].layout == "official (videos, CDF)"
    assert ["packed" in f.what for f in inspect(tmp_path) if f.key == "layout"] == [True]
    (folder / "SYNTHETIC.txt").unlink()
    assert {f.key: f.what for f in inspect(tmp_path)}["S5"] == "0 clips, the whole release has 120"
    assert read(find(tmp_path, "train")[0]).provenance["release"] == "Human3.6M"


def test_a_seed_decides_every_byte_and_whole_videos_stay(worlds: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "h36m"
    write_human36m(folder, tiny.SEED, tiny.ROLES, tiny.FRAMES, tiny.HEIGHT)
    files = {file.relative_to(folder): file.read_bytes() for file in sorted(folder.rglob("*.*"))}
    assert {file: (worlds[OFFICIAL] / file).read_bytes() for file in files} == files
    video = folder / "S1/Videos/Discussion.54138969.mp4"
    changed = video.stat().st_mtime_ns
    (folder / "S1/Videos/Discussion.55011271.mp4").unlink()
    write_human36m(folder, tiny.SEED, tiny.ROLES, tiny.FRAMES, tiny.HEIGHT)
    assert {file.relative_to(folder): file.read_bytes() for file in sorted(folder.rglob("*.*"))} == files
    assert video.stat().st_mtime_ns == changed
    with pytest.raises(ConfigError, match="23 clips of subject 9, there are names for 22"):
        list(draw_clips(0, [(index, Role("validation", (60,))) for index in range(23)], 2, 64, 50.0, ()))


def test_extracted_frames_are_read_where_the_video_is_gone(worlds: dict[str, Path], tmp_path: Path) -> None:
    folder = tiny.copy(worlds[OFFICIAL], tmp_path)
    before = record_of(folder)
    pictures = [content.pixels for content in contents(before.frames) if not isinstance(content, Path)]
    assert extract_frames("h36m", tmp_path, splits=("train",)).written == 2 * tiny.FRAMES
    assert isinstance(record_of(folder).frames[0], VideoFrame), "the video is read while it is there"
    video = folder / f"S1/Videos/{NAMES[OFFICIAL][3:]}.mp4"
    video.rename(tmp_path / "kept.mp4")
    after = record_of(folder)
    assert [Path(str(frame)).name for frame in after.frames] == [f"frame_{i:06d}.jpg" for i in range(tiny.FRAMES)]
    assert (after.name, after.frame_ids.tolist()) == (before.name, before.frame_ids.tolist())
    np.testing.assert_array_equal(joints_by_name(after), joints_by_name(before))
    for pixels, file in zip(pictures, after.frames, strict=True):
        assert np.abs(cv2.imread(str(file)).astype(int) - pixels).mean() < 3
    images = folder / f"S1/Images/{NAMES[OFFICIAL][3:]}"
    (images / "frame_000001.jpg").unlink()
    (images / "frame_000003.jpg").unlink()
    thin = record_of(folder)
    assert thin.frame_ids.tolist() == [0, 2]
    np.testing.assert_array_equal(joints_by_name(thin), joints_by_name(before)[::2])
    (images / "frame_000003.jpg").write_bytes((images / "frame_000002.jpg").read_bytes())
    with pytest.raises(AnnotationError, match="image 1 is missing, there are 3"):
        read(find(tmp_path, "train")[0])
