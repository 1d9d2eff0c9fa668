"""MPI-INF-3DHP in each of its layouts, against files written with nothing but scipy, h5py, numpy and cv2."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_mpi

from trace_data.adapters import canonical_name, load_adapter, read_record
from trace_data.adapters.mpi_inf_3dhp import SPEC, find, inspect, matlab, official, read
from trace_data.defects import frames_there
from trace_data.errors import AnnotationError, DatasetLayoutError
from trace_data.frames.image import decode
from trace_data.frames.video import Picture, contents
from trace_data.geometry import project, transform
from trace_data.schema.check import check_record
from trace_data.schema.keypoints import ALL_44, LAYOUTS, MPI_INF_28, MPI_INF_TEST_17
from trace_data.schema.record import SequenceRecord


def shown(record: SequenceRecord) -> list[int]:
    """Which frame each frame of a record really shows."""
    pixels = [
        content.pixels if isinstance(content, Picture) else decode(content.read_bytes(), content)
        for content in contents(record.frames)
    ]
    return [round((float(picture.mean()) - 20) / 20) for picture in pixels]


def assert_holds(record: SequenceRecord, content: dict[str, Any], camera: int, rows: list[int], atol: float) -> None:
    """The record says what `tiny_mpi.recording` was written from."""
    assert check_record(record) == []
    assert record.frame_ids.tolist() == rows and shown(record) == rows
    person = record.people[0]
    assert person.joints3d is not None and person.keypoints2d is not None and person.gender == "neutral"
    assert person.joints3d.layout == person.keypoints2d.layout == "MPI_INF_28"
    np.testing.assert_allclose(person.joints3d.points[..., :3], content["world"][rows], atol=atol)
    assert (person.joints3d.points[..., 3] == 1).all() and person.present.all() and record.everyone_annotated.all()
    np.testing.assert_allclose(record.camera.intrinsics[0], content["intrinsics"][camera], atol=1e-9)
    extrinsics = content["extrinsics"][camera].copy()
    extrinsics[:3, 3] /= 1000
    assert record.camera.camera_from_world is not None and not record.camera.moving and record.world_valid
    np.testing.assert_allclose(record.camera.camera_from_world[0], extrinsics, atol=1e-12)
    points = content["annot2"][camera][rows].reshape(-1, 28, 2)
    inside = ((points >= 0) & (points < tiny_mpi.SIZE)).all(axis=-1)
    np.testing.assert_array_equal(person.keypoints2d.points[..., 2] == 1, inside)
    np.testing.assert_allclose(person.keypoints2d.points[inside][:, :2], points[inside], atol=100 * atol)
    assert (person.keypoints2d.points[~inside] == 0).all()
    pixels = project(
        record.camera.per_frame(len(rows))[0], transform(extrinsics[None], person.joints3d.points[..., :3])
    )
    np.testing.assert_allclose(pixels, points, atol=1e-8 + 100 * atol)


def test_videos(tmp_path: Path) -> None:
    tiny_mpi.official(tmp_path, recordings=((1, 1), (1, 2), (6, 2), (8, 1), (8, 2)), cameras=(0, 2, 10, 11, 12))
    refs = find(tmp_path, "train")
    assert [ref.name for ref in refs] == [
        f"S{recording}_video_{camera}"
        for recording in ("1_Seq1", "1_Seq2", "6_Seq2", "8_Seq1")
        for camera in (0, 2, 10)
    ]
    assert {ref.layout for ref in refs} == {"official (annot.mat, videos)"} and {ref.frames for ref in refs} == {8}
    assert [ref.key for ref in find(tmp_path, "val")] == [f"mpi-inf-3dhp/val/S8_Seq2_video_{c}" for c in (0, 2, 10)]
    assert find(tmp_path, "test") == [] and inspect(tmp_path) == []
    records = [read(ref) for ref in refs]
    assert_holds(records[1], tiny_mpi.recording(1, 1), 2, list(range(8)), 1e-9)
    assert [record.fps for record in records] == 3 * [25.0] + 3 * [50.0] + 6 * [25.0]
    assert [record.people[0].name for record in records[::3]] == ["S1", "S1", "S6", "S8"]
    assert records[0].provenance == {
        "release": "MPI-INF-3DHP",
        "layout": "official (annot.mat, videos)",
        "adapter": "mpi_inf_3dhp 1",
        "body": "none",
        "defects": "",
        "synthetic": "false",
    }


@pytest.mark.parametrize(
    ("place", "name", "numbers", "rows"),
    [
        ("imageFrames/video_2", "frame_{:06d}.jpg", range(1, 9), range(8)),
        ("imageFrames/video_2", "frame_{:06d}.jpg", range(8), range(8)),
        ("imageSequence/video_2", "frame_{:06d}.png", range(1, 13), range(8)),
        ("video_2", "frame_{}.jpg", range(1, 9, 3), range(0, 8, 3)),
        ("imageSequence", "img_2_{:06d}.jpg", range(0, 8, 5), range(0, 8, 5)),
        ("IMAGEFRAMES/Video_2", "S1_Seq1_V2_{:06d}.JPG", range(1, 9), range(8)),
    ],
)
def test_extracted_images(tmp_path: Path, place: str, name: str, numbers: range, rows: range) -> None:
    folder = tiny_mpi.official(tmp_path, recordings=((1, 1),), cameras=()) / "S1" / "Seq1"
    tiny_mpi.images(folder / place, name, numbers, first=0 if 0 in numbers else 1)
    assert inspect(tmp_path) == []
    ref = find(tmp_path, "train")[0]
    assert (ref.name, ref.layout) == ("S1_Seq1_video_2", "official (annot.mat, extracted images)")
    assert ref.frames == min(len(numbers), 8)
    assert_holds(read(ref), tiny_mpi.recording(1, 1), 2, list(rows), 1e-9)


@pytest.mark.parametrize("step", [1, 3])
def test_images_whose_first_one_is_missing_are_not_taken_for_those_counted_from_1(step: int, tmp_path: Path) -> None:
    folder = tiny_mpi.official(tmp_path, recordings=((1, 1),), cameras=()) / "S1" / "Seq1"
    tiny_mpi.images(folder / "imageFrames/video_2", "frame_{:06d}.jpg", range(0, 8, step), first=0)
    ref = find(tmp_path, "train")[0]
    assert read(ref).frame_ids.tolist() == list(range(0, 8, step))
    (folder / "imageFrames/video_2/frame_000000.jpg").unlink()
    with pytest.raises(AnnotationError, match="image 0 is missing") as caught:
        read(ref)
    assert caught.value.where == str(folder / "imageFrames/video_2")


def test_images_that_end_early_are_said(tmp_path: Path) -> None:
    folder = tiny_mpi.official(tmp_path, recordings=((1, 1),), cameras=()) / "S1" / "Seq1"
    tiny_mpi.images(folder / "imageFrames/video_2", "frame_{:06d}.jpg", range(5), first=0)
    record = read(find(tmp_path, "train")[0])
    assert record.frame_ids.tolist() == list(range(5))
    assert record.remarks == ("the last 3 of 8 annotated frames are not there",)


@pytest.mark.parametrize("padded", [True, False])
def test_packed(tmp_path: Path, padded: bool) -> None:
    frames = [0, 1, 2, 5, 7]
    folder = tiny_mpi.packed(tmp_path, frames=frames, padded=padded)
    refs = find(tmp_path, "train")
    assert [(ref.name, ref.layout, ref.frames) for ref in refs] == [
        (f"S1_Seq1_video_{camera}", "packed (annots_video.npz)", 5) for camera in (0, 2)
    ]
    assert [ref.name for ref in find(tmp_path, "val")] == ["S8_Seq2_video_0", "S8_Seq2_video_2"]
    assert inspect(tmp_path) == []
    content = tiny_mpi.recording(1, 1)
    for ref, camera in zip(refs, (0, 2)):
        record = read(ref)
        assert_holds(record, content, camera, frames, 1e-6)
        assert record.provenance["layout"] == ref.layout
    (folder / "annots_video.npz").rename(folder / "annots.npz")
    assert find(tmp_path, "train")[0].annotation.name == "annots.npz"


@pytest.mark.parametrize("packed", [False, True])
def test_the_test_set(tmp_path: Path, packed: bool) -> None:
    tiny_mpi.official(tmp_path, recordings=((1, 1),))
    folder = tiny_mpi.test_set(tmp_path / "mpi_inf_3dhp" / "mpi_inf_3dhp_test_set", packed=packed)
    refs = find(tmp_path, "test")
    layout = "packed test set (annots.npz)" if packed else "official test set (annot_data.mat)"
    assert [(ref.key, ref.layout) for ref in refs] == [(f"mpi-inf-3dhp/test/TS{n}", layout) for n in (1, 5)]
    assert inspect(tmp_path) == [] and [ref.frames for ref in refs] == (2 * [8] if packed else 2 * [6])
    for ref in refs:
        record = read(ref)
        assert check_record(record) == []
        rows = [1, 2, 4, 5, 6, 7]
        assert record.frame_ids.tolist() == rows and shown(record) == rows and record.fps == 25.0
        intrinsics, extrinsics = tiny_mpi.test_subject(int(ref.name[2]))["camera"]
        np.testing.assert_allclose(record.camera.intrinsics[0], intrinsics, atol=1e-6)
        assert record.camera.camera_from_world is None, "the world is the camera's"
        world = tiny_mpi.joints(17, 100 + int(ref.name[2]))[rows]
        person = record.people[0]
        assert person.name == ref.name and person.joints3d is not None and person.joints3d.layout == "MPI_INF_TEST_17"
        expected = world @ extrinsics[:3, :3].T + extrinsics[:3, 3] / 1000
        np.testing.assert_allclose(person.joints3d.points[..., :3], expected, atol=1e-9)
    beside = tmp_path / "mpi_inf_3dhp_test_set" / "MPI_INF_3DHP_TEST_SET"
    beside.parent.mkdir()
    folder.rename(beside)
    assert [ref.images.parent for ref in find(tmp_path, "test")] == [beside / "TS1", beside / "TS5"]


def test_arrays_of_a_test_file_in_the_other_order_of_axes(tmp_path: Path) -> None:
    def turn(content: dict[str, Any]) -> None:
        content.update({key: content[key].transpose() for key in ("annot2", "annot3")})

    tiny_mpi.test_set(tmp_path / "a" / "mpi_inf_3dhp_test_set")
    tiny_mpi.test_set(tmp_path / "b" / "mpi_inf_3dhp_test_set", change=turn)
    one, other = (read(find(tmp_path / name, "test")[0]) for name in "ab")
    np.testing.assert_array_equal(one.people[0].joints3d.points, other.people[0].joints3d.points)  # type: ignore[union-attr]


def test_fits_of_smpl_are_bodies_where_there_are_any(tmp_path: Path) -> None:
    folder = tiny_mpi.official(tmp_path, recordings=((1, 1), (1, 2)), cameras=(0,))
    fits = tiny_mpi.fits(folder / "MPI-INF-3DHP_SMPL_NeuralAnnot.json", [0, 1, 2, 4, 7])
    first, second = (read(ref) for ref in find(tmp_path, "train"))
    person = first.people[0]
    assert check_record(first) == [] and first.provenance["body"] == "NeuralAnnot SMPL"
    assert person.body is not None and person.body.gender == "neutral"
    assert np.flatnonzero(person.body_valid).tolist() == [0, 1, 2, 4, 7]
    for frame in (0, 4, 7):
        fit = fits[str(frame + 1)]
        np.testing.assert_array_equal(person.body.pose[frame].reshape(-1), fit["pose"])
        np.testing.assert_array_equal(person.body.betas[frame], fit["shape"])
        np.testing.assert_array_equal(person.body.translation[frame], fit["trans"])
    assert second.people[0].body is None and not second.people[0].body_valid.any()


def test_fits_of_smplx_are_not_taken_for_smpl(tmp_path: Path) -> None:
    folder = tiny_mpi.official(tmp_path, recordings=((1, 1),), cameras=(0,))
    tiny_mpi.fits(folder / "MPI-INF-3DHP_SMPLX_NeuralAnnot.json", range(8), expressive=True)
    assert read(find(tmp_path, "train")[0]).people[0].body is None
    found = inspect(tmp_path)
    assert [(entry.severity, entry.key) for entry in found] == [("warning", "MPI-INF-3DHP_SMPLX_NeuralAnnot.json")]
    assert "another body model" in found[0].what and "NeuralAnnot_RELEASE" in found[0].hint


@pytest.mark.parametrize("name", ["mpi_inf_3dhp", "MPI-INF-3DHP", "mpiinf", "Mpi_Inf_3DHP", "3DHP", "."])
def test_names_of_folders_and_letter_cases(tmp_path: Path, name: str) -> None:
    folder = tiny_mpi.official(tmp_path / "data", recordings=((1, 1),), name=name)
    tiny_mpi.test_set(folder / "test_set", numbers=(1,))
    for old, new in (("S1", "s1"), ("s1/Seq1", "s1/SEQ1"), ("s1/SEQ1/annot.mat", "s1/SEQ1/Annot.MAT")):
        (folder / old).rename(folder / new)
    (folder / "s1/SEQ1/camera.calibration").rename(folder / "s1/SEQ1/Camera.Calibration")
    (folder / "test_set" / "TS1").rename(folder / "test_set" / "ts1")
    root = tmp_path / "data"
    assert [ref.name for ref in find(root, "train")] == ["S1_Seq1_video_0", "S1_Seq1_video_2"]
    assert [ref.name for ref in find(root, "test")] == ["TS1"] and inspect(root) == []
    assert read(find(root, "train")[0]).name == "S1_Seq1_video_0" and read(find(root, "test")[0]).name == "TS1"


def test_a_training_folder_of_its_own(tmp_path: Path) -> None:
    tiny_mpi.official(tmp_path / "mpi_inf_3dhp", recordings=((1, 1),), name="mpi_inf_3dhp_train_set")
    tiny_mpi.test_set(tmp_path / "mpi_inf_3dhp" / "mpi_inf_3dhp_test_set", numbers=(1,))
    assert len(find(tmp_path, "train")) == 2 and len(find(tmp_path, "test")) == 1


def test_nothing_to_be_found_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(DatasetLayoutError, match=r"mpi-inf-3dhp is not here: the folder does not exist"):
        find(tmp_path / "nowhere", "train")
    folder = tiny_mpi.official(tmp_path, recordings=((1, 1),), cameras=())
    with pytest.raises(DatasetLayoutError, match="no annotation of any known layout with its frames"):
        find(tmp_path, "train")
    assert [(entry.severity, entry.key, entry.what) for entry in inspect(tmp_path)] == [
        ("warning", "S1/Seq1", "annotation without frames")
    ]
    assert folder.is_dir()


def test_the_official_release_goes_before_packed_files(tmp_path: Path) -> None:
    tiny_mpi.packed(tmp_path)
    tiny_mpi.official(tmp_path, recordings=((1, 1),), cameras=())
    assert {ref.layout for ref in find(tmp_path, "train")} == {"packed (annots_video.npz)"}, (
        "annotations without frames"
    )
    tiny_mpi.official(tmp_path, recordings=((1, 1),))
    assert {ref.layout for ref in find(tmp_path, "train")} == {"official (annot.mat, videos)"}
    assert [entry.what for entry in inspect(tmp_path)] == [
        "the official release and packed annotations are both here: the packed ones are not read"
    ]


def test_an_annotation_is_read_once_for_all_its_cameras(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_mpi.official(tmp_path, recordings=((1, 1), (1, 2)), cameras=(0, 1, 2, 4))
    read_files = []
    load = matlab.read_matlab
    monkeypatch.setattr(
        matlab, "read_matlab", lambda file, *more, **m: read_files.append(file) or load(file, *more, **m)
    )
    for ref in find(tmp_path, "train"):
        read(ref)
    assert [file.parent.name for file in read_files] == ["Seq1", "Seq2"]
    content = tiny_mpi.recording(1, 1)
    content["annot3"] = [array + 1 for array in content["annot3"]]
    before = read(find(tmp_path, "train")[0])
    tiny_mpi.write_recording(tmp_path / "mpi_inf_3dhp" / "S1" / "Seq1", content)
    after = read(find(tmp_path, "train")[0])
    moved = after.people[0].joints3d.points - before.people[0].joints3d.points  # type: ignore[union-attr]
    np.testing.assert_allclose(
        np.linalg.norm(moved[..., :3], axis=-1), np.sqrt(3) / 1000
    )  # a changed file is read anew


def test_a_video_that_is_longer_is_cut_and_the_one_that_is_known_to_be_shorter_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {"S6_Seq2_video_2": 5}
    monkeypatch.setattr(official, "frames_there", lambda dataset, name, frames: known.get(name, frames))
    folder = tiny_mpi.official(tmp_path, recordings=((6, 2),), cameras=(1, 4))
    tiny_mpi.video(folder / "S6/Seq2/imageSequence/video_1.avi", 11)
    tiny_mpi.video(folder / "S6/Seq2/imageSequence/video_2.avi", 5)
    assert inspect(tmp_path) == []
    assert [ref.frames for ref in find(tmp_path, "train")] == [8, 5, 8]
    assert [len(read(ref).frames) for ref in find(tmp_path, "train")] == [8, 5, 8]


@pytest.mark.parametrize("recording", [(3, 1), (5, 2)])
def test_a_video_that_lacks_its_last_frame_is_read_to_its_end(recording: tuple[int, int], tmp_path: Path) -> None:
    """As all of S3/Seq1, and as the README of the release says of some."""
    folder = tiny_mpi.official(tmp_path, recordings=(recording,), cameras=(1, 4))
    tiny_mpi.video(folder / "S{}/Seq{}/imageSequence/video_1.avi".format(*recording), 7)
    assert inspect(tmp_path) == []
    short, whole = (read(ref) for ref in find(tmp_path, "train"))
    assert short.frame_ids.tolist() == list(range(7)) and whole.frame_ids.tolist() == list(range(8))
    assert short.remarks == ("the last 1 of 8 annotated frames are not there",) and not whole.remarks


def test_what_the_release_is_known_to_lack() -> None:
    assert frames_there("mpi-inf-3dhp", "S3_Seq1_video_4", 12489) == 12488
    assert frames_there("mpi-inf-3dhp", "S3_Seq1_video_4", 12488) == 12488
    assert frames_there("mpi-inf-3dhp", "S6_Seq2_video_2", 6145) == 3911
    assert frames_there("mpi-inf-3dhp", "S6_Seq2_video_3", 6145) == 6145
    assert frames_there("h36m", "S1_Directions", 100) == 100


def test_known_defects_are_taken_out(tmp_path: Path) -> None:
    """The packed file names a frame that its video never had."""

    def lengthen(content: dict[str, Any]) -> None:
        for name in ("S3_Seq1_video_7_F000006.jpg", "S3_Seq1_video_7_F012488.jpg"):
            content["annots"][name] = content["annots"]["S1_Seq1_video_0_F000000.jpg"]
        content["cam_info"]["S3_Seq1_video_7"] = content["cam_info"]["S1_Seq1_video_0"]

    folder = tiny_mpi.packed(tmp_path, change=lengthen)
    name = "S3_Seq1_video_7"
    tiny_mpi.images(folder / "video_frames" / name, name + "_F{:06d}.jpg", [6], first=0)
    ref = next(ref for ref in find(tmp_path, "train") if ref.name == name)
    whole, record = read_record(ref, defects=False), read_record(ref)
    assert whole.frame_ids.tolist() == [6, 12488] and [entry.key for entry in check_record(whole)] == ["frames"]
    assert record.frame_ids.tolist() == [6] and check_record(record) == []
    assert "the annotation has one row more than the videos have frames" in record.provenance["defects"]


def test_joints_are_the_published_ones() -> None:
    assert LAYOUTS["MPI_INF_28"] is MPI_INF_28 and LAYOUTS["MPI_INF_TEST_17"] is MPI_INF_TEST_17
    train = {4: 39, 5: 12, 6: 43, 7: 38, 9: 16, 10: 18, 11: 20, 12: 22, 14: 17, 15: 19, 16: 21, 17: 23, 18: 36, 19: 4,
             20: 7, 21: 30, 22: 29, 23: 35, 24: 5, 25: 8, 26: 33, 27: 32}  # fmt: skip
    assert {i: ALL_44.index(name) for i, name in enumerate(MPI_INF_28) if name in ALL_44} == train
    test = {1: 37, 2: 17, 3: 19, 4: 21, 5: 16, 6: 18, 7: 20, 8: 35, 9: 5, 10: 8, 11: 36, 12: 4, 13: 7, 14: 39}
    assert {i: ALL_44.index(name) for i, name in enumerate(MPI_INF_TEST_17) if name in ALL_44} == test
    assert len(set(MPI_INF_28)) == 28 and len(set(MPI_INF_TEST_17)) == 17


def test_spellings() -> None:
    for word in ("mpi-inf-3dhp", "mpiinf", "mpi_inf_3dhp", "3dhp", "MPI INF 3DHP"):
        assert canonical_name(word) == "mpi-inf-3dhp" and load_adapter(word).SPEC is SPEC
