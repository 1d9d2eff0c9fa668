"""Our reader of MATLAB files beside SciPy's on whole files, and on files that end SciPy's process."""

from __future__ import annotations

import struct
import subprocess
import sys
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import scipy.io
import scipy.sparse

from trace_data.adapters.matlab5 import matlab_shapes, read_matlab
from trace_data.errors import AnnotationError

CONTENT: Mapping[str, Any] = {
    "double": np.arange(6.0).reshape(2, 3) / 3,
    "small": np.arange(6.0).reshape(2, 3),  # MATLAB and SciPy store such numbers in fewer bytes
    "single": np.float32([[1.5, 2]]),
    "whole": np.int16([[-3], [4]]),
    "flags": np.array([[True, False]]),
    "text": "walk",
    "umlaut": "Übung",
    "lines": np.array(["abc", "de "]),
    "nothing": np.zeros((0, 3)),
    "space": np.arange(24.0).reshape(2, 3, 4),
    "cells": np.array([[np.arange(3.0), "x"], [np.zeros((0, 0)), np.eye(2)]], dtype=object),
    "structs": np.array([[{"a": np.eye(2), "longer": "x"}, {"a": 1.0, "longer": np.zeros((0, 0))}]], dtype=object),
}


def read(file: Path, *names: str) -> dict[str, npt.NDArray[Any]]:
    return read_matlab(file, names or tuple(CONTENT), hint="get it again")


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "compressed"])
def test_it_reads_what_scipy_reads(packed: bool, tmp_path: Path) -> None:
    file = tmp_path / "a.mat"
    scipy.io.savemat(file, {**CONTENT, "sparse": scipy.sparse.eye(2)}, do_compression=packed)
    expected, found = scipy.io.loadmat(file), read(file)
    assert found.keys() == CONTENT.keys()
    for name in CONTENT.keys() - {"cells", "structs"}:
        np.testing.assert_array_equal(found[name], expected[name])
        assert found[name].dtype == expected[name].dtype, name
    assert found["cells"].shape == (2, 2)
    for ours, theirs in zip(found["cells"].ravel(), expected["cells"].ravel()):
        np.testing.assert_array_equal(ours, theirs)
    assert found["structs"].shape == (1, 2)
    for cell, theirs in zip(found["structs"].ravel(), expected["structs"].ravel()):
        assert cell.shape == theirs.shape == (1, 1) and cell.item().keys() == {"a", "longer"}
        for field, value in cell.item().items():
            np.testing.assert_array_equal(value, theirs[0, 0][field])
    shapes = {name: shape for name, shape, kind in scipy.io.whosmat(file) if kind != "char"}
    assert matlab_shapes(file, hint="").items() >= shapes.items()


def test_variables_of_other_kinds_are_passed_over_unless_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "a.mat"
    scipy.io.savemat(file, {"sparse": scipy.sparse.eye(2), "complex": np.ones(2) * 1j, "x": 1.0})
    assert read(file, "x")["x"] == 1
    for name in ("sparse", "complex"):
        with pytest.raises(AnnotationError, match=name) as caught:
            read(file, name)
        assert caught.value.where == str(file) and caught.value.hint == "get it again"


def element(kind: int, content: bytes) -> bytes:
    return struct.pack("<II", kind, len(content)) + content + bytes(-len(content) % 8)


def array(name: str, kind: int, shape: tuple[int, ...], *values: bytes) -> bytes:
    head = element(6, struct.pack("<II", kind, 0)) + element(5, struct.pack(f"<{len(shape)}i", *shape))
    return element(14, head + element(1, name.encode()) + b"".join(values))


def matlab(*variables: bytes) -> bytes:
    return b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM" + b"".join(variables)


def fields(width: int, *names: str) -> bytes:
    """Names of a struct's fields."""
    return element(5, struct.pack("<i", width)) + element(
        1, b"".join(name.encode().ljust(width, b"\0") for name in names)
    )


def test_an_array_of_structs_goes_by_columns(tmp_path: Path) -> None:
    numbers = [array("", 6, (1, 1), element(9, struct.pack("<d", n))) for n in range(8)]
    (tmp_path / "x.mat").write_bytes(matlab(array("x", 2, (2, 2), fields(4, "a", "bc"), *numbers)))
    found = read(tmp_path / "x.mat", "x")["x"]
    assert [[cell["a"].item() for cell in row] for row in found] == [[0, 4], [2, 6]]
    assert [[cell["bc"].item() for cell in row] for row in found] == [[1, 5], [3, 7]]


NESTED = array("", 6, (1, 1), element(9, bytes(8)))
for _ in range(200):
    NESTED = array("", 1, (1, 1), NESTED)
BOMB = zlib.compress(array("x", 6, (1, 1 << 24), element(9, bytes(8 << 24))), 9)
HOSTILE = {
    "an unknown type of values": matlab(array("x", 6, (1, 1), element(200, bytes(8)))),
    "an unknown class": matlab(array("x", 77, (1, 1), element(9, bytes(8)))),
    "cells in cells in cells": matlab(array("x", 1, (1, 1), NESTED)),
    "a struct without fields": matlab(array("x", 2, (1, 1))),
    "a struct with names of no length": matlab(array("x", 2, (1, 1), fields(0))),
    "a struct with half a name": matlab(array("x", 2, (1, 1), element(5, struct.pack("<i", 8)) + element(1, b"abc"))),
    "more structs than memory, of no fields": matlab(array("x", 2, (1 << 30, 1 << 30), fields(4))),
    "more structs than bytes": matlab(array("x", 2, (1 << 30, 1 << 30), fields(4, "a"))),
    "very many fields": matlab(array("x", 2, (0, 0), fields(1, *"a" * 5000))),
    "structs in structs in structs": matlab(array("x", 2, (1, 1), fields(4, "a"), NESTED)),
    "text without dimensions": matlab(element(14, element(6, struct.pack("<II", 4, 0)) + element(16, b"abc"))),
    "text of no dimension": matlab(array("x", 4, (), element(16, b"abc"))),
    "more cells than bytes": matlab(array("x", 1, (1 << 30, 1 << 30))),
    "more numbers than bytes": matlab(array("x", 6, (1 << 30, 1 << 30), element(9, bytes(8)))),
    "negative sides": matlab(array("x", 6, (-1, -1), element(9, bytes(8)))),
    "very many sides": matlab(array("x", 6, (1,) * 5000, element(9, bytes(8)))),
    "a length beyond the end": matlab(struct.pack("<II", 14, 0xFFFFFFF0)),
    "a small element of nine bytes": matlab(element(14, struct.pack("<HHI", 6, 9, 0))),
    "a compressed bomb": matlab(struct.pack("<II", 15, len(BOMB)) + BOMB),
    "compressed in itself": matlab(element(15, zlib.compress(element(15, zlib.compress(bytes(64)))))),
    "an empty variable": matlab(element(14, b"")),
    "version 7.3": b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + b"\x89HDF\r\n\x1a\n",
    "a header alone, cut": b"MATLAB 5.0 MAT-file",
    "nothing": b"",
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_files_are_named(case: str, tmp_path: Path) -> None:
    file = tmp_path / "x.mat"
    file.write_bytes(HOSTILE[case])
    with pytest.raises(AnnotationError, match="MATLAB file of version 5") as caught:
        read(file, "x", "")
    assert caught.value.where == str(file)


def test_a_bomb_takes_no_more_memory_than_a_file_of_its_length_may(tmp_path: Path) -> None:
    file = tmp_path / "x.mat"
    file.write_bytes(HOSTILE["a compressed bomb"])
    code = (
        "import resource, sys; from pathlib import Path; from trace_data.adapters.matlab5 import read_matlab\n"
        "from trace_data.errors import AnnotationError\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try: read_matlab(Path(sys.argv[1]), ['x'], hint='')\n"
        "except AnnotationError: print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(file)], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 200, "MB"


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "compressed"])
def test_mutated_files_are_read_or_named(packed: bool, tmp_path: Path) -> None:
    file = tmp_path / "a.mat"
    scipy.io.savemat(file, CONTENT, do_compression=packed)
    whole, rng, named = file.read_bytes(), np.random.default_rng(5), 0
    for case in range(400):
        data = bytearray(whole)
        for place in rng.integers(len(data), size=rng.integers(1, 4)):
            data[place] = rng.integers(256)
        file.write_bytes(data[: rng.integers(len(data))] if case % 5 == 0 else data)
        try:
            read(file)
        except AnnotationError as error:
            assert error.where == str(file)
            named += 1
    assert named > 100
