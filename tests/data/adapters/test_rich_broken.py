"""RICH folders that are broken, each in one way: found at the right depth and named.

What happens to frames is tested with all layouts in test_bad_input.py.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_rich
from found_at_depth import Payload, assert_error_found
from tiny_rich import BURPEE, body, calibration, change, change_all, images

from trace_data.adapters import find_sequences, read_record
from trace_data.adapters.rich import find, read
from trace_data.errors import AnnotationError, DatasetLayoutError

Content = dict[str, Any]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dataset as downloaded. Read only."""
    return tiny_rich.write(tmp_path_factory.mktemp("world"))


@pytest.fixture
def folder(world: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return shutil.copytree(world, tmp_path / "RICH")


def content(how: Callable[[Content], Any]) -> Callable[[Path], Any]:
    return lambda folder: change(body(folder), how)


def every(how: Callable[[Content], Any]) -> Callable[[Path], Any]:
    return lambda folder: change_all(folder, how)


def text(pattern: str, new: str) -> Callable[[Path], Any]:
    """What `pattern` finds in the calibration is `new`."""

    def write(folder: Path) -> None:
        file = calibration(folder)
        changed, count = re.subn(pattern, new, file.read_text(), count=1, flags=re.DOTALL)
        assert count
        file.write_text(changed)

    return write


def numbers(name: str, how: Callable[[np.ndarray], np.ndarray], view: int = 0) -> Callable[[Path], Any]:
    """A matrix of a calibration is what `how` makes of it (4, 4) or (3, 3)."""

    def write(folder: Path) -> None:
        file = calibration(folder, view)
        match = re.search(rf"(<{name}.*?<data>)(.*?)(</data>)", file.read_text(), flags=re.DOTALL)
        assert match
        values = np.array(match[2].split(), float).reshape(3, -1)
        square = values.shape == (3, 3)
        made = how(values if square else np.vstack([values, [0, 0, 0, 1]]))[:3]
        data = " ".join(map(repr, made.reshape(-1).tolist()))
        file.write_text(file.read_text().replace(match[0], match[1] + data + match[3]))

    return write


def transposed(matrix: np.ndarray) -> np.ndarray:
    matrix[:3, :3] = matrix[:3, :3].T.copy()
    return matrix


def bodies(folder: Path) -> Path:
    return folder / "data/bodies/test" / BURPEE


def put(key: str, value: float) -> Callable[[Content], Any]:
    return lambda held: held[key].__setitem__((0, 1), value)


BROKEN: dict[str, tuple[str, Callable[[Path], Any], str]] = {
    "no calibration": ("layout", lambda f: calibration(f).unlink(), "scan_calibration/ParkingLot2/calibration/000.xml"),
    "no calibration at all": ("layout", lambda f: shutil.rmtree(f / "scan_calibration"), "no scan_calibration/"),
    "no bodies": ("layout", lambda f: shutil.rmtree(bodies(f)), "images without bodies"),
    "no frames of bodies": (
        "layout", lambda f: [shutil.rmtree(frame) for frame in bodies(f).iterdir()], "no frame in its folder of bodies",
    ),
    "no images": ("layout", lambda f: [file.unlink() for file in images(f).iterdir()], "no images"),
    "the images of another camera": (
        "layout", lambda f: [x.rename(x.with_name(x.name.replace("_00", "_01"))) for x in images(f).iterdir()],
        "no images",
    ),
    "a body beyond the last image": (
        "layout", lambda f: shutil.copytree(bodies(f) / "00048", bodies(f) / "00060"), "00060_00 is missing",
    ),
    "a pickle that is cut": ("content", lambda f: body(f).write_bytes(body(f).read_bytes()[:90]), "017.pkl"),
    "a pointer of Git LFS": (
        "content", lambda f: body(f).write_text("version https://git-lfs.github.com/spec/v1"), "Git LFS",
    ),
    "a pickle of something else": ("content", lambda f: body(f).write_bytes(b"]."), "a list, expected a dict"),
    "a forbidden class": ("content", content(lambda held: held.update(betas=Payload())), "posix.mkdir at byte"),
    "an unknown subject": ("content", lambda f: body(f).rename(body(f).with_name("022.pkl")), "no subject 022"),
    "no pose": ("content", content(lambda held: held.pop("body_pose")), "body_pose is missing"),
    "a pose of SMPL": (
        "content", content(lambda held: held.update(body_pose=np.zeros((1, 69)))), "expected 1x63",
    ),
    "several people in a file": (
        "content", content(lambda held: held.update(transl=np.zeros((2, 3)))), "transl has shape (2, 3)",
    ),
    "NaN in a pose": ("content", content(put("body_pose", np.nan)), "body_pose has 1 NaN"),
    "NaN in the place": ("content", content(put("transl", np.inf)), "transl has 1 NaN"),
    "millimetres": ("content", every(lambda held: held.update(transl=1000 * held["transl"])), "m from camera 0"),
    "degrees": (
        "content", every(lambda held: held.update(body_pose=np.degrees(held["body_pose"]))), "expected radians",
    ),
    "an XML that is cut": (
        "content", lambda f: calibration(f).write_text(calibration(f).read_text()[:300]), "no readable XML",
    ),
    "a web page": ("content", lambda f: calibration(f).write_text("<html><p>log in"), "no readable XML"),
    "no matrix of the lens": ("content", text("<Intrinsics.*</Intrinsics>", ""), "has no Intrinsics"),
    "words in a matrix": ("content", text("<data>", "<data> focal "), "no matrix of numbers"),
    "a number too few": ("content", text("(<CameraMatrix.*?<data>\\s*)[^\\s]+", "\\1"), "11 numbers for 3x4"),
    "rows and columns exchanged": (
        "content", text("<rows>3</rows>\\s*<cols>4</cols>", "<rows>4</rows><cols>3</cols>"), "expected 3x4",
    ),
    "NaN in the camera": ("content", text("(<CameraMatrix.*?<data>\\s*)[^\\s]+", "\\1nan"), "NaN or infinite"),
    "a lens of six numbers": (
        "content", text("<rows>5</rows>\\s*<cols>1</cols>(.*?<data>)", "<rows>6</rows><cols>1</cols>\\1 0.1 "),
        "6 numbers, expected 4, 5, 8, 12",
    ),
    "a camera that stretches": (
        "content", numbers("CameraMatrix", lambda m: np.diag([1.2, 1.2, 1.2, 1]) @ m), "not rotations",
    ),
    "a camera that looks the other way": (
        "content", numbers("CameraMatrix", lambda m: np.diag([-1.0, 1, -1, 1]) @ m), "nobody comes into the picture",
    ),
    "a transposed camera": ("content", numbers("CameraMatrix", transposed, 1), "nobody comes into the picture"),
    "a lens of quarter size": ("content", numbers("Intrinsics", lambda m: m * [[0.25], [0.25], [1]]), "px"),
    "a matrix that is no lens": ("content", numbers("Intrinsics", lambda m: -m), "no matrix of a camera"),
    "a view that lies on its side": (
        "content", numbers("Intrinsics", lambda m: np.array([[m[1, 1], 0, m[1, 2]], [0, m[0, 0], m[0, 2]], [0, 0, 1]])),
        "no 3008x4112 px at any scale",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_it_is_found_at_its_depth(case: str, folder: Path) -> None:
    depth, damage, words = BROKEN[case]
    damage(folder)
    assert_error_found("rich", folder.parent, depth, words)


def test_images_that_were_thinned_are_an_error_that_says_how_to_thin(folder: Path) -> None:
    for number in (47, 48, 50, 51):
        (images(folder) / f"{number:05d}_00.jpeg").unlink()
    ref = next(ref for ref in find(folder.parent, "test") if ref.name == f"{BURPEE}/cam_00")
    with pytest.raises(AnnotationError, match="00047_00") as caught:
        read(ref)
    assert caught.value.where == str(images(folder)) and "--every" in str(caught.value.hint)


def test_a_broken_calibration_costs_its_view_and_a_broken_body_its_sequence(folder: Path) -> None:
    calibration(folder, 1).write_text("")
    refs = [ref for split in ("train", "val", "test") for ref in find_sequences("rich", folder.parent, split)]
    assert len(refs) == 8 and all(read_record(ref) for ref in refs if ref.name != f"{BURPEE}/cam_01")
    body(folder).write_bytes(b"")
    assert all(read_record(ref) for ref in refs if not ref.name.startswith(BURPEE))


def test_the_folder_is_named_when_it_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DatasetLayoutError) as caught:
        find(tmp_path, "test")
    assert caught.value.where == str(tmp_path) and "rich.is.tue.mpg.de" in (caught.value.hint or "")
