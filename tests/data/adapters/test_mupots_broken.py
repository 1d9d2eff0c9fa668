"""MuPoTS-3D folders that are broken, each in one way: found at the right depth and named.

What happens to frames is tested with all layouts in test_bad_input.py.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import tiny_mupots
from found_at_depth import assert_error_found
from mpi_damage import exchanged
from tiny_mupots import change_cells, of_each

from trace_data.adapters import find_sequences, read_record
from trace_data.adapters.mupots import find
from trace_data.errors import AnnotationError, DatasetLayoutError
from trace_data.sample_world.mupots import write_matlab
from trace_data.schema.keypoints import MPI_INF_TEST_17

Damage = Callable[[Path], Any]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dataset as downloaded. Read only."""
    return tiny_mupots.write(tmp_path_factory.mktemp("world"))


@pytest.fixture
def folder(world: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return shutil.copytree(world, tmp_path / world.name)


def cells(change: Callable[[Any], Any], file: str = "annot.mat") -> Damage:
    return lambda folder: change_cells(folder, change, file=file)


def each(change: Callable[[dict[str, Any]], Any]) -> Damage:
    return cells(of_each(change))


def scaled(key: str, factor: float) -> Damage:
    return each(lambda entry: entry.update({key: factor * entry[key]}))


def sides(*keys: str) -> Damage:
    order = [*exchanged(MPI_INF_TEST_17[:14]), 14, 15, 16]
    return each(lambda entry: entry.update({key: entry[key][:, order] for key in keys}))


def late(held: Any) -> None:
    """Everybody's 2D points come one frame late."""
    for column in range(held.shape[1]):
        entries = [entry for entry in held[:, column] if isinstance(entry, dict) and entry["isValidFrame"]]
        points = [entry["annot2"] for entry in entries]
        for entry, earlier in zip(entries[1:], points):
            entry["annot2"] = earlier


def from_another(folder: Path) -> None:
    """2D points of another sequence."""
    other = scipy.io.loadmat(folder / "TS3/annot.mat")["annotations"]
    change_cells(folder, lambda held: [
        entry.update(annot2=other[0, 0]["annot2"][0, 0]) for entry in held.ravel() if isinstance(entry, dict)
    ] and None)  # fmt: skip


def exchange_columns(held: Any) -> None:
    """From the middle on the people have each other's column."""
    held[2:] = held[2:, ::-1].copy()


BROKEN: dict[str, tuple[str, Damage, str]] = {
    "no labels": ("layout", lambda f: (f / "TS1/annot.mat").unlink(), "no annot.mat"),
    "labels that are cut": (
        "layout", lambda f: (f / "TS1/annot.mat").write_bytes((f / "TS1/annot.mat").read_bytes()[:200]), "annot.mat",
    ),
    "labels of another release": (
        "layout", lambda f: write_matlab(f / "TS1/annot.mat", {"annot2": np.eye(2)}), "annotations is missing",
    ),
    "labels of a longer sequence": (
        "layout", lambda f: shutil.copy(f / "TS3/annot.mat", f / "TS1/annot.mat"), "img_000005.jpg is missing",
    ),
    "frames for people": ("layout", cells(lambda held: np.tile(held, (1, 10)).reshape(5, -1)), "frames x people"),
    "numbers for cells": (
        "content", lambda f: write_matlab(f / "TS1/annot.mat", {"annotations": np.zeros((5, 2))}), "a cell array",
    ),
    "no struct": ("content", cells(lambda held: held.__setitem__((0, 1), np.eye(2))), "annotations{1,2} is of type"),
    "a field is lost": ("content", each(lambda entry: entry.pop("annot3")), "annot3 is missing"),
    "a joint is lost": (
        "content", each(lambda entry: entry.update(annot2=entry["annot2"][:, :16])), "annot2 is of type float64 and",
    ),
    "NaN": ("content", cells(lambda held: held[4, 0]["annot3"].__setitem__((1, 3), np.nan)), "annotations{5,1}.annot3"),
    "a flag that is none": (
        "content", cells(lambda held: held[0, 0].update(isValidFrame=np.array([[2]]))), "isValidFrame is 2",
    ),
    "nobody": ("content", each(lambda entry: entry.update(isValidFrame=np.zeros((1, 1)))), "is 0 everywhere"),
    "metres": ("content", scaled("annot3", 0.001), "m apart, expected 0.4 to 3"),
    "behind the camera": ("content", scaled("annot3", -1), "behind the camera"),
    "2D of another sequence": ("content", from_another, "no camera shows annot3 at annot2"),
    "occlusion of another sequence": (
        "content", lambda f: shutil.copy(f / "TS2/occlusion.mat", f / "TS1/occlusion.mat"), "as annot.mat has",
    ),
    "occlusion that is none": (
        "content", cells(lambda held: held.__setitem__((0, 0), np.full((1, 17), 7)), "occlusion.mat"), "has 7",
    ),
    "occlusion that is cut": ("content", lambda f: (f / "TS1/occlusion.mat").write_bytes(b"MATLAB"), "occlusion.mat"),
    "left and right in 2D": ("geometry", sides("annot2"), "left and right are exchanged for TS1/0"),
    "left and right in 2D and 3D": (
        "geometry", sides("annot2", "annot3", "univ_annot3"), "left and right are exchanged in 3D",
    ),
    "2D of the frame before": ("geometry", cells(late), "meet the 2D joints"),
    "columns that change": ("geometry", cells(exchange_columns), "bone"),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_it_is_found_at_its_depth(case: str, folder: Path) -> None:
    depth, damage, words = BROKEN[case]
    damage(folder)
    assert_error_found("mupots", folder.parent, depth, words)


def test_one_broken_sequence_costs_no_other(folder: Path) -> None:
    (folder / "TS1/annot.mat").write_bytes(b"")
    refs = find_sequences("mupots", folder.parent, "test")
    assert [ref.name for ref in refs] == ["TS1", "TS2", "TS3"]
    with pytest.raises(AnnotationError) as caught:
        read_record(refs[0])
    assert caught.value.where == str(folder / "TS1/annot.mat") and "MultiPersonTestSet.zip" in (caught.value.hint or "")
    assert all(read_record(ref) for ref in refs[1:])


def test_the_folder_is_named_when_it_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DatasetLayoutError) as caught:
        find(tmp_path, "test")
    assert caught.value.where == str(tmp_path) and "mpi-inf.mpg.de" in (caught.value.hint or "")


def test_the_test_set_of_mpi_inf_3dhp_is_another(tmp_path: Path) -> None:
    (tmp_path / "mpi_inf_3dhp_test_set/TS1").mkdir(parents=True)
    (tmp_path / "mpi_inf_3dhp_test_set/TS1/annot_data.mat").write_bytes(b"")
    with pytest.raises(DatasetLayoutError):
        find(tmp_path / "mpi_inf_3dhp_test_set", "test")
