"""Our reader of CDF files beside cdflib on whole files, and on flipped bits."""

from __future__ import annotations

import struct
from itertools import product
from pathlib import Path

import cdflib
import numpy as np
import numpy.typing as npt
import pytest
from cdf_files import write_cdf

from trace_data.adapters.human36m.cdf import read_cdf
from trace_data.errors import AnnotationError

KINDS = list(product(("Row_major", "Column_major"), (1, 6), (0, 6), (0, 5)))


def read(file: Path) -> npt.NDArray[np.float64]:
    return read_cdf(file, "Pose", hint="get it again")


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_it_reads_what_cdflib_reads(kind: tuple[str, int, int, int], tmp_path: Path) -> None:
    file = write_cdf(tmp_path / "a.cdf", *kind)
    np.testing.assert_array_equal(read(file), cdflib.CDF(file).varget("Pose"))


def test_version_2_is_read_too(tmp_path: Path) -> None:
    """cdflib writes version 3 alone: this one is put together here, with two blocks of one record each."""
    values = np.arange(12, dtype=">f4").reshape(2, 2, 3)

    def record(kind: int, content: bytes) -> bytes:
        return struct.pack(">ii", 8 + len(content), kind) + content

    cdr_size, gdr_size, vdr_size, vxr_size = 8 + 40 + 256, 8 + 52, 8 + 120 + 4 + 16, 8 + 12 + 24
    gdr_at = 8 + cdr_size
    vdr_at = gdr_at + gdr_size
    vxr_at = vdr_at + vdr_size
    blocks_at = [vxr_at + vxr_size, vxr_at + vxr_size + 8 + 24]
    cdr = struct.pack(">10i256s", gdr_at, 2, 7, 1, 3, 0, 0, 0, 0, 0, b"made here")
    gdr = struct.pack(">13i", 0, vdr_at, 0, blocks_at[1] + 32, 0, 0, 0, 0, 1, 0, 0, 0, 0)
    vdr = struct.pack(">14i64s", 0, 44, 1, vxr_at, vxr_at, 1, 0, 0, 0, 0, 1, 0, 0, 1, b"Pose")
    vdr += struct.pack(">5i", 2, 2, 3, -1, -1)
    vxr = struct.pack(">9i", 0, 2, 2, 0, 1, 0, 1, *blocks_at)
    data = struct.pack(">II", 0xCDF26002, 0x0000FFFF) + record(1, cdr) + record(2, gdr) + record(8, vdr)
    data += record(6, vxr) + record(7, values[0].tobytes()) + record(7, values[1].tobytes())
    file = tmp_path / "a.cdf"
    file.write_bytes(data)
    np.testing.assert_array_equal(cdflib.CDF(file).varget("Pose"), values)
    np.testing.assert_array_equal(read(file), values)


@pytest.mark.parametrize("packed_file", [0, 5], ids=["plain", "compressed"])
def test_flipped_bits_and_cut_files_are_read_or_named(packed_file: int, tmp_path: Path) -> None:
    file = write_cdf(tmp_path / "a.cdf", packed=6, packed_file=packed_file)
    whole, rng, named = file.read_bytes(), np.random.default_rng(1), 0
    for case in range(1500):
        data = bytearray(whole)
        data[rng.integers(len(data))] ^= 1 << rng.integers(8)
        file.write_bytes(data[: rng.integers(len(data))] if case % 10 == 0 else data)
        try:
            assert read(file).size < 1 << 20
        except AnnotationError as error:
            assert error.where == str(file) and error.hint == "get it again"
            named += 1
    assert named > 150


FIELDS = {"last record": 12, "first index": 20, "elements": 52, "dimensions": 328, "side": 332}


@pytest.mark.parametrize("field", FIELDS)
def test_numbers_beyond_the_file_are_named(field: str, tmp_path: Path) -> None:
    file = write_cdf(tmp_path / "a.cdf")
    data = bytearray(file.read_bytes())
    place = data.index(b"Pose") - 72 + FIELDS[field]  # the name stands 72 bytes into the descriptor's content
    data[place : place + 4] = struct.pack(">i", 0x7FFFFFF0)
    file.write_bytes(data)
    with pytest.raises(AnnotationError, match="CDF"):
        read(file)


def test_what_is_no_cdf_file_and_what_lacks_the_variable_is_named(tmp_path: Path) -> None:
    file = tmp_path / "a.cdf"
    for data in (b"", b"no CDF file at all", struct.pack(">II", 0xCDF30001, 0x0000FFFF)):
        file.write_bytes(data)
        with pytest.raises(AnnotationError, match="CDF") as caught:
            read(file)
        assert caught.value.where == str(file)
    with pytest.raises(AnnotationError, match="no variable Posture"):
        read_cdf(write_cdf(file), "Posture", hint="")
    file.unlink()
    with pytest.raises(AnnotationError, match="missing"):
        read(file)
