"""MPI-INF-3DHP folders with something wrong: each is found at the depth that can see it, and named."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_mpi
from mpi_damage import assert_found, cut, exchange, exchanged, loop, problems, rename_images
from standing_figure import standing

from trace_data.schema.keypoints import MPI_INF_28

Break = Callable[[Path], Any]
FIRST = "S1/Seq1"
"""The recording that is broken; beside it stand S1/Seq2 and S8/Seq2, which are whole."""


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


def stretch(content: dict[str, Any]) -> None:
    """A forearm grows by half through the recording; points follow."""
    elbow, wrist = content["world"][:, 10], content["world"][:, 11]
    content["world"][:, 11] = elbow + np.linspace(1, 1.5, len(elbow))[:, None] * (wrist - elbow)
    for number, camera in enumerate(zip(content["intrinsics"], content["extrinsics"])):
        points, millimetres = tiny_mpi.seen(camera, content["world"])
        content["annot2"][number], content["annot3"][number] = points.reshape(-1, 56), millimetres.reshape(-1, 84)


def backwards(content: dict[str, Any]) -> None:
    """Somebody with knees and toes, whose left and right are exchanged in the points and in the joints."""
    content["world"] = standing(MPI_INF_28, tiny_mpi.FRAMES)[:, exchanged(MPI_INF_28)] + np.array([0, 0.9, 0])
    for number, camera in enumerate(zip(content["intrinsics"], content["extrinsics"])):
        points, millimetres = tiny_mpi.seen(camera, content["world"])
        content["annot2"][number], content["annot3"][number] = points.reshape(-1, 56), millimetres.reshape(-1, 84)


def opposite(content: dict[str, Any]) -> None:
    """Each camera has the points of the one across the room."""
    content["annot2"] = content["annot2"][7:] + content["annot2"][:7]


CONTENT: dict[str, tuple[str, tiny_mpi.Change, str]] = {
    "metres": ("content", lambda c: scaled("annot3", 0.001, c), "of one person lie 0.0"),
    "calibration in metres": ("content", shift_extrinsics, "puts the joints of cameras 0 and 1"),
    "another room": (
        "content",
        lambda c: c.update(extrinsics=[e for _, e in tiny_mpi.room(77)]),
        "m apart, expected less than 0.25",
    ),
    "left and right in 2D and 3D": ("geometry", backwards, "knees bend and toes point backwards"),
    "points of the opposite camera": ("geometry", opposite, "3D joints meet the 2D joints at"),
    "stale lens": (
        "geometry",
        lambda c: [k.__setitem__((0, 0), 1.5 * k[0, 0]) for k in c["intrinsics"]],
        "3D joints meet the 2D joints at",
    ),
    "left and right": ("geometry", swap_points, "left and right are exchanged for S1"),
    "growing": ("geometry", stretch, "a bone's length changes by"),
    "NaN": ("content", lambda c: c["annot3"][0].__setitem__((3, 5), np.nan), "annot3{1} has 1 NaN or infinite values"),
    "shifted by one": ("content", lambda c: c.update(frames=c["frames"] + 1), "frames starts with 1 and has 8 entries"),
    "a frame short": ("content", lambda c: change_cell(c, "annot2", c["annot2"][0][1:]), "annot2{1} has shape (7, 56)"),
    "text": ("content", lambda c: change_cell(c, "annot3", "none"), "annot3{1} is of type <U4, expected numbers"),
    "a structure": (
        "content",
        lambda c: change_cell(c, "annot2", {"x": 1.0}),
        "annot2{1} holds structs or cells, expected numbers",
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
        "layout",
        lambda f: cut(f / "annot.mat", 0.5),
        "is cut short",
        FIRST,
    ),
    "an annotation that is none": (
        "layout",
        lambda f: (f / "annot.mat").write_text("<html>login</html>" * 20),
        "MATLAB file of version 5",
        FIRST,
    ),
    "a shorter video": (
        "layout",
        lambda f: tiny_mpi.video(f / "imageSequence/video_0.avi", 5),
        "video_0.avi has 5 frames, annot.mat 8",
        FIRST,
    ),
    "half a video": ("content", lambda f: cut(f / "imageSequence/video_0.avi", 0.9), "the video ends after", "S1_Seq1"),
    "no video at all": (
        "layout",
        lambda f: (f / "imageSequence/video_0.avi").write_text("no video"),
        "8 bytes that are no video",
        FIRST,
    ),
    "a link to itself": (
        "layout",
        lambda f: loop(f / "imageSequence"),
        "a symbolic link that leads back to itself",
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


FITS = {
    "no JSON": ("<html>", "as JSON"),
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
    assert one.remarks == (f"{one.world_reason}: the world is not supervised",)
