"""BEDLAM2 folders that are broken, each in one way: found at the right depth and named.

What happens to frames is tested with all layouts in test_bad_input.py, what happens to tables with BEDLAM's.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_bedlam2
from found_at_depth import assert_error_found
from tiny_bedlam2 import CLOSEUP, DOLLY, PORTRAIT, STATIC, camera, change_csv, change_npz, motions

from trace_data.adapters import find_sequences, read_record
from trace_data.adapters.bedlam2 import find, read
from trace_data.errors import AnnotationError, DatasetLayoutError


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dataset as downloaded. Read only."""
    return tiny_bedlam2.write(tmp_path_factory.mktemp("world"))


@pytest.fixture
def folder(world: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return shutil.copytree(world, tmp_path / "BEDLAM2")


def names(pattern: str, new: str) -> Callable[[Path], Any]:
    def write(folder: Path) -> None:
        file = folder / "bedlam2_scene_names.csv"
        changed, count = re.subn(pattern, new, file.read_text())
        assert count
        file.write_text(changed)

    return write


def column(number: int, how: Callable[[float], float], scene: str = DOLLY) -> Callable[[Path], Any]:
    """A column of a camera is what `how` makes of it."""
    return lambda folder: change_csv(
        camera(folder, scene), lambda rows: [row.__setitem__(number, str(how(float(row[number])))) for row in rows[1:]]
    )


def body(number: int, value: str) -> Callable[[Path], Any]:
    """A cell of the first person of the first scene is another one."""
    return lambda folder: change_csv(
        folder / DOLLY / "be_seq.csv",
        lambda rows: next(row for row in rows if row[1] == "Body").__setitem__(number, value),
    )


def motion(how: Callable[[dict[str, Any]], Any]) -> Callable[[Path], Any]:
    return lambda folder: change_npz(motions(folder)[0], how)


def in_folder(file: Path) -> None:
    file.with_suffix("").mkdir()
    file.rename(file.with_suffix("") / "motion_seq.npz")


def renamed(rows: list[list[str]]) -> None:
    for row in rows[1:]:
        row[0] = row[0].replace("000000", "000003")


def sensor(folder: Path) -> None:
    """Another one, with which everything else agrees."""
    for number in (7, 8, 9):
        column(number, lambda mm: 2 * mm)(folder)


BROKEN: dict[str, tuple[str, Callable[[Path], Any], str]] = {
    "no table of scenes": ("layout", lambda f: (f / "bedlam2_scene_names.csv").unlink(), "bedlam2_scene_names.csv"),
    "no description": ("layout", lambda f: (f / DOLLY / "be_seq.csv").unlink(), "be_seq.csv"),
    "no camera": ("layout", lambda f: camera(f).unlink(), "meta_exr_csv"),
    "no motions": ("layout", lambda f: shutil.rmtree(f / "motions_npz_training"), "motions_npz_training"),
    "none of a sequence's motions": (
        "layout", lambda f: [file.unlink() for file in motions(f)], "2 of 2 bodies have no motion file",
    ),
    "motions in folders, as BEDLAM's": (
        "layout", lambda f: [in_folder(file) for file in motions(f)], "2 of 2 bodies have no motion file",
    ),
    "a scene that is not in the table": ("content", names(rf"{STATIC}.*\n", ""), f"no scene {STATIC}"),
    "a table without the second column": ("content", names(", .*", ""), "1 cells"),
    "a table of something else": (
        "content", lambda f: (f / "bedlam2_scene_names.csv").write_bytes(b"\xff\xfe"), "UTF-8",
    ),
    "portrait that is not in the table": ("content", names("-portrait", ""), "72x128 px, expected 128x72"),
    "portrait by the word closeup": ("content", names("stadium-closeup", "portrait"), "128x72 px, expected 72x128"),
    "another sensor": ("content", sensor, "sensor"),
    "a sensor of one number": ("content", column(8, lambda mm: 24.0), "24x20.25 mm"),
    "a lens that is not its angle": ("content", column(10, lambda degrees: degrees + 9), "by hfov"),
    "a row too few": ("content", lambda f: change_csv(camera(f), lambda rows: rows.pop()), "3 rows, 4 frames"),
    "rows of another sequence": ("content", lambda f: change_csv(camera(f), renamed), "expected seq_000000"),
    "a camera elsewhere": ("content", column(1, lambda cm: cm + 50_000), "comes into the picture"),
    "metres for centimetres": ("content", column(1, lambda cm: 100 * cm), "comes into the picture"),
    "NaN in the camera": ("content", column(4, lambda degrees: float("nan")), "yaw is 'nan'"),
    "a body that leans": ("layout", body(7, "30"), "Pitch is 30"),
    "a body without a name": ("layout", body(2, "../us_1"), "expected <subject>_<animation>"),
    "a motion of SMPL": ("content", motion(lambda held: held.update(poses=held["poses"][:, :72])), "SMPL-X's 165"),
    "a motion without a place": ("content", motion(lambda held: held.pop("trans")), "has no trans"),
    "a motion in millimetres": ("content", motion(lambda held: held.update(trans=1000 * held["trans"])), "m away"),
    "a motion in degrees": (
        "content", motion(lambda held: held.update(poses=np.degrees(held["poses"]))), "expected radians",
    ),
    "a motion of 120 Hz": ("content", motion(lambda held: held.update(mocap_frame_rate=np.array(120))), "is 120"),
    "NaN in a motion": ("content", motion(lambda held: held["poses"].__setitem__((3, 5), np.nan)), "poses"),
    "a motion that is cut": ("content", lambda f: motions(f)[0].write_bytes(motions(f)[0].read_bytes()[:500]), ".npz"),
    "bodies upside down": (
        "content", lambda f: [change_npz(m, lambda held: held["poses"].__setitem__(
            (slice(None), slice(0, 3)), [np.pi, 0, 0])) for m in motions(f)], "stand on their heads",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_it_is_found_at_its_depth(case: str, folder: Path) -> None:
    depth, damage, words = BROKEN[case]
    damage(folder)
    assert_error_found("bedlam2", folder.parent, depth, words)


def test_a_broken_description_costs_its_scene_and_no_other(folder: Path) -> None:
    (folder / DOLLY / "be_seq.csv").write_text("")
    refs = find_sequences("bedlam2", folder.parent, "train")
    assert len(refs) == 4 and {read_record(ref).name.partition("/")[0] for ref in refs if ref.broken is None} == {
        PORTRAIT, CLOSEUP, STATIC,
    }  # fmt: skip


def test_a_file_that_is_gone_is_the_error_of_its_sequence(folder: Path) -> None:
    ref = next(ref for ref in find(folder.parent, "train") if ref.name == f"{DOLLY}/seq_000000")
    camera(folder).unlink()
    with pytest.raises(AnnotationError, match="no longer there") as caught:
        read(ref)
    assert caught.value.where == str(folder / DOLLY / "be_seq.csv")


def test_the_folder_is_named_when_it_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DatasetLayoutError) as caught:
        find(tmp_path, "train")
    assert caught.value.where == str(tmp_path) and "bedlam2.is.tue.mpg.de" in (caught.value.hint or "")
