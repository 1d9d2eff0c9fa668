"""MPI-INF-3DHP folders with something wrong: each is found at the depth that can see it, and named."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import pytest
import scipy.io
import tiny_mpi

from trace_data.schema.keypoints import MPI_INF_28, MPI_INF_TEST_17
from trace_data.verify import DEPTHS, verify_datasets

Break = Callable[[Path], Any]
FIRST = "S1/Seq1"
"""The recording that is broken; beside it stand S1/Seq2 and S8/Seq2, which are whole."""


def problems(root: Path, depth: str) -> list[tuple[str, str, tuple[str, ...]]]:
    """Severity, words and places of what is found."""
    report = verify_datasets(["mpi-inf-3dhp"], root, depth=depth)  # type: ignore[arg-type]
    found = [(p.severity, p.what, p.examples) for dataset in report.datasets for p in dataset.problems]
    assert report.ok == (not any(severity == "error" for severity, *_ in found))
    return found


def assert_found(root: Path, depth: str, words: str, place: str) -> None:
    """An error with these words at this depth and not before; nothing is said of any other place."""
    before = DEPTHS[: DEPTHS.index(depth)]  # type: ignore[arg-type]
    assert [problems(root, shallower) for shallower in before] == [[] for _ in before]
    found = problems(root, depth)
    assert any(severity == "error" and words in what for severity, what, _ in found), found
    for _, what, examples in found:
        assert all(place in example or place in what for example in examples), found


def exchanged(names: tuple[str, ...]) -> list[int]:
    """For each joint the place of its mirror image."""
    other = {"L": "R", "R": "L"}
    return [names.index(other.get(n[0], n[0]) + n[1:]) if n[1] == "_" else i for i, n in enumerate(names)]


def swap_points(content: dict[str, Any]) -> None:
    order = exchanged(MPI_INF_28)
    content["annot2"] = [a.reshape(-1, 28, 2)[:, order].reshape(-1, 56) for a in content["annot2"]]


def scaled(key: str, factor: float, content: dict[str, Any]) -> None:
    content[key] = [factor * array for array in content[key]]


def shift_extrinsics(content: dict[str, Any], factor: float = 0.001) -> None:
    for matrix in content["extrinsics"]:
        matrix[:3, 3] *= factor


def change_cell(content: dict[str, Any], key: str, value: Any) -> None:
    content[key][0] = value


CONTENT: dict[str, tuple[str, tiny_mpi.Change, str]] = {
    "metres": ("content", lambda c: scaled("annot3", 0.001, c), "of one person lie 0.0"),
    "calibration in metres": ("content", shift_extrinsics, "puts the joints of cameras 0 and 1"),
    "another room": (
        "content",
        lambda c: c.update(extrinsics=[e for _, e in tiny_mpi.room(77)]),
        "m apart, expected less than 0.25",
    ),
    "stale lens": (
        "geometry",
        lambda c: [k.__setitem__((0, 0), 1.5 * k[0, 0]) for k in c["intrinsics"]],
        "3D joints meet the 2D joints at",
    ),
    "left and right": ("geometry", swap_points, "left and right are exchanged for S1"),
    "NaN": ("content", lambda c: c["annot3"][0].__setitem__((3, 5), np.nan), "annot3{1} has 1 NaN or infinite values"),
    "shifted by one": ("content", lambda c: c.update(frames=c["frames"] + 1), "frames starts with 1 and has 8 entries"),
    "a frame short": ("content", lambda c: change_cell(c, "annot2", c["annot2"][0][1:]), "annot2{1} has shape (7, 56)"),
    "text": ("content", lambda c: change_cell(c, "annot3", "none"), "annot3{1} is of type <U4, expected numbers"),
    "a structure": (
        "content",
        lambda c: change_cell(c, "annot2", {"x": 1.0}),
        "annot2{1} is of type [('x', 'O')], expected numbers",
    ),
    "thirteen cameras": ("content", lambda c: c["annot2"].pop(), "a cell array of 14 cameras"),
    "no such camera": (
        "content",
        lambda c: c.update(cameras=np.arange(1, 15)[None]),
        "expected camera 0 among them",
    ),
    "a mirror": (
        "content",
        lambda c: c["extrinsics"][4].__setitem__((0, slice(3)), -c["extrinsics"][4][0, :3]),
        "camera 4, extrinsic, is no rotation",
    ),
    "other size": ("content", lambda c: c.update(size=48), "have 96x96 px, expected 48x48 as calibrated"),
}


@pytest.mark.parametrize("case", CONTENT)
def test_wrong_annotations(tmp_path: Path, case: str) -> None:
    depth, change, words = CONTENT[case]
    tiny_mpi.official(tmp_path, cameras=(0,), change=change)
    assert_found(tmp_path, depth, words, "S1_Seq1_video_0")


def exchange(one: Path, other: Path) -> None:
    aside = one.with_name("aside")
    one.rename(aside)
    other.rename(one)
    aside.rename(other)


def cut(file: Path, share: float) -> None:
    data = file.read_bytes()
    file.write_bytes(data[: int(share * len(data))])


def loop(place: Path) -> None:
    if place.is_dir():
        shutil.rmtree(place)
    else:
        place.unlink()
    place.symlink_to(place.name)


def rename_images(folder: Path, shift: int) -> None:
    """Each image gets the number of the one `shift` later."""
    files = sorted(folder.iterdir(), reverse=True)
    for file in files:
        stem, number = file.stem[:-6], int(file.stem[-6:])
        file.rename(file.with_name(f"{stem}{number + shift:06d}.jpg"))


FILES: dict[str, tuple[str, Break, str, str]] = {
    "no calibration": (
        "layout",
        lambda f: (f / "camera.calibration").unlink(),
        "there is no camera.calibration",
        FIRST,
    ),
    "no annotation": ("layout", lambda f: (f / "annot.mat").unlink(), "1 cameras without annot.mat", FIRST),
    "no video": ("layout", lambda f: shutil.rmtree(f / "imageSequence"), "annotation without frames", FIRST),
    "half an annotation": (
        "content",
        lambda f: cut(f / "annot.mat", 0.5),
        "annot3 missing, expected",
        "S1_Seq1",
    ),
    "an annotation that is none": (
        "layout",
        lambda f: (f / "annot.mat").write_text("<html>login</html>" * 20),
        "no whole MATLAB file",
        FIRST,
    ),
    "a shorter video": (
        "layout",
        lambda f: tiny_mpi.video(f / "imageSequence/video_0.avi", 6),
        "video_0.avi has 6 frames, annot.mat 8",
        FIRST,
    ),
    "half a video": ("content", lambda f: cut(f / "imageSequence/video_0.avi", 0.9), "the video ends after", "S1_Seq1"),
    "no video at all": (
        "layout",
        lambda f: (f / "imageSequence/video_0.avi").write_text("no video"),
        "video_0.avi has 0 frames",
        FIRST,
    ),
    "a link to itself": (
        "layout",
        lambda f: loop(f / "imageSequence"),
        "cannot be read: Too many levels of symbolic links",
        FIRST,
    ),
    "a calibration that is none": (
        "content",
        lambda f: (f / "camera.calibration").write_text("<html>"),
        "has no line that starts with name",
        "S1_Seq1",
    ),
    "a calibration with a hole": (
        "content",
        lambda f: (f / "camera.calibration").write_text("name 0\nsize 96 96\nintrinsic 1 2\n"),
        "line 3, intrinsic, has 2 numbers, expected 16",
        "S1_Seq1",
    ),
    "annotations of two recordings exchanged": (
        "content",
        lambda f: exchange(f / "annot.mat", f.with_name("Seq2") / "annot.mat"),
        "puts the joints of cameras 0 and 1",
        "S1_Seq",
    ),
}


@pytest.mark.parametrize("case", FILES)
def test_broken_files(tmp_path: Path, case: str) -> None:
    depth, change, words, place = FILES[case]
    folder = tiny_mpi.official(tmp_path, cameras=(0,))
    change(folder / FIRST)
    if case == "no video":
        assert [(severity, what) for severity, what, _ in problems(tmp_path, depth)] == [("warning", words)]
        return
    assert_found(tmp_path, depth, words, place)


IMAGES: dict[str, tuple[str, Break, str]] = {
    "one is missing": ("layout", lambda f: (f / "frame_000005.jpg").unlink(), "image 5 is missing (7 images, last 8)"),
    "the first is missing": ("layout", lambda f: (f / "frame_000001.jpg").unlink(), "image 1 is missing"),
    "shifted by one": ("layout", lambda f: rename_images(f, 1), "image 1 is missing (8 images, last 9)"),
    "truncated": ("content", lambda f: cut(f / "frame_000004.jpg", 0.7), "the JPEG ends too early"),
    "scaled": (
        "content",
        lambda f: tiny_mpi.images(f, "frame_{:06d}.jpg", range(1, 9), 1, size=48),
        "have 48x48 px, expected 96x96 as calibrated",
    ),
    "one is scaled": (
        "content",
        lambda f: tiny_mpi.images(f, "frame_{:06d}.jpg", [3], 1, size=48),
        "48x48 px, expected 96x96",
    ),
    "one is empty": ("content", lambda f: (f / "frame_000002.jpg").write_bytes(b""), "neither a JPEG nor a PNG"),
}


@pytest.mark.parametrize("case", IMAGES)
def test_broken_images(tmp_path: Path, case: str) -> None:
    depth, change, words = IMAGES[case]
    folder = tiny_mpi.official(tmp_path, cameras=(0,), extracted=True)
    change(folder / FIRST / "imageFrames/video_0")
    assert_found(tmp_path, depth, words, FIRST if depth == "layout" else "S1_Seq1")


def of_first(content: dict[str, Any], change: Callable[[dict[str, Any]], Any]) -> None:
    for name, entry in content["annots"].items():
        if name.startswith("S1_Seq1_video_0"):
            change(entry)


class Forbidden:
    """Runs a command when Python's own loader reads it."""

    def __reduce__(self) -> Any:
        import os

        return os.system, ("touch ran",)


def without(mapping: dict[str, Any], key: str) -> None:
    del mapping[key]


PACKED: dict[str, tuple[str, tiny_mpi.Change, str]] = {
    "millimetres": ("content", lambda c: of_first(c, lambda e: e.update(kp3d=1000 * e["kp3d"])), "m apart, expected"),
    "camera in millimetres": (
        "content",
        lambda c: c["cam_info"]["S1_Seq1_video_0"]["extrinsics"].__setitem__(1, np.array([0, 0, 4000.0])),
        "puts the joints of cameras",
    ),
    "left and right": (
        "geometry",
        lambda c: of_first(c, lambda e: e.update(kp2d=e["kp2d"][exchanged(MPI_INF_28)])),
        "left and right are exchanged for S1",
    ),
    "stale lens": (
        "geometry",
        lambda c: c["cam_info"]["S1_Seq1_video_0"]["intrinsics"].__setitem__(0, 170.0),
        "3D joints meet the 2D joints at",
    ),
    "NaN": (
        "content",
        lambda c: c["annots"]["S1_Seq1_video_0_F000003.jpg"]["kp2d"].__setitem__((2, 1), np.nan),
        "annots['S1_Seq1_video_0_F000003.jpg'] kp2d has 1 NaN",
    ),
    "other joints": ("content", lambda c: of_first(c, lambda e: e.update(kp3d=e["kp3d"][:17])), "has shape (17, 3)"),
    "no points": ("content", lambda c: of_first(c, lambda e: e.pop("kp2d")), "has no kp2d and kp3d"),
    "no camera": ("content", lambda c: without(c["cam_info"], "S1_Seq1_video_0"), "has no camera S1_Seq1_video_0"),
    "an extra frame": (
        "content",
        lambda c: c["annots"].update({"S1_Seq1_video_0_F000009.jpg": c["annots"]["S1_Seq1_video_0_F000001.jpg"]}),
        "1 of 9 files are missing, first",
    ),
    "a forbidden class": (
        "content",
        lambda c: of_first(c, lambda e: e.update(kp2d=Forbidden())),
        "asks for posix.system",
    ),
    "an unlisted image": (
        "content",
        lambda c: c["annots"].update({"cat.jpg": c["annots"]["S1_Seq1_video_0_F000001.jpg"]}),
        "annots['cat.jpg'] is no image name",
    ),
    "more frames listed": (
        "layout",
        lambda c: c["frame_info"]["S1/Seq1/imageSequence/video_0.avi"].append(8),
        "8 images, 9 annotated frames",
    ),
}


@pytest.mark.parametrize("case", PACKED)
def test_wrong_packed_annotations(tmp_path: Path, case: str) -> None:
    depth, change, words = PACKED[case]
    tiny_mpi.packed(tmp_path, change=change)
    before = DEPTHS[: DEPTHS.index(depth)]  # type: ignore[arg-type]
    assert [problems(tmp_path, shallower) for shallower in before] == [[] for _ in before]
    assert any(words in what for _, what, _ in problems(tmp_path, depth)), problems(tmp_path, depth)
    assert not Path("ran").exists()


PACKED_FILES: dict[str, tuple[str, Break, str]] = {
    "an image is missing": (
        "layout",
        lambda f: (f / "video_frames/S1_Seq1_video_0/S1_Seq1_video_0_F000003.jpg").unlink(),
        "7 images, 8 annotated frames",
    ),
    "a folder is missing": (
        "layout",
        lambda f: shutil.rmtree(f / "video_frames/S1_Seq1_video_0"),
        "annotation without images",
    ),
    "folders exchanged": (
        "layout",
        lambda f: exchange(f / "video_frames/S1_Seq1_video_0", f / "video_frames/S1_Seq1_video_2"),
        "annotation without images",
    ),
    "shifted by one": (
        "content",
        lambda f: rename_images(f / "video_frames/S1_Seq1_video_0", 1),
        "1 of 8 files are missing, first",
    ),
    "a truncated image": (
        "content",
        lambda f: cut(f / "video_frames/S1_Seq1_video_0/S1_Seq1_video_0_F000003.jpg", 0.8),
        "the JPEG ends too early",
    ),
    "scaled images": (
        "content",
        lambda f: tiny_mpi.images(
            f / "video_frames/S1_Seq1_video_0", "S1_Seq1_video_0_F{:06d}.jpg", range(8), 0, size=48
        ),
        "have 48x48 px, expected a size whose middle is near the principal point",
    ),
    "half a file": ("layout", lambda f: cut(f / "annots_video.npz", 0.5), "is not readable as an .npz archive"),
    "a link to itself": ("layout", lambda f: loop(f / "video_frames"), "Too many levels of symbolic links"),
}


@pytest.mark.parametrize("case", PACKED_FILES)
def test_broken_packed_files(tmp_path: Path, case: str) -> None:
    depth, change, words = PACKED_FILES[case]
    change(tiny_mpi.packed(tmp_path))
    before = DEPTHS[: DEPTHS.index(depth)]  # type: ignore[arg-type]
    assert [problems(tmp_path, shallower) for shallower in before] == [[] for _ in before]
    assert any(words in what for _, what, _ in problems(tmp_path, depth)), problems(tmp_path, depth)


def swap_test_points(content: dict[str, Any]) -> None:
    # the unnamed and the middle joints keep their place
    order = [*exchanged(MPI_INF_TEST_17[:14]), 14, 15, 16]
    content["annot2"] = content["annot2"][:, :, order]


TEST_SET: dict[str, tuple[str, tiny_mpi.Change, str]] = {
    "metres": ("content", lambda c: c.update(annot3=c["annot3"] / 1000), "of one person lie 0.0"),
    "left and right": ("geometry", swap_test_points, "left and right are exchanged for TS1"),
    "rows of other frames": (
        "geometry",
        lambda c: c.update(annot2=c["annot2"] + np.random.default_rng(0).normal(0, 20, c["annot2"].shape)),
        "3D joints meet the 2D joints at",
    ),
    "NaN": ("content", lambda c: c["annot2"].__setitem__((4, 0, 2, 1), np.nan), "annot2 has 1 NaN or infinite values"),
    "no depth": ("content", lambda c: c["annot3"].__setitem__((..., 2), -1.0), "joints behind the camera"),
    "other joints": ("content", lambda c: c.update(annot3=c["annot3"][:, :, :14]), "has shape (8, 1, 14, 3)"),
    "no frame is valid": (
        "content",
        lambda c: c.update(valid_frame=0 * c["valid_frame"]),
        "valid_frame marks no frame",
    ),
    "no points": ("content", lambda c: c.update(annot2=None), "annot2 is missing"),
    "points in another file": (
        "content",
        lambda c: c.update(annot2=h5py.ExternalLink("other.mat", "/annot2")),
        "annot2 lies in another file",
    ),
    "a folder": ("content", lambda c: c.update(annot3=h5py.SoftLink("/annot2")), "annot3 lies in another file"),
    "text": ("content", lambda c: c.update(annot2="none"), "annot2 is of type |S4, expected numbers"),
    "images of another size": (
        "content",
        lambda c: c["annot2"].__setitem__(..., 4 * c["annot2"]),
        "expected a size whose middle is near the principal point",
    ),
}


@pytest.mark.parametrize("case", TEST_SET)
def test_wrong_annotations_of_the_test_set(tmp_path: Path, case: str) -> None:
    depth, change, words = TEST_SET[case]
    tiny_mpi.test_set(tmp_path / "mpi_inf_3dhp" / "mpi_inf_3dhp_test_set", change=change)
    assert_found(tmp_path, depth, words, "TS1")


TEST_FILES: dict[str, tuple[str, Break, str]] = {
    "no annotation": ("layout", lambda f: (f / "annot_data.mat").unlink(), "there is no annot_data.mat"),
    "half an annotation": ("content", lambda f: cut(f / "annot_data.mat", 0.5), "no whole MATLAB file"),
    "an older format": (
        "content",
        lambda f: scipy.io.savemat(f / "annot_data.mat", {"annot2": np.zeros(3)}),
        "no whole MATLAB file",
    ),
    "no images": ("layout", lambda f: shutil.rmtree(f / "imageSequence"), "annotation without images"),
    "one is missing": (
        "layout",
        lambda f: (f / "imageSequence/img_000005.jpg").unlink(),
        "image 5 is missing (7 images)",
    ),
    "the last is missing": (
        "content",
        lambda f: (f / "imageSequence/img_000008.jpg").unlink(),
        "6 frames are annotated, img_000008.jpg and 0 more are missing",
    ),
    "shifted by one": ("layout", lambda f: rename_images(f / "imageSequence", 1), "image 1 is missing"),
    "truncated": ("content", lambda f: cut(f / "imageSequence/img_000002.jpg", 0.7), "the JPEG ends too early"),
    "another picture": (
        "content",
        lambda f: cv2.imwrite(str(f / "imageSequence/img_000003.jpg"), np.zeros((20, 30, 3), np.uint8)),
        "30x20 px, expected 96x96",
    ),
    "a link to itself": ("layout", lambda f: loop(f / "imageSequence"), "Too many levels of symbolic links"),
}


@pytest.mark.parametrize("case", TEST_FILES)
def test_broken_files_of_the_test_set(tmp_path: Path, case: str) -> None:
    depth, change, words = TEST_FILES[case]
    folder = tiny_mpi.test_set(tmp_path / "mpi_inf_3dhp" / "mpi_inf_3dhp_test_set")
    change(folder / "TS1")
    assert_found(tmp_path, depth, words, "TS1")


FITS = {
    "no JSON": ("<html>", "is no JSON"),
    "a list": ("[1, 2]", "holds a list, expected an object"),
    "a short fit": ('{"1": {"1": {"3": {"pose": [1], "shape": [1], "trans": [1]}}}}', "[1][1][3] is not a fit"),
    "text": ('{"1": {"1": {"3": {"pose": "a", "shape": [1], "trans": [1]}}}}', "[1][1][3] is not a fit"),
    "no frames": ('{"1": {"1": [1]}}', "[1][1] is a list, expected an object with frame numbers"),
}


@pytest.mark.parametrize("case", FITS)
def test_broken_fits(tmp_path: Path, case: str) -> None:
    text, words = FITS[case]
    folder = tiny_mpi.official(tmp_path, recordings=((1, 1),), cameras=(0,))
    (folder / "MPI-INF-3DHP_SMPL_NeuralAnnot.json").write_text(text)
    assert problems(tmp_path, "layout") == []
    assert any(words in what for _, what, _ in problems(tmp_path, "content")), problems(tmp_path, "content")


def test_cameras_that_disagree_a_little_make_no_world(tmp_path: Path) -> None:
    def move(content: dict[str, Any]) -> None:
        content["extrinsics"][0][0, 3] += 100

    from trace_data.adapters.mpi_inf_3dhp import find, read

    tiny_mpi.official(tmp_path, recordings=((1, 1),), cameras=(0, 2), change=move)
    one, other = (read(ref) for ref in find(tmp_path, "train"))
    assert not one.world_valid and one.world_reason == "cameras 0 and 1 disagree about the same joints by 100 mm"
    assert not other.world_valid and "cameras 2 and 0 disagree" in other.world_reason
