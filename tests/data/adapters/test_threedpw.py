"""The 3DPW adapter against files written with nothing but pickle and cv2."""

from pathlib import Path

import numpy as np
import pytest
import tiny_3dpw

from trace_data.adapters import ADAPTERS, canonical_name, canonical_names, load_adapter
from trace_data.adapters.threedpw import SPEC, find, inspect, read
from trace_data.errors import AnnotationError, ConfigError, DatasetLayoutError
from trace_data.geometry import project, transform
from trace_data.schema.check import check_record
from trace_data.schema.keypoints import COCO_18, SMPL_24

NAME = "train_walk_00"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_3dpw.write(tmp_path, {"train": 2, "val": 1, "test": 1}, frames=6)


def test_what_goes_in_comes_out(folder: Path) -> None:
    content = tiny_3dpw.load(folder, "train", NAME)
    # person 1: two frames without a camera, one of them without any detection
    content["campose_valid"][1][[2, 3]] = 0
    content["poses2d"][1][3] = 0
    tiny_3dpw.rewrite(folder, "train", NAME, content)
    refs = find(folder.parent, "train")
    assert [ref.key for ref in refs] == ["3dpw/train/train_walk_00", "3dpw/train/train_walk_01"]
    assert refs[0].frames == 6
    record = read(refs[0])
    assert check_record(record) == []
    assert (record.camera.width, record.camera.height, record.fps) == (96, 64, 30.0)
    assert record.camera.moving and not record.world_valid and record.provenance["synthetic"] == "false"
    assert [file.name for file in record.frames] == [f"image_{i:05d}.jpg" for i in range(6)]
    np.testing.assert_array_equal(record.frame_ids, np.arange(6))
    assert [person.gender for person in record.people] == ["male", "female"]
    second = record.people[1]
    np.testing.assert_array_equal(second.present, [1, 1, 1, 0, 1, 1])
    np.testing.assert_array_equal(second.body_valid, [1, 1, 0, 0, 1, 1])
    assert second.body is not None and second.keypoints2d is not None and second.joints3d is not None
    np.testing.assert_array_equal(second.body.pose.reshape(6, 72), content["poses"][1])
    np.testing.assert_array_equal(second.body.betas, np.tile(content["betas"][1], (6, 1)))
    np.testing.assert_array_equal(second.body.translation, content["trans"][1])
    np.testing.assert_array_equal(second.joints3d.points[0, :, :3].ravel(), content["jointPositions"][1][0])
    assert (second.joints3d.points[2] == 0).all() and (second.keypoints2d.points[3] == 0).all()


def test_joints_project_onto_the_points_of_the_same_name(folder: Path) -> None:
    record = read(find(folder.parent, "train")[1])
    intrinsics, extrinsics = record.camera.per_frame(6)
    for person in record.people:
        assert person.joints3d is not None and person.keypoints2d is not None
        pixels = project(intrinsics, transform(extrinsics, person.joints3d.points[..., :3]))
        for name in ("Neck", "R_Wrist", "L_Knee", "L_Shoulder"):
            found = person.keypoints2d.points[:, COCO_18.index(name)]
            np.testing.assert_allclose(found[:, :2], pixels[:, SMPL_24.index(name)], atol=1e-9)
            assert (found[:, 2] == 0.9).all()
        assert (person.keypoints2d.points[:, COCO_18.index("Nose")] == 0).all()


def test_the_sample_world_says_so_itself(tmp_path: Path) -> None:
    folder = tiny_3dpw.write(tmp_path, {"train": 1}, synthetic=True)
    record = read(find(folder.parent, "train")[0])
    assert record.world_valid and record.provenance["synthetic"] == "true" and "synthetic" in record.world_reason


BROKEN = {
    "a key is missing": (lambda c: c.pop("cam_poses"), "cam_poses is missing"),
    "NaN": (lambda c: c["trans"][1].__setitem__((3, 2), np.nan), r"trans\[1\] has 1 NaN .* first at \[3, 2\]"),
    "one frame short": (
        lambda c: c["trans"].__setitem__(0, c["trans"][0][:-1]),
        r"trans\[0\] has shape \(5, 3\), expected 6x3",
    ),
    "another sequence's frames": (
        lambda c: c.update({k: [a[:4] for a in c[k]] for k in ("poses", "trans", "poses2d", "campose_valid")}),
        r"cam_poses has shape \(6, 4, 4\), expected 4x4x4",
    ),
    "a person short": (lambda c: c["poses2d"].pop(), "poses2d is a list of 1, expected a list of 2 people"),
    "text for numbers": (lambda c: c.update(cam_intrinsics="none"), "cam_intrinsics is no array of numbers"),
    "no frames": (
        lambda c: c.update(poses=[np.zeros((0, 72))] * 2),
        "poses has no frames",
    ),
    "unknown gender": (lambda c: c.update(genders=["x", "f"]), r"genders\[0\] is 'x', expected m or f"),
    "a gender that is none": (lambda c: c.update(genders=["nan", "f"]), r"genders\[0\] is 'nan', expected m or f"),
    "no genders": (lambda c: c.update(genders=None), r"genders is a NoneType without \[0\]"),
    "betas of one person": (lambda c: c["betas"].pop(), r"betas is a list without \[1\]"),
    "betas that are none": (lambda c: c.update(betas=[{}, {}]), r"betas\[0\] is no array of numbers"),
    "few betas": (lambda c: c["betas"].__setitem__(1, np.zeros(6)), r"betas\[1\] has 6 coefficients"),
    "a renamed file": (lambda c: c.update(sequence="other"), "sequence is 'other', expected 'train_walk_00'"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_malformed_annotation_is_named(folder: Path, case: str) -> None:
    change, message = BROKEN[case]
    content = tiny_3dpw.load(folder, "train", NAME)
    change(content)
    file = tiny_3dpw.rewrite(folder, "train", NAME, content)
    with pytest.raises(AnnotationError, match=message) as caught:
        read(find(folder.parent, "train")[0])
    assert caught.value.where == str(file) and caught.value.hint


def test_a_file_that_is_no_annotation_is_named(folder: Path) -> None:
    file = folder / "sequenceFiles" / "train" / f"{NAME}.pkl"
    for data in (file.read_bytes()[:500], b"not a pickle", b"", b"cos\nsystem\n(S'true'\ntR."):
        file.write_bytes(data)
        with pytest.raises(AnnotationError) as caught:
            read(find(folder.parent, "train")[0])
        assert caught.value.where == str(file)
    tiny_3dpw.rewrite(folder, "train", NAME, [1, 2])
    with pytest.raises(AnnotationError, match="holds a list, expected a dict"):
        read(find(folder.parent, "train")[0])


def test_lost_images_are_named(folder: Path) -> None:
    (folder / "imageFiles" / NAME / "image_00004.jpg").unlink()
    with pytest.raises(AnnotationError, match=r"annotate 6 frames.*it has 5, image_00004.jpg is missing"):
        read(find(folder.parent, "train")[0])
    assert [finding.what for finding in inspect(folder.parent)] == [
        "image_00004.jpg is missing (5 images, last 5)",
    ]


def test_layout_errors_say_what_was_looked_for(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(DatasetLayoutError, match="looked for 3DPW, pw3d, found nothing"):
        (tmp_path / "empty").mkdir()
        find(tmp_path / "empty", "train")
    with pytest.raises(DatasetLayoutError, match="does not exist"):
        find(tmp_path / "nowhere", "train")
    assert find(folder, "val") == find(folder.parent, "val"), "the dataset's own folder is as good as the root"
    (folder / "sequenceFiles" / "validation").rename(folder / "sequenceFiles" / "valid")
    with pytest.raises(DatasetLayoutError, match="sequenceFiles: there is no validation/ in it, but valid"):
        find(folder.parent, "val")


def test_names_of_datasets() -> None:
    assert {canonical_name(name) for name in ("3dpw", "3DPW", "pw3d", "PW-3D", "threedpw")} == {"3dpw"}
    assert canonical_names(("3dpw", "PW3D")) == ["3dpw"]
    assert canonical_names(()) == sorted(ADAPTERS)
    assert load_adapter("pw3d").SPEC is SPEC
    with pytest.raises(ConfigError, match="did you mean '3dpw'"):
        canonical_name("3dwp")
