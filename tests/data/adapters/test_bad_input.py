"""Every layout, broken in every way that happens: found at its depth and named, or said why it cannot be.

What happens to frames is done here to all layouts alike. What happens to numbers depends on the file and is tested
beside each reader; cases that fit none of those files follow here.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_3dpw
import tiny_3dpw_packed
import tiny_human36m
import tiny_mpi
from broken_layouts import CLIP, LAYOUTS, VIDEO, scale
from found_at_depth import Payload, assert_error_found, errors, said
from mpi_damage import exchanged

from trace_data.builder.build import build_shards
from trace_data.schema.keypoints import MPI_INF_TEST_17
from trace_data.verify.datasets import DEPTHS

FRAMES: dict[str, dict[str, tuple[str, str]]] = {
    "lose": {
        "3dpw, release": ("layout", "image_00003.jpg is missing (5 images, last 5)"),
        "3dpw, annots.npz": ("layout", "image_00003.jpg is missing (5 images, last 5)"),
        "3dpw, vibe_db": ("layout", "image_00003.jpg is missing (5 images, last 5)"),
        "penn-action, labels": ("layout", "000003.jpg is missing (3 frames, 1 to 4)"),
        "penn-action, packed": ("layout", "000003.jpg is missing (3 frames, 1 to 4)"),
        "mpi-inf-3dhp, videos": ("never", "a camera that was not downloaded is no error"),
        "mpi-inf-3dhp, images": ("layout", "S1/Seq1 camera 0: image 5 is missing (7 images, last 8)"),
        "mpi-inf-3dhp, packed": ("layout", f"video_frames/{VIDEO}: 7 images, 8 annotated frames"),
        "mpi-inf-3dhp, test set": ("layout", "TS1: image 5 is missing (7 images)"),
        "mpi-inf-3dhp, packed test set": ("content", "img_000005.jpg and 0 more are missing"),
        "h36m, release": ("layout", "S1/Discussion.54138969: joints without a video"),
        "h36m, re-packaged": ("content", f"1 have no image, first {CLIP}_000003.jpg"),
        "h36m, packed": ("content", "1 have no image, first S1_Discussion_0_2.jpg"),
        "dynacam": ("layout", "a: 1 of 4 annotated frames have no image, first 000002"),
        "bedlam": ("layout", "has no video in mp4/"),
        "bedlam2": ("layout", "has no video in mp4/"),
        "bedlam, images": ("layout", "1 of 3 labelled frames have no image, first seq_000000_0005.png"),
        "mupots": ("layout", "img_000003.jpg is missing (5 images, 6 annotated frames)"),
        "emdb": ("layout", "00003.jpg is missing (5 images, last 5)"),
        "rich": ("layout", "00049_00 is missing (5 images, 46 to 51)"),
        "rich, raw": ("layout", "00049_01 is missing (5 images, 46 to 51)"),
    },
    "truncate": dict.fromkeys(LAYOUTS, ("content", "too early"))
    | {
        "mpi-inf-3dhp, videos": ("layout", "no video"),
        "h36m, release": ("content", "Discussion.54138969.mp4"),
        "bedlam": ("content", "seq_000000.mp4"),
        "bedlam2": ("content", "seq_000000.mp4"),
    },
    "shift": {
        "3dpw, release": ("layout", "image_00000.jpg is missing (6 images, last 6)"),
        "3dpw, annots.npz": ("layout", "image_00000.jpg is missing (6 images, last 6)"),
        "3dpw, vibe_db": ("layout", "image_00000.jpg is missing (6 images, last 6)"),
        "penn-action, labels": ("layout", "000001.jpg is missing (4 frames, 2 to 5)"),
        "penn-action, packed": ("layout", "000001.jpg is missing (4 frames, 2 to 5)"),
        "mpi-inf-3dhp, images": ("layout", "image 1 is missing (8 images, last 9)"),
        "mpi-inf-3dhp, packed": ("content", f"{VIDEO}_F000000.jpg"),
        "mpi-inf-3dhp, test set": ("layout", "image 1 is missing (8 images)"),
        "mpi-inf-3dhp, packed test set": ("layout", "image 1 is missing"),
        "h36m, re-packaged": ("content", f"1 have no image, first {CLIP}_000001.jpg"),
        "h36m, packed": ("content", "1 have no image, first S1_Discussion_0_0.jpg"),
        "dynacam": ("layout", "a: image numbers are those of the annotation +1"),
        "bedlam, images": ("layout", "3 of 3 labelled frames have no image, first seq_000000_0000.png"),
        "mupots": ("layout", "img_000000.jpg is missing (6 images, 6 annotated frames)"),
        "emdb": ("layout", "00000.jpg is missing (6 images, last 6)"),
        "rich": ("layout", "00046_00 is missing (6 images, 47 to 52)"),
        "rich, raw": ("layout", "00046_01 is missing (6 images, 47 to 52)"),
    },
    "swap": {
        "3dpw, release": ("content", "it has 5, image_00005.jpg is missing"),
        "3dpw, annots.npz": ("layout", "imageFiles/train_walk_01: image_00005.jpg is missing (5 images, last 4)"),
        "3dpw, vibe_db": ("layout", "imageFiles/train_walk_01: image_00005.jpg is missing (5 images, last 4)"),
        "penn-action, labels": ("content", "has 3: 000004.jpg is missing"),
        "penn-action, packed": ("content", "has 3: 000004.jpg is missing"),
        "mpi-inf-3dhp, packed": ("layout", f"video_frames/{VIDEO}: annotation without images"),
        "h36m, re-packaged": ("layout", f"images/{CLIP}: no images"),
        "bedlam": ("content", "the video has 5 frames, its camera 4"),
        "bedlam2": ("content", "the video has 5 frames, its camera 4"),
        "emdb": ("content", "images/ has 5 images: 00005.jpg is missing"),
    },
    "circle": dict.fromkeys(LAYOUTS, ("layout", "a symbolic link that leads back to itself"))
    | dict.fromkeys(("h36m, release", "bedlam", "bedlam2"), ("content", "a symbolic link that leads back to itself")),
    "recase": dict.fromkeys(LAYOUTS, ("never", "letter case does not matter")),
}
CASES = [(how, name) for how, layouts in FRAMES.items() for name in layouts]
WARNINGS = {("lose", "dynacam"), ("shift", "mpi-inf-3dhp, packed test set")}
"""Said, but no hindrance: the release lacks frames itself; somebody may have kept the annotated images only."""


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_layouts_are_whole_before_they_are_broken(tmp_path: Path, name: str) -> None:
    LAYOUTS[name].write(tmp_path)
    assert errors(LAYOUTS[name].dataset, tmp_path, "geometry") == []


@pytest.mark.parametrize(("how", "name"), CASES)
def test_frames_are_broken(tmp_path: Path, how: str, name: str) -> None:
    layout, (depth, words) = LAYOUTS[name], FRAMES[how][name]
    getattr(layout, how)(layout.write(tmp_path))
    for shallower in DEPTHS[: DEPTHS.index(depth)] if depth in DEPTHS else DEPTHS:  # type: ignore[arg-type]
        assert errors(layout.dataset, tmp_path, shallower) == []
    if depth in DEPTHS:
        found = said(layout.dataset, tmp_path, depth)
        wanted = "warning" if (how, name) in WARNINGS else "error"
        assert any(severity == wanted and words in what for severity, what in found), found


RESCALED = ("rich", "rich, raw")
"""Calibrated in full size, and re-encoded in any: what that does to the camera is tested in test_rich.py."""


@pytest.mark.parametrize("factor", [0.5, 0.75, 1.5, 2])
@pytest.mark.parametrize("name", [name for name in LAYOUTS if name not in RESCALED])
def test_frames_scaled_after_their_annotation_are_found_and_not_built(tmp_path: Path, name: str, factor: float) -> None:
    layout = LAYOUTS[name]
    layout.redraw(layout.write(tmp_path), scale(factor))
    assert errors(layout.dataset, tmp_path, "layout") == []
    # packed labels without camera and size cannot tell more of a little enlargement than that all points lie aside
    severity = "warning" if (name, factor) == ("penn-action, packed", 1.5) else "error"
    found = said(layout.dataset, tmp_path, "content")
    assert any(degree == severity and ("px" in what or "enlarged" in what) for degree, what in found), found
    assert severity == "warning" or build_shards([layout.dataset], tmp_path, tmp_path / "shards").bad


@pytest.mark.parametrize(
    "name", [name for name, layout in LAYOUTS.items() if layout.dataset in ("3dpw", "emdb", "penn-action", "rich")]
)
def test_frames_turned_sideways_after_their_annotation_are_found(tmp_path: Path, name: str) -> None:
    layout = LAYOUTS[name]
    layout.redraw(layout.write(tmp_path), lambda frame: np.rot90(frame).copy())
    found = errors(layout.dataset, tmp_path, "content")
    assert any("px" in what for what in found), found


def hurry(content: dict[str, Any]) -> None:
    """Everybody's 2D points come one frame late."""
    content["poses2d"] = [np.concatenate([points[:1], points[:-1]]) for points in content["poses2d"]]


def of_test(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], Any]:
    def write(root: Path) -> None:
        tiny_mpi.test_set(root / "mpi_inf_3dhp/mpi_inf_3dhp_test_set", packed=True, change=change)

    return write


def of_entry(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], Any]:
    """The packed test set, one entry of which is changed."""

    def write(root: Path) -> None:
        file = tiny_mpi.test_set(root / "mpi_inf_3dhp/mpi_inf_3dhp_test_set", packed=True) / "annots.npz"
        tiny_human36m.change_npz(file, "annots", lambda held: change(held["TS1/imageSequence/img_000005.jpg"]))

    return write


def swap_sides(content: dict[str, Any]) -> None:
    order = [*exchanged(MPI_INF_TEST_17[:14]), 14, 15, 16]
    content["annot2"] = content["annot2"][:, :, order]


def stale(root: Path) -> None:
    """Intrinsics beside a database that are of another camera in one direction."""
    folder = tiny_3dpw_packed.pack(root, {"train": 2, "val": 1, "test": 1}, "vibe")
    file = folder / "camera_annots.npz"
    tiny_3dpw_packed.change_npz(file, lambda c: c["intrinsics"]["train_walk_01"].__setitem__((0, 0), 400.0))


def late(root: Path) -> None:
    """Of the release of 3DPW: 2D points of the frame before."""
    folder = tiny_3dpw.write(root, {"train": 2, "val": 1, "test": 1}, frames=6)
    content = tiny_3dpw.load(folder, "train", "train_walk_01")
    hurry(content)
    tiny_3dpw.rewrite(folder, "train", "train_walk_01", content)


def late_cdf(root: Path) -> None:
    folder = tiny_human36m.write(root, "official")
    flat = folder / "S1/MyPoseFeatures/D2_Positions/Discussion.54138969.cdf"
    tiny_human36m.change_cdf(flat, lambda points: points[[1, 2, 3, 3]])


def other_room(root: Path) -> None:
    """`metadata.xml` with other lenses beside packed annotations."""
    folder = tiny_human36m.write(root, "packed")
    w0 = np.zeros(300)
    w0[264:].reshape(4, 9)[:, :4] = 300, 300, 48, 48
    w0[:264].reshape(4, 11, 6)[..., 3:] = 1000
    (folder / "metadata.xml").write_text(f"<metadata><w0>[{' '.join(map(str, w0.tolist()))}]</w0></metadata>")


NUMBERS: dict[str, tuple[str, str, Callable[[Path], Any], str]] = {
    "2D of the frame before, 3dpw": ("3dpw", "geometry", late, "the 2D joints are those of the frame before"),
    "stale camera, vibe_db": ("3dpw", "geometry", stale, "3D joints meet the 2D joints at"),
    "2D of the frame after, h36m": ("h36m", "geometry", late_cdf, "the 2D joints are those of the frame after"),
    "stale metadata, h36m packed": ("h36m", "content", other_room, "3D joints meet the 2D joints at"),
    "millimetres, test set": (
        "mpi-inf-3dhp", "content", of_test(lambda c: c.update(annot3=1000 * c["annot3"])), "m apart, expected 0.4 to 3",
    ),
    "left and right, test set": (
        "mpi-inf-3dhp", "geometry", of_test(swap_sides), "left and right are exchanged for TS1",
    ),
    "NaN, test set": (
        "mpi-inf-3dhp", "content", of_entry(lambda e: e["kp2d"].__setitem__((3, 1), np.nan)), "TS1] kp2d has 1 NaN",
    ),
    "a forbidden class, test set": (
        "mpi-inf-3dhp", "content", of_entry(lambda e: e.update(kp3d=Payload())), "posix.mkdir at byte",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", NUMBERS)
def test_numbers_that_no_other_test_breaks(tmp_path: Path, case: str) -> None:
    dataset, depth, write, words = NUMBERS[case]
    write(tmp_path)
    assert_error_found(dataset, tmp_path, depth, words)


def test_the_frames_of_every_layout_are_broken_in_every_way() -> None:
    for how in ("lose", "truncate", "circle", "recase"):
        assert FRAMES[how].keys() == LAYOUTS.keys()
    # a video has no image numbers; whose frames it shows, no file of the other layouts tells
    assert LAYOUTS.keys() - FRAMES["shift"].keys() == {"mpi-inf-3dhp, videos", "h36m, release", "bedlam", "bedlam2"}
    assert FRAMES["swap"].keys() == {name for name, layout in LAYOUTS.items() if layout.other}
