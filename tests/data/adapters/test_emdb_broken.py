"""EMDB folders that are broken, each in one way: found at the right depth and named.

What happens to frames is tested with all layouts in test_bad_input.py.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_emdb
from found_at_depth import Payload, assert_error_found
from tiny_emdb import STAIRS, WALK, annotation, change, images

from trace_data.adapters import find_sequences, read_record
from trace_data.adapters.emdb import find, read
from trace_data.errors import AnnotationError, DatasetLayoutError

Content = dict[str, Any]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dataset as downloaded. Read only."""
    return tiny_emdb.write(tmp_path_factory.mktemp("world"))


@pytest.fixture
def folder(world: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return shutil.copytree(world, tmp_path / "EMDB")


def content(how: Callable[[Content], Any], name: str = STAIRS) -> Callable[[Path], Any]:
    return lambda folder: change(annotation(folder, name), how)


def inside(part: str, key: str, how: Callable[[np.ndarray], Any]) -> Callable[[Path], Any]:
    """One array of a part is what `how` makes of it."""
    return content(lambda held: held[part].update({key: how(held[part][key])}))


def array(key: str, how: Callable[[np.ndarray], Any]) -> Callable[[Path], Any]:
    return content(lambda held: held.update({key: how(held[key])}))


def put(value: float, *place: int) -> Callable[[np.ndarray], np.ndarray]:
    def changed(values: np.ndarray) -> np.ndarray:
        values[place] = value
        return values

    return changed


def transposed(extrinsics: np.ndarray) -> np.ndarray:
    extrinsics[:, :3, :3] = extrinsics[:, :3, :3].transpose(0, 2, 1).copy()
    return extrinsics


def swapped(folder: Path) -> None:
    """A link that leads nowhere lies where a sequence was."""
    place = annotation(folder).parent
    shutil.rmtree(place)
    place.symlink_to("gone")


def renamed(folder: Path) -> None:
    place = annotation(folder).parent
    place.rename(place.with_name("50_outdoor_workout"))


def jump(translation: np.ndarray) -> np.ndarray:
    translation[4] += [0, 5, 0]
    return translation


BROKEN: dict[str, tuple[str, Callable[[Path], Any], str]] = {
    "no annotation": ("layout", lambda f: annotation(f).unlink(), "without annotation"),
    "two annotations": (
        "layout", lambda f: shutil.copy(annotation(f), annotation(f).with_name("old_data.pkl")), "2 annotations",
    ),
    "no images": ("layout", lambda f: shutil.rmtree(images(f)), "no images"),
    "no images in it": ("layout", lambda f: [file.unlink() for file in images(f).iterdir()], "no images"),
    "a link to nothing": ("layout", swapped, "symbolic link to nothing"),
    "the last image is lost": ("content", lambda f: (images(f) / "00005.jpg").unlink(), "00005.jpg is missing"),
    "a folder was renamed": ("content", renamed, "name is 'P6_49_outdoor_big_stairs_down'"),
    "a pickle that is cut": (
        "content", lambda f: annotation(f).write_bytes(annotation(f).read_bytes()[:2000]), f"{STAIRS}_data.pkl",
    ),
    "a pointer of Git LFS": (
        "content", lambda f: annotation(f).write_text("version https://git-lfs.github.com/spec/v1"), "Git LFS",
    ),
    "a pickle of something else": ("content", lambda f: annotation(f).write_bytes(b"]."), "a list, expected a dict"),
    "a forbidden class": ("content", content(lambda held: held.update(kp2d=Payload())), "posix.mkdir at byte"),
    "no bodies": ("content", content(lambda held: held.pop("smpl")), "smpl is missing"),
    "no translation": ("content", content(lambda held: held["smpl"].pop("trans")), "smpl: trans is missing"),
    "a number of bodies": ("content", content(lambda held: held.update(smpl=3)), "smpl holds a int"),
    "another length": ("content", content(lambda held: held.update(n_frames=5)), "has shape (6,), expected 5"),
    "no length": ("content", content(lambda held: held.update(n_frames=0)), "n_frames is 0"),
    "a mask of numbers": ("content", array("good_frames_mask", lambda mask: np.arange(6)), "True and False"),
    "a mask of frame numbers": (
        "content", array("good_frames_mask", lambda mask: np.flatnonzero(mask)), "good_frames_mask has shape (5,)",
    ),
    "nothing is good": ("content", array("good_frames_mask", np.zeros_like), "False in all 6 frames"),
    "a part that is no flag": ("content", content(lambda held: held.update(emdb2="yes")), "emdb2 is no array"),
    "a part that is a number": ("content", content(lambda held: held.update(emdb1=17)), "emdb1 is 17"),
    "an unknown gender": ("content", content(lambda held: held.update(gender="diverse")), "gender is 'diverse'"),
    "NaN in a pose": ("content", inside("smpl", "poses_body", put(np.nan, 4, 7)), "poses_body has 1 NaN"),
    "NaN in the camera": ("content", inside("camera", "extrinsics", put(np.nan, 3, 0, 0)), "extrinsics has 1 NaN"),
    "poses of SMPL-X": ("content", inside("smpl", "poses_body", lambda pose: pose[:, :63]), "expected 6x69"),
    "betas of another body": ("content", inside("smpl", "betas", lambda betas: np.zeros(16)), "expected 10"),
    "an exploded shape": ("content", inside("smpl", "betas", put(113, 3)), "a coefficient of 113"),
    "millimetres": ("content", inside("smpl", "trans", lambda metres: 1000 * metres), "pelvis"),
    "degrees": ("content", inside("smpl", "poses_body", np.degrees), "expected radians"),
    "an inverted camera": ("content", inside("camera", "extrinsics", np.linalg.inv), "pelvis"),
    "a transposed camera": ("content", inside("camera", "extrinsics", transposed), "pelvis"),
    "one pose for all frames": (
        "content", inside("camera", "extrinsics", lambda poses: np.tile(poses[:1], (6, 1, 1))), "same pose in all",
    ),
    "a camera without a last row": ("content", inside("camera", "extrinsics", put(2, 1, 3, 3)), "0 0 0 1"),
    "a camera that stretches": (
        "content",
        content(lambda held: held["camera"]["extrinsics"].__setitem__((2, slice(3), slice(3)), 1.1 * np.eye(3))),
        "not rotations",
    ),
    "a size of other images": (
        "content", content(lambda held: held["camera"].update(width=96, height=72)), "72x96 px, expected 96x72",
    ),
    "no width": ("content", content(lambda held: held["camera"].update(width=0)), "width is 0"),
    "a lens of other images": (
        "content", inside("camera", "intrinsics", lambda lens: lens * [[0.5], [0.5], [1]]), "pelvis",
    ),
    "points of other images": ("content", array("kp2d", lambda points: 2 * points), "pelvis"),
    "points without numbers": ("content", array("kp2d", lambda points: np.nan * points), "pelvis"),
    "points of one number": ("content", array("kp2d", lambda points: points[..., :1]), "1 numbers for each joint"),
    "points without a pelvis": ("content", array("kp2d", lambda points: points[:, 1:]), "has shape (6, 23, 2)"),
    "bodies upside down": (
        "content",
        inside("smpl", "poses_root", lambda root: np.tile(np.float32([np.pi, 0, 0]), (len(root), 1))),
        "stand on their heads",
    ),
    "bodies of the frame before": (
        "geometry",
        content(lambda held: held["smpl"].update({k: np.roll(held["smpl"][k], 1, 0) for k in ("poses_root", "trans")})),
        "2D joints",
    ),
    "a body that jumps": ("geometry", inside("smpl", "trans", jump), "m/s through the world"),
    "left and right exchanged": (
        "geometry",
        array("kp2d", lambda points: points[:, [0, 2, 1, 3, 5, 4, 6, 8, 7, 9, 11, 10, 12, 14, 13, 15, 17, 16, 19, 18,
                                                21, 20, 23, 22]]),
        "left and right are exchanged",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_it_is_found_at_its_depth(case: str, folder: Path, packs: Path) -> None:
    depth, damage, words = BROKEN[case]
    damage(folder)
    assert_error_found("emdb", folder.parent, depth, words, packs)


def test_one_broken_sequence_costs_no_other(folder: Path) -> None:
    annotation(folder).write_bytes(b"")
    refs = find_sequences("emdb", folder.parent, "test")
    assert len(refs) == 4 and all(read_record(ref) for ref in refs if ref.name != STAIRS)


def test_one_point_that_is_no_number_is_masked_and_said(folder: Path) -> None:
    change(annotation(folder, WALK), lambda held: held["kp2d"].__setitem__((2, 7), np.nan))
    record = read_record(next(ref for ref in find(folder.parent, "test") if ref.name == WALK))
    points = record.people[0].keypoints2d
    assert points is not None and not points.points[2, 7].any() and "1 of 144" in record.remarks[0]


def test_the_folder_is_named_when_it_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DatasetLayoutError) as caught:
        find(tmp_path, "test")
    assert caught.value.where == str(tmp_path) and "emdb.ait.ethz.ch" in (caught.value.hint or "")


def test_a_file_that_is_gone_is_the_error_of_its_sequence(folder: Path) -> None:
    ref = next(ref for ref in find(folder.parent, "test") if ref.name == STAIRS)
    annotation(folder).unlink()
    with pytest.raises(AnnotationError) as caught:
        read(ref)
    assert str(caught.value.where) == str(annotation(folder))
