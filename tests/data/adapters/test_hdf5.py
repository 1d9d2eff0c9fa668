"""HDF5 files of others are read in a child with limits: whatever it meets, the file is named and the process lives."""

from __future__ import annotations

import random
from pathlib import Path

import h5py
import numpy as np
import pytest

from trace_data.adapters import hdf5
from trace_data.adapters.hdf5 import read_hdf5
from trace_data.errors import AnnotationError


def written(file: Path) -> Path:
    with h5py.File(file, "w") as content:
        content["x"] = np.arange(12.0).reshape(3, 4)
        content.create_dataset("packed", data=np.arange(500), compression="gzip", chunks=(100,))
        content["text"], content["group/inside"] = "none", 1.0
        content["elsewhere"] = h5py.ExternalLink("/etc/hostname", "/x")
    return file


def test_arrays_come_as_they_are_and_anything_else_is_named(tmp_path: Path) -> None:
    file = written(tmp_path / "é \udcff.mat")
    found = read_hdf5(file, ("x", "packed", "text", "group", "elsewhere", "lost"), hint="again")
    np.testing.assert_array_equal(found["x"], np.arange(12.0).reshape(3, 4))
    np.testing.assert_array_equal(found["packed"], np.arange(500))
    assert found["packed"].dtype == np.int64 and "lost" not in found and "text" in found
    for key, words in (("text", "type"), ("group", "another file"), ("elsewhere", "another file"), ("lost", "missing")):
        with pytest.raises(AnnotationError, match=f"{key} .*{words}") as caught:
            found[key]
        assert caught.value.where == str(file)
    with pytest.raises(AnnotationError, match="missing"):
        read_hdf5(tmp_path / "none.mat", ("x",), hint="again")


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    file = written(tmp_path / "x.mat")
    assert read_hdf5(file, ("x",), hint="again")["x"][0, 1] == 1
    with h5py.File(file, "r+") as content:
        content["x"][0, 1] = 5
    assert read_hdf5(file, ("x",), hint="again")["x"][0, 1] == 5


def test_small_files_that_ask_for_much_are_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "many.mat", "w") as content:
        content.create_dataset("x", shape=(1 << 40,), dtype="f8", chunks=(1 << 10,), compression="gzip")
    with pytest.raises(AnnotationError, match="numbers"):
        read_hdf5(tmp_path / "many.mat", ("x",), hint="again")["x"]
    with h5py.File(tmp_path / "chunk.mat", "w") as content:  # one chunk of 3.2 GB for four numbers
        x = content.create_dataset("x", (4,), "f8", chunks=(400_000_000,), maxshape=(None,), compression="gzip")
        x.id.write_direct_chunk((0,), b"x" * 50)
    with pytest.raises(AnnotationError) as caught:
        read_hdf5(tmp_path / "chunk.mat", ("x",), hint="again")["x"]
    assert caught.value.where == str(tmp_path / "chunk.mat")


def test_mutated_files_are_read_or_refused_by_name(tmp_path: Path) -> None:
    whole, draw = written(tmp_path / "x.mat").read_bytes(), random.Random(0)
    for case in range(12):
        data = bytearray(whole)
        for _ in range(draw.randint(1, 6)):
            at = draw.randrange(len(data) // 2)  # headers and tables
            data[at : at + 4] = draw.choice((b"\xff\xff\xff\x7f", b"\0\0\0\0", draw.randbytes(4)))
        file = tmp_path / f"{case}.mat"
        file.write_bytes(data)
        try:
            read_hdf5(file, ("x", "packed"), hint="again")["x"]
        except AnnotationError as error:
            assert error.where == str(file)


@pytest.mark.parametrize(
    ("child", "words"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "SIGSEGV"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGXCPU)", "SIGXCPU"),  # the limit of time
        ("import time; time.sleep(60)", "does not end"),
        ("raise SystemExit(7)", "code 7"),
    ],
)
def test_the_end_of_the_library_is_not_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, child: str, words: str
) -> None:
    script = tmp_path / "child.py"
    script.write_text(child)
    monkeypatch.setattr(hdf5, "_CHILD", script)
    monkeypatch.setattr(hdf5, "SECONDS", 0.3)
    file = written(tmp_path / "x.mat")
    with pytest.raises(AnnotationError, match=words) as caught:
        read_hdf5(file, ("x",), hint="again")
    assert caught.value.where == str(file) and caught.value.hint == "again"
