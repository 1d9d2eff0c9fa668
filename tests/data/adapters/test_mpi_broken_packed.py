"""Packed files and the test set of MPI-INF-3DHP with something wrong: found at the depth that can see it, and named."""

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
from mpi_damage import assert_found, cut, exchange, exchanged, loop, problems, rename_images

from trace_data.schema.keypoints import MPI_INF_28, MPI_INF_TEST_17
from trace_data.verify.datasets import DEPTHS

Break = Callable[[Path], Any]


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
        "the frame is missing",
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
        "the frame is missing",
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
    "a link to itself": ("layout", lambda f: loop(f / "video_frames"), "a symbolic link that leads back to itself"),
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
    "a link to itself": ("layout", lambda f: loop(f / "imageSequence"), "a symbolic link that leads back to itself"),
}


@pytest.mark.parametrize("case", TEST_FILES)
def test_broken_files_of_the_test_set(tmp_path: Path, case: str) -> None:
    depth, change, words = TEST_FILES[case]
    folder = tiny_mpi.test_set(tmp_path / "mpi_inf_3dhp" / "mpi_inf_3dhp_test_set")
    change(folder / "TS1")
    assert_found(tmp_path, depth, words, "TS1")
