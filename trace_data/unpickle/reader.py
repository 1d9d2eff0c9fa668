"""The one restricted reader of foreign pickles and object arrays: body models, annotations, weights.

A file can name only what `pickle_globals` lists; nothing of numpy, scipy, chumpy or joblib is called on its behalf. No
chumpy is needed: its objects arrive as stand-ins, and `to_array` computes the value of the few kinds that hold numbers.
"""

from __future__ import annotations

import bz2
import io
import lzma
import os
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Collection
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import IO, Any, NoReturn

import numpy as np
import numpy.typing as npt

from trace_data.errors import AssetError, UnsafePickleError
from trace_data.files import open_regular, read_within
from trace_data.os_errors import TOO_LITTLE_MEMORY, in_words
from trace_data.unpickle.allowed import CSC, MAX_ELEMENTS, array_of, build, count_of, find
from trace_data.unpickle.budget import Budget
from trace_data.unpickle.machine import Each, Machine, Node, quoted
from trace_data.unpickle.opcodes import run
from trace_data.unpickle.stream import CHUNK, Malformed, More, copied_as_text

Source = Path | str | bytes | IO[bytes]

LIMIT_BYTES = 1 << 30
MAX_STEPS = 2_500_000
"""Operations for the parts of one file, one to two seconds. Official body models and annotations are large arrays with
thousands of small parts at most; text of every row makes 300,000. Files of a dictionary for each image need more, and
say so (docs/reference/datasets.md#penn-action-packed-files)."""
MAX_EXPRESSION_DEPTH = 32
MAX_PACKING = 4
"""How far files that are read piece by piece may be packed and still count as long as they are unpacked."""
MAX_LZMA = 1 << 27
"""Bytes that xz may take to unpack; its highest level takes 65 MB."""
MAX_DENSE = 1 << 27
MAX_COMPUTED = 1 << 27
"""Numbers that all parts of one expression may have together; the shapes of a body model have 6 million."""
AGAIN = "it may have been cut short or changed: copy or download it again"

_HOSTILE_OPERANDS = (
    Malformed, ValueError, TypeError, KeyError, IndexError, OverflowError, struct.error, MemoryError, RecursionError,
    AttributeError,
)  # fmt: skip
_FOREIGN_STARTS = {
    b"PK\x03\x04": "is a zip archive",
    b"<": "is a web page (the download needs a login?)",
    b"version https://git-lfs": "is a Git LFS pointer without its content",
    b"\x89HDF": "is an HDF5 file",
    b"\x93NUMPY": "is a plain .npy array",
}


def load_pickle(source: Source, *, limit_bytes: int = LIMIT_BYTES, where: str | None = None) -> Any:
    """The object in a pickle of protocol 0 to 5, from Python 2 or 3, or in a joblib file (plain, gzip, zlib, bz2, xz).

    `source` is a path, the bytes themselves, or an open binary file; `where` names it in errors. chumpy and scipy
    objects come back as stand-ins for `to_array`; Python-2 text and bytes come back as str (latin1).

    Raises UnsafePickleError if the file names anything outside the allow-list (with name and byte offset; nothing is
    executed), AssetError if it is missing, larger than `limit_bytes`, truncated or malformed.
    """
    name, data = _read(source, limit_bytes, where)
    for start, finding in _FOREIGN_STARTS.items():
        if data.startswith(start):
            raise AssetError(f"{finding}, expected a pickle", where=name, hint="check the path or download it again")
    budget = Budget(len(data), MAX_STEPS)
    return _unpickle(_decompressed(data, limit_bytes, budget, name), name, budget)


def load_npy(source: Source, *, limit_bytes: int = LIMIT_BYTES, where: str | None = None) -> npt.NDArray[Any]:
    """The array in a .npy file; an object array is read under the same restrictions as a pickle.

    Raises AssetError (UnsafePickleError) as `load_pickle` does.
    """
    name, data = _read(source, limit_bytes, where)
    return _parse_npy(io.BytesIO(data), len(data), name, Budget(len(data), MAX_STEPS))


def load_npz(
    source: Source,
    *,
    limit_bytes: int = LIMIT_BYTES,
    of_images: bool = False,
    only: Collection[str] | None = None,
    each: Each | None = None,
    where: str | None = None,
) -> dict[str, npt.NDArray[Any]]:
    """The arrays of a .npz file by name, including object arrays; if given, only those named in `only`.

    `limit_bytes` bounds their total uncompressed size, and their parts are bounded by `MAX_STEPS`, or with
    `of_images` by the length of the file: it then holds a dictionary for each of very many images. `each` receives
    every key and value of a dictionary and returns a replacement or `DROPPED`, so that a file of a million arrays need
    not be in memory at once; object arrays are then read piecewise. A file given by path is read array by array. Raises
    AssetError (UnsafePickleError) as `load_pickle` does.
    """
    if isinstance(source, (str, Path)):
        name = where or str(source)
        stream = _opened(Path(source), name)
        packed = os.fstat(stream.fileno()).st_size
    else:
        name, data = _read(source, limit_bytes, where)
        stream, packed = io.BytesIO(data), len(data)
    arrays, left = {}, limit_bytes
    try:
        with stream, zipfile.ZipFile(stream) as archive:
            if each is not None:  # the content is released as it is read, so only its compressed size counts
                packed = min(MAX_PACKING * packed, sum(member.file_size for member in archive.infolist()))
            budget = Budget(packed, None if of_images else MAX_STEPS)
            for member in archive.infolist():
                key = member.filename.removesuffix(".npy")
                if only is not None and key not in only:
                    continue
                if member.file_size > left:
                    raise Malformed(f"unpacks to more than {limit_bytes:,} bytes")
                with archive.open(member) as file:
                    arrays[key] = _parse_npy(file, member.file_size, f"{name}: {member.filename}", budget, each)
                    while file.read(CHUNK):  # read to the end, where the checksum is verified
                        pass
                left -= member.file_size
    except (
        *_HOSTILE_OPERANDS,
        zipfile.BadZipFile,
        zlib.error,
        lzma.LZMAError,
        EOFError,
        OSError,
        RuntimeError,
    ) as error:
        fail(error, name, "an .npz archive", _beginning(source if isinstance(source, (str, Path)) else data))
    return arrays


def to_array(
    value: Any,
    *,
    name: str,
    shape: tuple[int | None, ...] | None = None,
    dtype: npt.DTypeLike = np.float64,
    where: str | Path | None = None,
) -> npt.NDArray[Any]:
    """`value` (array, number, chumpy or sparse stand-in from `load_pickle`) as a dense numeric array of `dtype`.

    `shape`: expected shape, None for an axis of any length. Raises AssetError naming `name` if the value is not
    numeric, not finite, of another shape, not computable without chumpy, or not exactly convertible to integers.
    """
    try:
        array = _Evaluation().value(value, shape, 0)
    except _HOSTILE_OPERANDS as error:
        raise AssetError(f"{name} {_told(error)}", where=where, hint=AGAIN) from error
    if array.dtype.kind not in "biuf":
        raise AssetError(f"{name} holds {array.dtype}, expected numbers", where=where, hint=AGAIN)
    if shape is not None and not _matches(array.shape, shape):
        sides = ", ".join("any" if side is None else str(side) for side in shape)
        raise AssetError(f"{name} has shape {array.shape}, expected ({sides})", where=where)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise AssetError(
            f"{name} has {np.sum(~np.isfinite(array)):,} values that are not finite", where=where, hint=AGAIN
        )
    wanted = np.dtype(dtype)
    if wanted.kind in "iu" and array.dtype.kind == "f" and not np.array_equal(array, np.rint(array)):
        raise AssetError(f"{name} has fractions where whole numbers are expected", where=where, hint=AGAIN)
    with np.errstate(over="ignore", invalid="ignore"):
        out = np.ascontiguousarray(array, dtype=wanted)
    if array.size and not _held(array, out):
        raise AssetError(
            f"{name} has values from {array.min()} to {array.max()}, and {wanted} cannot hold them",
            where=where,
            hint=AGAIN,
        )
    return out


def _held(values: npt.NDArray[Any], converted: npt.NDArray[Any]) -> bool:
    """Whether a conversion kept the values: integers exactly, others finite."""
    if converted.dtype.kind == "f":
        return bool(np.isfinite(converted).all())
    if converted.dtype.kind == "b":
        return bool(((values == 0) | (values == 1)).all())
    limits = np.iinfo(converted.dtype)
    # as Python integers: the float 2**63 is one more than the largest int64
    return int(limits.min) <= int(values.min()) and int(values.max()) <= int(limits.max)


def _matches(found: tuple[int, ...], expected: tuple[int | None, ...]) -> bool:
    return len(found) == len(expected) and all(want in (None, have) for have, want in zip(found, expected))


class _Evaluation:
    """Evaluates a stand-in; parts used several times are computed once."""

    def __init__(self) -> None:
        self._known: dict[int, npt.NDArray[Any]] = {}
        self._left = MAX_COMPUTED

    def value(self, value: Any, shape: tuple[int | None, ...] | None, depth: int) -> npt.NDArray[Any]:
        """The array represented by `value`."""
        if isinstance(value, np.ndarray) and value.dtype.hasobject and value.shape == () and depth == 0:
            value = value.item()  # an .npz stores non-arrays as 0-d object arrays
        if isinstance(value, int) and value.bit_length() > 64:
            raise Malformed("is an integer that no array can hold")
        if isinstance(value, (np.ndarray, np.generic, bool, int, float)):
            return np.asarray(value)
        if not isinstance(value, Node):
            raise Malformed(f"is a {type(value).__name__}, expected an array")
        if depth > MAX_EXPRESSION_DEPTH:
            raise Malformed(f"is nested more than {MAX_EXPRESSION_DEPTH} deep")
        if id(value) not in self._known:
            array = self._dense(value.state, shape) if value.kind == CSC else self._chumpy(value, depth)
            self._left -= array.size
            if self._left < 0:
                raise Malformed(f"computes more than {MAX_COMPUTED:,} numbers")
            self._known[id(value)] = array
        return self._known[id(value)]

    def _chumpy(self, node: Node, depth: int) -> npt.NDArray[Any]:
        """Values of chumpy classes that hold or rearrange numbers (docs/reference/assets.md#encoding-of-objects)."""
        state = node.state
        if node.kind == "chumpy.ch.Ch":
            return self.value(state["x"], None, depth + 1)
        if node.kind not in ("chumpy.reordering.Select", "chumpy.reordering.Reshape", "chumpy.reordering.transpose"):
            raise Malformed(
                f"is an unevaluated chumpy expression ({quoted(node.kind)}), which holds no numbers of its own"
            )
        inner = self.value(state["a"], None, depth + 1)
        if node.kind.endswith("Reshape"):
            return inner.reshape(_integers(state["newshape"]))
        if node.kind.endswith("transpose"):
            return inner.transpose() if state.get("axes") is None else inner.transpose(_integers(state["axes"]))
        chosen = self.value(state["idxs"], None, depth + 1)
        if chosen.dtype.kind not in "iu":
            raise Malformed(f"selects by indices of type {chosen.dtype}")
        if chosen.size and not (chosen.min() >= 0 and chosen.max() < inner.size):
            raise Malformed(f"selects outside the {inner.size:,} numbers it has")
        picked: npt.NDArray[Any] = inner.ravel()[chosen.ravel()]
        wanted = state.get("preferred_shape")
        return picked.reshape(chosen.shape if wanted is None else _integers(wanted))

    def _dense(self, state: dict[str, Any], shape: tuple[int | None, ...] | None) -> npt.NDArray[np.float64]:
        """A scipy csc_matrix as a dense array."""
        rows, columns = _integers(state["_shape"] if "_shape" in state else state["shape"])
        if shape is None or not _matches((rows, columns), shape) or not 0 <= rows * columns <= MAX_DENSE or rows < 0:
            raise Malformed(f"is sparse with shape ({rows}, {columns}), expected {shape}")
        data, indices, starts = (self.value(state[key], None, 1).ravel() for key in ("data", "indices", "indptr"))
        if data.dtype.kind not in "biuf" or indices.dtype.kind not in "iu" or starts.dtype.kind not in "iu":
            raise Malformed("is sparse with parts that are no numbers")
        counts = starts[1:].astype(np.int64) - starts[:-1].astype(np.int64)
        if (
            len(starts) != columns + 1
            or starts[0] != 0
            or (counts < 0).any()
            or not starts[-1] == len(data) == len(indices)
        ):
            raise Malformed("is sparse with column starts that do not fit its content")
        if len(indices) and not (indices.min() >= 0 and indices.max() < rows):
            raise Malformed("is sparse with a row outside the matrix")
        out = np.zeros((rows, columns))
        np.add.at(out, (indices, np.repeat(np.arange(columns), counts)), data)
        return out


def _integers(value: Any) -> tuple[int, ...]:
    if isinstance(value, int):
        value = (value,)
    if isinstance(value, np.ndarray) and value.ndim == 1 and value.dtype.kind in "iu":
        value = tuple(value.tolist())
    if not isinstance(value, (tuple, list)) or any(not isinstance(side, (int, np.integer)) for side in value):
        raise Malformed("has a shape that is not made of whole numbers")
    if any(not -1 <= side <= MAX_ELEMENTS for side in value):
        raise Malformed("has a shape that no array can have")
    return tuple(int(side) for side in value)


def _opened(file: Path, name: str) -> IO[bytes]:
    try:
        return open_regular(file)
    except FileNotFoundError as error:
        raise AssetError("does not exist", where=name, hint="check the path") from error
    except OSError as error:
        raise _refused(error, name) from error


def _read(source: Source, limit: int, where: str | None) -> tuple[str, bytes]:
    if isinstance(source, bytes):
        name, data = where or "bytes", source
    else:
        name = where or str(source if isinstance(source, (str, Path)) else getattr(source, "name", "stream"))
        try:
            with _opened(Path(source), name) if isinstance(source, (str, Path)) else nullcontext(source) as file:
                data = read_within(file, limit)
        except OSError as error:
            raise _refused(error, name) from error
        except (EOFError, zlib.error, zipfile.BadZipFile, MemoryError) as error:
            fail(error, name, "a whole file")
    if len(data) > limit:
        raise AssetError(f"is larger than {limit:,} bytes, more than any file of its kind", where=name)
    return name, data


def _decompressed(data: bytes, limit: int, budget: Budget, name: str) -> bytes:
    """Decompress joblib data, with a size limit; other bytes are returned unchanged."""
    limit = min(limit, budget.bytes_left)
    try:
        if data[:1] == b"x" or data[:2] == b"\x1f\x8b":
            inflater = zlib.decompressobj(wbits=47)
            out, ended = inflater.decompress(data, limit + 1), inflater.eof
        elif data[:3] == b"BZh":
            unpacker = bz2.BZ2Decompressor()
            out, ended = unpacker.decompress(data, limit + 1), unpacker.eof
        elif data[:6] == b"\xfd7zXZ\x00":
            opener = lzma.LZMADecompressor(memlimit=MAX_LZMA)
            out, ended = opener.decompress(data, limit + 1), opener.eof
        else:
            return data
    except (zlib.error, lzma.LZMAError, OSError, ValueError, MemoryError) as error:
        fail(error, name, "a compressed pickle", data)
    if len(out) > limit:
        raise AssetError(f"unpacks to more than {limit:,} bytes", where=name)
    if not ended:
        raise AssetError("is compressed and ends in the middle", where=name, hint=AGAIN)
    budget.bytes_left -= len(out)
    return out


def _unpickle(
    data: bytes,
    name: str,
    budget: Budget,
    each: Each | None = None,
    more: More | None = None,
    length: int | None = None,
) -> Any:
    try:
        machine = Machine(data, find=find, build=build, where=name, budget=budget, each=each, more=more, length=length)
        value = run(machine)
    except UnsafePickleError as error:
        if copied_as_text(data):
            fail(error, name, "a pickle", data)
        raise
    except _HOSTILE_OPERANDS as error:
        fail(error, name, "a pickle", data)
    if not data.startswith(b"\x80") and copied_as_text(data):  # protocol 0 is text: every name would end in the return
        fail(Malformed("has carriage returns"), name, "a pickle", data)
    return value


def _parse_npy(stream: IO[bytes], length: int, name: str, budget: Budget, each: Each | None = None) -> npt.NDArray[Any]:
    """The array in a stream of `length` bytes."""
    try:
        version = np.lib.format.read_magic(stream)
        read_header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        shape, fortran, dtype = read_header(stream)
        count = count_of(shape)
        if not dtype.hasobject:
            size = min(count * dtype.itemsize, length)
            budget.charge(size)
            return array_of(shape, dtype, stream.read(size), order="F" if fortran else "C")
    except (*_HOSTILE_OPERANDS, SyntaxError, tokenize.TokenError) as error:
        fail(error, name, "a .npy array")
    if each is None:
        content = read_within(stream, length)
        budget.bytes_left -= len(content)
        array = _unpickle(content, name, budget)
    else:
        array = _unpickle(b"", name, budget, each, stream.read, length)
    if not isinstance(array, np.ndarray) or array.size != count:
        raise AssetError("announces an object array and holds something else", where=name, hint=AGAIN)
    return array.reshape(shape)


def _beginning(source: Path | str | bytes) -> bytes:
    """The first bytes of an archive, to detect copying in text mode."""
    if isinstance(source, bytes):
        return source
    with suppress(OSError), open_regular(Path(source)) as stream:
        return stream.read(CHUNK)
    return b""


def _refused(error: OSError, name: str) -> AssetError:
    """The error for a file that the system cannot read; the file itself may be intact."""
    what, hint = in_words(error)
    return AssetError(what, where=name, hint=hint or None)


def fail(error: BaseException, name: str, kind: str, data: bytes = b"") -> NoReturn:
    """Raise an AssetError saying why `name` is not a file of `kind`; `data`: its bytes, if available."""
    if isinstance(error, OSError) and error.errno is not None:
        raise _refused(error, name) from error
    if isinstance(error, MemoryError):
        raise AssetError("does not fit into the memory of this machine", where=name, hint=TOO_LITTLE_MEMORY) from error
    if copied_as_text(data):
        raise AssetError(
            "was copied as text, which put a carriage return before every line feed",
            where=name,
            hint="copy or download it again as a binary file: ftp has a mode for it, git a line `*.pkl binary`",
        ) from error
    finding = str(error) if isinstance(error, Malformed) else f"is not readable as {kind}: {_told(error)}"
    raise AssetError(finding, where=name, hint=AGAIN) from error


def _told(error: BaseException) -> str:
    """The message of an error, unless it may contain the repr of an object from the file."""
    if isinstance(error, KeyError):
        return f"there is no {quoted(error.args[0]) if isinstance(error.args[0], str) else 'part of that number'}"
    return str(error)[:300]
