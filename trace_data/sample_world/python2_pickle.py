"""Write pickles (protocol 2) like Python 2 with old numpy, scipy and chumpy, without needing any of them.

Encodings: docs/reference/assets.md#encoding-of-objects. Text and array buffers are Python-2 byte strings, and classes
have their names of that time. Only the contents of a body-model file can be written.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Instance:
    """An object of the class `module.name`, which need not be installed, with its `state`."""

    module: str
    name: str
    state: Mapping[str, object]


def chumpy_array(values: npt.NDArray[np.floating]) -> Instance:
    """The pickled form of `chumpy.array(values)`."""
    return Instance("chumpy.ch", "Ch", {"x": np.asarray(values, np.float64), **_bookkeeping(), "_status": "new"})


def chumpy_leading(values: npt.NDArray[np.floating], count: int) -> Instance:
    """The pickled form of `chumpy.array(values)[..., :count]`: a Select of flat indices into the whole array."""
    places = np.arange(values.size).reshape(values.shape)[..., :count]
    state = {"a": chumpy_array(values), "idxs": places.ravel(), "preferred_shape": places.shape, **_bookkeeping()}
    return Instance("chumpy.reordering", "Select", state)


def sparse_columns(values: npt.NDArray[np.floating]) -> Instance:
    """The pickled form of `scipy.sparse.csc_matrix(values)`."""
    columns, rows = np.nonzero(values.T)
    starts = np.searchsorted(columns, np.arange(values.shape[1] + 1))
    state = {
        "_shape": values.shape,
        "maxprint": 50,
        "format": "csc",
        "data": np.asarray(values[rows, columns], np.float64),
        "indices": rows.astype(np.int32),
        "indptr": starts.astype(np.int32),
    }
    return Instance("scipy.sparse.csc", "csc_matrix", state)


def _bookkeeping() -> dict[str, object]:
    return {"_dirty_vars": set(), "_itr": None, "_make_dense": False, "_make_sparse": False, "_depends_on_deps": {}}


def write_python2_pickle(value: object, path: Path) -> None:
    """Write `value` to `path`. Raises TypeError for a type that body-model files do not hold."""
    with path.open("wb") as file:
        file.write(b"\x80\x02")  # protocol 2
        _write(value, file)
        file.write(b".")


def _write(value: object, file: IO[bytes]) -> None:
    if value is None:
        file.write(b"N")
    elif isinstance(value, bool):
        file.write(b"\x88" if value else b"\x89")
    elif isinstance(value, int):
        file.write(b"J" + struct.pack("<i", value))
    elif isinstance(value, str):
        _write_bytes(memoryview(value.encode("latin1")), file)
    elif isinstance(value, tuple):
        _write_all(b"(", value, b"t", file)
    elif isinstance(value, list):
        _write_all(b"](", value, b"e", file)
    elif isinstance(value, Mapping):
        _write_all(b"}(", [part for item in value.items() for part in item], b"u", file)
    elif isinstance(value, set):
        file.write(b"c__builtin__\nset\n")
        _write((sorted(value),), file)
        file.write(b"R")
    elif isinstance(value, Instance):
        file.write(f"c{value.module}\n{value.name}\n)\x81".encode("latin1"))
        _write(value.state, file)
        file.write(b"b")
    elif isinstance(value, np.ndarray):
        _write_array(value, file)
    else:
        raise TypeError(f"a body-model file does not hold a {type(value).__name__}")


def _write_all(start: bytes, parts: list[object] | tuple[object, ...], end: bytes, file: IO[bytes]) -> None:
    file.write(start)
    for part in parts:
        _write(part, file)
    file.write(end)


def _write_bytes(raw: memoryview, file: IO[bytes]) -> None:
    short = raw.nbytes < 256
    file.write(b"U" + struct.pack("<B", raw.nbytes) if short else b"T" + struct.pack("<i", raw.nbytes))
    file.write(raw)


def _write_array(values: npt.NDArray[np.generic], file: IO[bytes]) -> None:
    order, kind = "<", values.dtype.newbyteorder("<")
    file.write(b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n")
    _write((0,), file)
    _write("b", file)
    file.write(b"tR(")
    _write(1, file)
    _write(values.shape, file)
    file.write(b"cnumpy\ndtype\n")
    _write((kind.str[1:], 0, 1), file)
    file.write(b"R")
    # only types of variable width, such as text, state their width
    width = (kind.itemsize, kind.alignment) if kind.kind in "SU" else (-1, -1)
    _write((3, order, None, None, None, *width, 0), file)
    file.write(b"b")
    _write(False, file)  # C order
    _write_bytes(memoryview(np.ascontiguousarray(values, kind).tobytes()), file)
    file.write(b"tb")
