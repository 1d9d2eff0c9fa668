"""Broken datasets are found at the right depth and named; whole ones pass."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tiny_3dpw
from random_bodies import TwoBodies

from trace_data.adapters.threedpw import find, read
from trace_data.consistency.sequence import judge, measure
from trace_data.errors import AssetError, ConfigError
from trace_data.schema.body import Gender
from trace_data.verify.datasets import DEPTHS, VerifyReport, verify_datasets

NAME = "train_walk_01"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_3dpw.write(tmp_path, {"train": 3, "val": 1, "test": 1}, frames=6)


def verify(folder: Path, depth: str = "geometry", **options: Any) -> VerifyReport:
    return verify_datasets(["3dpw"], folder.parent, depth=depth, **options)  # type: ignore[arg-type]


def problems(report: VerifyReport) -> list[str]:
    return [f"{p.severity}: {p.what}" for dataset in report.datasets for p in dataset.problems]


@pytest.mark.parametrize("depth", DEPTHS)
def test_a_whole_dataset_is_clean(folder: Path, depth: str) -> None:
    report = verify(folder, depth, jobs=2 if depth == "content" else 1)
    assert report.ok and problems(report) == []
    dataset = report.datasets[0]
    assert dataset.sequences == {"train": 3, "val": 1, "test": 1} and dataset.frames == 30
    assert dataset.layout == "official (sequenceFiles)" and not dataset.synthetic
    assert dataset.people == (0 if depth == "layout" else 10)
    assert len(dataset.geometry) == (5 if depth == "geometry" else 0)
    assert (report.largest_reprojection_px is None) == (depth != "geometry")
    for consistency in dataset.geometry:
        assert consistency.reprojection_px is not None and consistency.reprojection_px.worst < 1e-6
        assert consistency.body_mm is None and consistency.swapped == ()
    assert json.loads(json.dumps(report.to_json()))["datasets"][0]["ok"] is True


def exchange(content: dict[str, Any]) -> None:
    """Left and right of the 2D points."""
    order = np.arange(18)
    for right, left in ((2, 5), (3, 6), (4, 7), (8, 11), (9, 12), (10, 13)):
        order[[right, left]] = left, right
    content["poses2d"] = [points[:, :, order] for points in content["poses2d"]]


def stretch(content: dict[str, Any]) -> None:
    """Somebody grows through the sequence."""
    factor = np.linspace(1, 1.5, 6)[:, None]
    content["jointPositions"] = [joints * factor for joints in content["jointPositions"]]


CHANGES: dict[str, tuple[str, Callable[[dict[str, Any]], Any], str]] = {
    "millimetres": (
        "content",
        lambda c: c.update(jointPositions=[j * 1000 for j in c["jointPositions"]]),
        "m apart",
    ),
    "transposed": (
        "content",
        lambda c: c.update(cam_poses=c["cam_poses"].transpose(0, 2, 1)),
        "last row is not 0 0 0 1",
    ),
    "NaN": ("content", lambda c: c["betas"][1].__setitem__(0, np.nan), "betas[1] has 1 NaN"),
    "frames short": (
        "content",
        lambda c: c.update(poses=[p[:4] for p in c["poses"]]),
        "has shape (6, 4, 4), expected 4x4x4",
    ),
    "behind": ("content", lambda c: c["cam_poses"].__setitem__((slice(None), 2, 3), -5.0), "lie behind the camera"),
    "stale calibration": ("geometry", lambda c: c["cam_intrinsics"][:2, :2].__imul__(1.6), "meet the 2D joints at"),
    "one pose": (
        "content",
        lambda c: c["cam_poses"].__setitem__(slice(None), c["cam_poses"][0]),
        "has the same pose in",
    ),
    "larger frames": ("content", lambda c: c["cam_intrinsics"].__imul__(1.6), "near the principal point"),
    "left and right": ("geometry", exchange, "left and right are exchanged for 0, 1"),
    "growing": ("geometry", stretch, "length changes by"),
}


@pytest.mark.parametrize("case", CHANGES)
def test_wrong_annotations_are_found_at_their_depth(folder: Path, case: str) -> None:
    depth, change, message = CHANGES[case]
    content = tiny_3dpw.load(folder, "train", NAME)
    change(content)
    tiny_3dpw.rewrite(folder, "train", NAME, content)
    assert verify(folder, DEPTHS[DEPTHS.index(depth) - 1]).ok  # type: ignore[arg-type]
    report = verify(folder, depth)
    assert not report.ok
    assert any(message in what for what in problems(report)), problems(report)
    assert all(NAME in example for problem in report.datasets[0].problems for example in problem.examples)


def test_broken_images_are_one_problem_with_examples(folder: Path) -> None:
    for number in (0, 1, 2, 3, 5):
        file = folder / "imageFiles" / NAME / f"image_{number:05d}.jpg"
        file.write_bytes(file.read_bytes()[: -40 * (number + 1)])
    other = folder / "imageFiles" / "val_walk_00" / "image_00003.jpg"
    cv2.imwrite(str(other), np.zeros((10, 20, 3), np.uint8))
    assert verify(folder, "layout").ok
    short, size = verify(folder, "content").datasets[0].problems
    assert short.count == 5 and "the JPEG ends too early" in short.what and short.hint == "copy the file again"
    assert len(short.examples) == 5 and "image_00005.jpg" in short.examples[4]
    assert size.count == 1 and "20x10 px, expected 96x64" in size.what and "val_walk_00" in size.examples[0]


def test_layout_problems(folder: Path) -> None:
    images = folder / "imageFiles"
    (images / "test_walk_00").rename(images / "tset_walk_00")
    (images / NAME / "image_00002.jpg").unlink()
    found = problems(verify(folder, "layout"))
    assert found == [
        "error: annotation without images, but imageFiles/tset_walk_00 has no annotation",
        "error: image_00002.jpg is missing (5 images, last 5)",
        "warning: images without annotation",
    ]
    (folder / "sequenceFiles").rename(folder / "sequences")
    (problem,) = problems(verify(folder, "geometry"))
    assert problem.startswith("error: there is no sequenceFiles/<split>/<seq>.pkl in it") and str(folder) in problem
    nowhere = verify_datasets([], folder / "nowhere")
    assert not nowhere.ok and "does not exist" in problems(nowhere)[0]


def test_images_beyond_the_annotation_are_a_warning(folder: Path) -> None:
    image = folder / "imageFiles" / NAME / "image_00005.jpg"
    (image.parent / "image_00006.jpg").write_bytes(image.read_bytes())
    report = verify(folder, "content")
    assert report.ok and problems(report) == ["warning: 7 images, 6 annotated frames"]


def test_a_pickle_with_a_forbidden_class_is_reported_not_run(folder: Path, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    file = folder / "sequenceFiles" / "train" / f"{NAME}.pkl"
    file.write_bytes(f"cposix\nsystem\n(S'touch {mark}'\ntR.".encode())
    report = verify(folder, "content")
    assert not report.ok and "posix.system" in problems(report)[0] and not mark.exists()


def test_wrong_arguments(folder: Path) -> None:
    with pytest.raises(ConfigError, match="unknown depth"):
        verify(folder, "deep")
    with pytest.raises(AssetError, match=r"SMPL_NEUTRAL\.pth, SMPL_FEMALE\.pth, SMPL_MALE\.pth missing"):
        verify(folder, packs=folder)


def test_bodies_complete_a_record_and_are_compared_with_its_joints(folder: Path) -> None:
    bodies = TwoBodies()
    content = tiny_3dpw.load(folder, "train", NAME)
    kinds: list[Gender] = ["male", "female"]
    for number, kind in enumerate(kinds):
        pose, shift = content["poses"][number].reshape(6, 24, 3), content["trans"][number]
        betas = np.tile(content["betas"][number], (6, 1))
        joints = bodies.model(kind).joints44(pose, betas) + shift[:, None]
        content["jointPositions"][number] = joints[:, :24].reshape(6, 72)
    content["poses2d"] = [points * 0 for points in content["poses2d"]]
    tiny_3dpw.rewrite(folder, "train", NAME, content)
    record = read(find(folder.parent, "train")[1])
    consistency = measure(record, bodies)
    assert consistency.body_mm is not None and consistency.body_mm.worst < 1e-3 and judge(consistency, record) == []
    completed = bodies.complete(record)
    first, second = completed["0"], completed["1"]
    assert first.joints3d is not None and first.betas_neutral is not None and second.betas_neutral is not None
    np.testing.assert_allclose(first.joints3d[:, :24, :3].reshape(6, 72), content["jointPositions"][0], atol=1e-6)
    # the same shape space gives the same coefficients; another one gives others, the same for all frames
    np.testing.assert_allclose(first.betas_neutral, np.tile(content["betas"][0], (6, 1)), atol=1e-8)
    assert np.ptp(second.betas_neutral, axis=0).max() == 0
    assert abs(second.betas_neutral[0] - content["betas"][1]).max() > 0.1
    bodies._models["female"] = bodies._models["male"]
    wrong = judge(measure(record, bodies), record)
    assert len(wrong) == 1 and "the body model's joints are" in wrong[0].what
