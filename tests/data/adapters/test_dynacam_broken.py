"""DynaCam folders that are broken, each in one way: found at the right depth and named; what the release lacks, not."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from tiny_dynacam import PANORAMA, TRANSLATION, change, images, load, save, write

from trace_data.adapters.dynacam import SPEC, find, read
from trace_data.errors import AnnotationError
from trace_data.verify.datasets import DEPTHS, VerifyReport, verify_datasets


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dataset as released. Read only."""
    return write(tmp_path_factory.mktemp("world"))


@pytest.fixture
def folder(world: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return shutil.copytree(world, tmp_path / "DynaCam")


def swap_sides(arrays: dict[str, Any]) -> None:
    order = np.arange(25)
    for right, left in ((2, 5), (3, 6), (4, 7), (9, 12), (10, 13), (11, 14), (15, 16), (17, 18), (19, 22), (20, 23)):
        order[[right, left]] = left, right
    arrays["kp2ds"] = arrays["kp2ds"][:, :, order]


def stale(arrays: dict[str, Any], centre: float = 1.0) -> None:
    arrays["camera_intrinsics"] = arrays["camera_intrinsics"] * np.array(
        [[1.5, 1, centre], [1, 1.5, centre], [1, 1, 1]]
    )


def late(arrays: dict[str, Any]) -> None:
    """The 2D joints of each frame are those of the next sequence's length: turned round in time."""
    arrays["kp2ds"] = np.roll(arrays["kp2ds"], 1, axis=1) + np.float32([3, 0, 0])


ARRAYS: dict[str, tuple[str, str, Callable[[dict[str, Any]], Any], str]] = {
    "NaN": (
        "content", PANORAMA, lambda a: a["poses"].__setitem__((0, 2, 3, 1), np.nan),
        "error: poses has 1 NaN or infinite values, first at [0, 2, 3, 1], expected finite numbers",
    ),
    "millimetres": (
        "content", PANORAMA, lambda a: a.update(world_trans_aligned=a["world_trans_aligned"] * 1000),
        "m from the hips (median), expected",
    ),
    "behind the camera": (
        "content", PANORAMA, lambda a: a.update(world_trans_aligned=-a["world_trans_aligned"]),
        "is behind the camera in",
    ),
    "one pose for all frames": (
        "content", TRANSLATION, lambda a: a.update(camera_extrinsics=a["camera_extrinsics"][[0, 0, 0, 0]]),
        "has the same pose in all 4 frames",
    ),
    "19 joints": (
        "content", PANORAMA, lambda a: a.update(kp2ds=a["kp2ds"][:, :, :19]),
        "error: kp2ds has 19 joints of 3 numbers, expected 17 (COCO_17) or 25 (OpenPose_25) or 44 (ALL_44) of 3",
    ),
    "a key is missing": ("content", TRANSLATION, lambda a: a.pop("world_trans"), "error: world_trans is missing"),
    "a person short": (
        "content", TRANSLATION, lambda a: a.update(betas=a["betas"][:1]), "betas has shape (1, 4, 10), expected 2x4x10",
    ),
    "frames short": (
        "content", TRANSLATION, lambda a: a.update(camera_extrinsics=a["camera_extrinsics"][:3]),
        "camera_extrinsics has shape (3, 3, 4), expected 4xnx4",
    ),
    "frame ids that differ": (
        "content", PANORAMA, lambda a: a.update(frame_ids=np.array([0, 1, 2, 8])),
        "frame_ids has 4 numbers from 0 to 8, sequence_dict 4 numbers from 0 to 3",
    ),
    "frame ids that are none": ("content", PANORAMA, lambda a: a.update(frame_ids="many"), "expected a list of frame"),
    "no rotations": (
        "content", TRANSLATION, lambda a: a.update(camera_extrinsics=a["camera_extrinsics"] * 0),
        "camera_extrinsics has no rotations",
    ),
    "boxes of other frames": (
        "content", TRANSLATION, lambda a: a.update(seq_bboxes=a["seq_bboxes"] + np.array([[0, 0], [9, 9]])),
        "neither its box of seq_bboxes",
    ),
    "crops without boxes": ("content", TRANSLATION, lambda a: a.pop("seq_bboxes"), "there is no seq_bboxes"),
    "points of other boxes": (
        "content", TRANSLATION, lambda a: a.update(kp2ds_crop=a["kp2ds_crop"] + np.float32([7, 0, 0])),
        "kp2ds_crop lies 7.0 px (median) from kp2ds moved into the box",
    ),
    "two people with one id": ("content", TRANSLATION, lambda a: a["person_id"].fill(3), "names repeat: ['3', '3']"),
    "another world": (
        "content", TRANSLATION, lambda a: a.update(world_grots=a["world_grots"][:, ::-1] + 0.4),
        "world roots are # degrees (median) from the camera's",
    ),
    "left and right": ("geometry", PANORAMA, swap_sides, "error: left and right are exchanged for 0"),
    "stale calibration": ("geometry", PANORAMA, stale, "error: 3D joints meet the 2D joints at"),
    "a calibration of larger frames": (
        "content", PANORAMA, lambda a: stale(a, 1.5), "expected a size whose middle is near the principal point",
    ),
    "points of other frames": ("geometry", PANORAMA, late, "error: 3D joints meet the 2D joints at"),
}  # fmt: skip
REMARKABLE = {"another world"}
"""Found, but of no hindrance: the sequence is read without supervision of its world."""


def verify(folder: Path, depth: Any = "content", packs: Path | None = None) -> VerifyReport:
    return verify_datasets(["dynacam"], folder.parent, depth=depth, packs=packs)


def problems(report: VerifyReport) -> list[str]:
    return [f"{p.severity}: {p.what}" for dataset in report.datasets for p in dataset.problems]


@pytest.mark.parametrize("case", ARRAYS)
def test_wrong_arrays_are_found_at_their_depth(folder: Path, case: str, packs: Path) -> None:
    depth, part, edit, message = ARRAYS[case]
    name = change(folder, part, edit)
    assert verify(folder, DEPTHS[DEPTHS.index(depth) - 1]).ok  # type: ignore[arg-type]
    report = verify(folder, depth, packs)
    assert report.ok == (case in REMARKABLE)
    found = problems(report)
    begin, _, end = message.partition("#")
    assert any(begin in what and end in what for what in found), found
    assert all(name in example for problem in report.datasets[0].problems for example in problem.examples)


def test_a_world_that_does_not_fit_is_not_supervised(folder: Path) -> None:
    """The aligned arrays of the panorama half were made for another camera: the plain ones are used, and said so."""
    change(folder, PANORAMA, lambda a: a.update(world_grots_aligned=a["world_grots_aligned"] + 0.4))
    record = read(find(folder.parent, "train")[0])
    assert record.world_valid and "plain world" in record.world_reason
    assert record.remarks == ("the plain world is used: the aligned one is missing or does not fit",)
    change(folder, PANORAMA, lambda a: a.update(world_grots=a["world_grots"] + 0.4))
    record = read(find(folder.parent, "train")[0])
    assert not record.world_valid and "disagree" in record.world_reason


@pytest.mark.parametrize("change_of_frames", ["0.75", "1.5", "2", "turned"])
def test_cut_outs_that_were_changed_are_not_taken_for_whole_frames(folder: Path, change_of_frames: str) -> None:
    """The boxes would fit into the enlarged cut-outs, which then pass for whole frames."""
    for file in images(folder, TRANSLATION):
        image = cv2.imread(str(file))
        turned = change_of_frames == "turned"
        factor = 1.0 if turned else float(change_of_frames)
        cv2.imwrite(str(file), np.rot90(image) if turned else cv2.resize(image, None, fx=factor, fy=factor))
    report = verify(folder)
    assert not report.ok and any("seq_bboxes" in what for what in problems(report)), problems(report)


def rename(parts: list[Path], by: int) -> None:
    for file in sorted(parts, reverse=by > 0):
        file.rename(file.with_name(f"{int(file.stem) + by:06d}{file.suffix}"))


def exchange(folder: Path) -> None:
    """The frames of the two first sequences, whose numbers differ."""
    one, other = (images(folder, part)[0].parent for part in (PANORAMA, "panorama_test"))
    one.rename(folder / "kept")
    other.rename(one)
    (folder / "kept").rename(other)


def forbidden(folder: Path) -> None:
    class Command:
        def __reduce__(self) -> tuple[Any, ...]:
            import os

            return os.system, (f"touch {folder / 'ran'}",)

    save(folder, PANORAMA, {"ID_num": 1, "sequence_dict": {}, "a": Command()})


def loop(folder: Path) -> None:
    loop_at(folder / "video_frames" / "panorama_val")


def loop_at(target: Path) -> None:
    shutil.rmtree(target)
    target.symlink_to(target)


def truncate(file: Path, bytes_kept: int) -> None:
    file.write_bytes(file.read_bytes()[:bytes_kept])


FILES: dict[str, tuple[str, Callable[[Path], Any], str]] = {
    "annotation file": (
        "layout", lambda f: (f / "annotations" / f"{PANORAMA}.npz").unlink(),
        "error: is missing, with images of 1 sequences",
    ),
    "annotation file cut short": (
        "layout", lambda f: truncate(f / "annotations" / f"{PANORAMA}.npz", 900), "error: is not readable as an .npz",
    ),
    "annotation file that is a folder": (
        "layout", lambda f: (f / "annotations" / "panorama_val.npz").rename(f / "x")
        and (f / "annotations" / "panorama_val.npz").mkdir(), "error: is a folder, expected a file",
    ),
    "annotation file of another kind": (
        "layout", lambda f: np.savez(f / "annotations" / f"{PANORAMA}.npz", poses=np.zeros(3)),
        "error: has no annots, expected a dict under annots",
    ),
    "forbidden class": ("layout", forbidden, "posix.system"),
    "annotations": ("layout", lambda f: shutil.rmtree(f / "annotations"), "error: there is no annotations/ in it"),
    "frames": ("layout", lambda f: shutil.rmtree(f / "video_frames"), "error: there is no video_frames/ in it"),
    "frames are a file": (
        "layout", lambda f: (shutil.rmtree(f / "video_frames"), (f / "video_frames").touch()),
        "is a file, expected a folder",
    ),
    "frames of a part": (
        "layout", lambda f: shutil.rmtree(f / "video_frames" / PANORAMA),
        "error: annotation of 1 sequences without any images",
    ),
    "a link in a circle": ("layout", loop, "is a symbolic link that leads back to itself"),
    "a link in a circle for a sequence": (
        "layout", lambda f: loop_at(images(f, PANORAMA)[0].parent), "error: a symbolic link that leads back to itself",
    ),
    "frame numbers one too high": (
        "layout", lambda f: rename(images(f, PANORAMA), 1), "error: image numbers are those of the annotation +1",
    ),
    "swapped names": ("layout", exchange, "error: no image is annotated"),
    "a sequence twice": (
        "layout", lambda f: save(f, "panorama_val", {**load(f, "panorama_val"), **load(f, PANORAMA)}),
        "error: the sequence is in train and val",
    ),
    "a truncated JPEG": (
        "content", lambda f: truncate(images(f, PANORAMA)[2], 1500), "error: the JPEG ends too early (1,500 bytes",
    ),
    "a truncated PNG": (
        "content", lambda f: truncate(images(f, TRANSLATION)[1], 3000), "error: the PNG ends too early (3,000 bytes)",
    ),
    "a PNG that lacks its end": (
        "content", lambda f: truncate(images(f, TRANSLATION)[1], -20), "error: the PNG ends too early",
    ),
    "a frame of another size": (
        "content", lambda f: cv2.imwrite(str(images(f, PANORAMA)[1]), np.zeros((20, 30, 3), np.uint8)),
        "error: is 30x20 px, the first of the sequence 96x96; there is no seq_bboxes",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", FILES)
def test_wrong_files_are_found_at_their_depth(folder: Path, case: str) -> None:
    depth, edit, message = FILES[case]
    if case == "swapped names":  # whose numbers overlap in nothing
        rename(images(folder, "panorama_test"), 20)
        change(folder, "panorama_test", lambda a: a.update(frame_ids=a["frame_ids"] + 20))
        annots = load(folder, "panorama_test")
        annots["sequence_dict"] = {name: annots[name]["frame_ids"].tolist() for name in annots["sequence_dict"]}
        save(folder, "panorama_test", annots)
        assert problems(verify(folder)) == []
    edit(folder)
    if depth == "content":
        assert verify(folder, "layout").ok
    report = verify(folder, depth)
    assert not report.ok and any(message in what for what in problems(report)), problems(report)
    assert not (folder / "ran").exists()


def test_the_known_state_of_the_release_is_a_warning(folder: Path) -> None:
    """Sequences with only one of images and annotation, single frames lost, a part not downloaded."""
    shutil.copytree(images(folder, PANORAMA)[0].parent, folder / "video_frames" / PANORAMA / "pano-extra-0")
    annots = load(folder, TRANSLATION)
    name = next(iter(annots["sequence_dict"]))
    for part in (annots, annots["sequence_dict"]):
        part["lost"] = part[name]
    save(folder, TRANSLATION, annots)
    images(folder, "panorama_val")[1].unlink()
    (folder / "annotations" / "panorama_test.npz").unlink()
    shutil.rmtree(folder / "video_frames" / "panorama_test")
    report = verify(folder)
    assert report.ok and report.datasets[0].sequences == {"train": 2, "val": 2, "test": 1}
    assert sorted(problems(report)) == [
        "warning: 1 of 4 annotated frames have no image, first 000003",
        "warning: annotation without images",
        "warning: images without annotation",
        "warning: is not here",
    ]


def test_letter_case_does_not_matter(folder: Path) -> None:
    before = [(ref.key, ref.frames) for split in SPEC.splits for ref in find(folder.parent, split)]
    moves = {
        f"annotations/{PANORAMA}.npz": "annotations/Panorama_Train.NPZ",
        "annotations/translation_val.npz": "annotations/translation_validation.npz",
        f"video_frames/{TRANSLATION}": "video_frames/Translation-train",
        "annotations": "Annotations",
        "video_frames": "Video_Frames",
    }
    for old, new in moves.items():
        (folder / old).rename(folder / new)
    image = next((folder / "Video_Frames" / "Translation-train").iterdir())
    image.rename(image.with_name(image.name.upper()))
    folder.rename(folder.with_name("dynacam"))
    assert [(ref.key, ref.frames) for split in SPEC.splits for ref in find(folder.parent, split)] == before
    assert problems(verify(folder)) == []


def test_what_is_not_there_is_named(folder: Path) -> None:
    ref = find(folder.parent, "train")[0]
    other = replace(ref, name=ref.name + "x")
    with pytest.raises(AnnotationError, match=rf"is not in the file, but {ref.images.name} is"):
        read(other)
    ref.annotation.unlink()
    with pytest.raises(AnnotationError, match="is missing"):
        read(ref)
