"""The allow-list: the globals that a pickle may name, and what each is mapped to.

Source: docs/reference/assets.md#globals-that-a-model-file-names.

Arrays are rebuilt after comparing their sizes and bytes; chumpy and scipy objects become inert `Node`s.
"""

from __future__ import annotations

import math
import re
import sys
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from trace_data.unpickle.machine import Global, Keys, Machine, Node, quoted
from trace_data.unpickle.opcodes import run
from trace_data.unpickle.stream import Malformed

Array = npt.NDArray[Any]

CSC = "scipy.sparse.csc_matrix"
_INLINE = "joblib array"
_BLANK = np.dtype([("not filled yet", "u1")])
"""Type of an array before its state is set; no file can create it, because structured types are refused."""
MAX_SIDES = 16
MAX_ELEMENTS = 1 << 56
_PLAIN_TYPE = re.compile(r"[<>=|]?(?:[biufc]\d{1,2}|[SU]\d{1,5}|O\d?|\?)")


def find(module: str, name: str) -> Global | None:
    """The allowed global of that name, under any of its historical modules, or None."""
    if module == "chumpy" or module.startswith("chumpy."):
        return _stand_in(f"{module}.{name}")
    return _GLOBALS.get((module, name))


def build(machine: Machine, target: Any, state: Any) -> Any:
    """Set the stored state of `target` (the BUILD operation); returns its replacement."""
    if isinstance(target, np.ndarray):
        return _fill(target, state)
    if isinstance(target, np.dtype):
        ordered = _with_byte_order(target, state)
        machine.replace(target, ordered)
        return ordered
    if isinstance(state, tuple) and len(state) == 2 and state[0] in (None, {}):
        state = state[1]
    if isinstance(target, Node) and isinstance(state, dict) and all(isinstance(key, str) for key in state):
        target.state.update(state)
        return _read_inline(machine, target.state) if target.kind == _INLINE else target
    raise Malformed(f"gives a state to a {type(target).__name__}, which has none")


def array_of(shape: Any, dtype: Any, data: bytes | bytearray | str, *, order: Any = "C") -> Array:
    """A new array of `shape` and plain `dtype` whose elements are `data` (latin1 when text)."""
    _check_content(shape, dtype, data)
    if dtype.hasobject or not isinstance(order, str) or order not in ("C", "F"):
        raise Malformed(f"has raw bytes for elements of type {dtype} in order {quoted(order)}")
    raw = data.encode("latin1") if isinstance(data, str) else data
    flat: Array = np.frombuffer(raw, dtype)
    return flat.reshape(shape, order="F" if order == "F" else "C").copy(order="K")


def count_of(shape: Any) -> int:
    """Number of elements of an array of `shape`. Raises Malformed for an invalid or impossible shape."""
    if not isinstance(shape, tuple) or len(shape) > MAX_SIDES:
        raise Malformed("has an array without a shape")
    if any(type(side) is not int or not 0 <= side <= MAX_ELEMENTS for side in shape):
        raise Malformed("has an array whose shape is not made of counts")
    if math.prod(max(side, 1) for side in shape) > MAX_ELEMENTS:
        raise Malformed(f"has an array of shape {shape}, which is larger than any memory")
    return math.prod(shape)


def _check_content(shape: Any, dtype: Any, data: Any) -> None:
    if not isinstance(dtype, np.dtype):
        raise Malformed("has an array without an element type")
    expected = count_of(shape) * (1 if dtype.hasobject else dtype.itemsize)
    if not isinstance(data, list if dtype.hasobject else (bytes, bytearray, str)) or len(data) != expected:
        raise Malformed(f"has an array of shape {str(shape)[:80]} and type {dtype} with content of another size")
    if dtype.kind == "U":  # numpy keeps what is no character, and Python fails on it with SystemError, at any later use
        raw: Any = data.encode("latin1") if isinstance(data, str) else data
        if (np.frombuffer(raw, np.dtype("u4").newbyteorder(dtype.byteorder)) > sys.maxunicode).any():
            raise Malformed("has a text with characters that do not exist")


def _fill(blank: Array, state: Any) -> Array:
    # In place, because other parts of the file may already refer to this array.
    if blank.dtype != _BLANK or not isinstance(state, tuple) or len(state) != 5:
        raise Malformed("has an array state that numpy never writes")
    _, shape, dtype, fortran, data = state
    _check_content(shape, dtype, data)
    # numpy frees arrays inside arrays recursively, on the C stack
    if dtype.hasobject and any(isinstance(item, np.ndarray) and item.dtype.kind in "OV" for item in data):
        raise Malformed("has an array of arrays of objects")
    blank.__setstate__((1, shape, dtype, fortran in (True, 1), data))  # type: ignore[arg-type]
    return blank


def _with_byte_order(dtype: np.dtype[Any], state: Any) -> np.dtype[Any]:
    if not isinstance(state, tuple) or not 5 <= len(state) <= 9 or any(part is not None for part in state[2:5]):
        raise Malformed("has structured array elements, which no body model or annotation needs")
    if state[1] not in ("<", ">", "|", "="):
        raise Malformed("has an array of unknown byte order")
    return dtype if state[1] == "|" else dtype.newbyteorder(state[1])


def _read_inline(machine: Machine, state: dict[str, Any]) -> Array:
    """An array that joblib embedded in the pickle."""
    dtype, shape = state.get("dtype"), state.get("shape")
    if isinstance(dtype, np.dtype) and dtype.hasobject:
        inner = Machine(
            machine.data,
            find=_find_plain,
            build=build,
            where=machine.where,
            at=machine.at,
            budget=machine.budget,
            more=machine.more,
            length=machine.length - machine.gone,
        )
        out = run(inner)
        machine.data, machine.at = inner.data, inner.at
        machine.gone += inner.gone
        if not isinstance(out, np.ndarray):
            raise Malformed("has an array that is none")
        return out
    if state.get("numpy_array_alignment_bytes") is not None:
        machine.take(machine.take(1)[0])
    if not isinstance(dtype, np.dtype):
        raise Malformed("has an array without an element type")
    return array_of(shape, dtype, machine.take(count_of(shape) * dtype.itemsize), order=state.get("order"))


def _find_plain(module: str, name: str) -> Global | None:
    known = find(module, name)
    return None if known is _JOBLIB else known


def _blank_array(kind: Any, shape: Any, code: Any) -> Array:
    if not isinstance(kind, Global) or kind.name != "numpy.ndarray" or shape != (0,) or code not in (b"b", "b"):
        raise Malformed("makes an array in a way numpy never writes")
    return np.empty(0, dtype=_BLANK)


def _array_from_buffer(data: Any, dtype: Any, shape: Any, order: Any, axes: Any = None) -> Array:
    if not isinstance(data, (bytes, bytearray)):
        raise Malformed("has an array without bytes")
    if order == "K" and isinstance(axes, (tuple, list)):
        return array_of(shape, dtype, data).transpose(axes)
    return array_of(shape, dtype, data, order=order)


def _scalar(dtype: Any, data: Any) -> Any:
    return array_of((), dtype, data)[()]


def _plain_dtype(code: Any, align: Any = False, copy: Any = False) -> np.dtype[Any]:
    if not isinstance(code, str) or not _PLAIN_TYPE.fullmatch(code):
        raise Malformed(f"has array elements of type {quoted(code)}, which no body model or annotation needs")
    # a fresh object, so that one file's two uses of the same code can differ in byte order
    dtype = np.dtype(np.dtype(object if code.lstrip("<>=|")[0] == "O" else code), copy=True)
    if dtype.itemsize == 0:
        raise Malformed("has array elements of no size")
    return dtype


def _old_object(kind: Any, base: Any, state: Any) -> Any:
    if not isinstance(kind, Global) or kind.new is None or not isinstance(base, Global) or state is not None:
        raise Malformed("makes an object in a way Python never writes")
    return kind.new()


def _encoded(text: Any, encoding: Any = "latin1") -> bytes:
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise Malformed("encodes text in a way Python never writes")
    return text.encode("latin1")


def _bytes(data: Any = b"", encoding: Any = "latin1") -> bytes:
    return data if isinstance(data, bytes) else _encoded(data, encoding)


def _items(values: Any) -> list[Any]:
    if not isinstance(values, (list, tuple)):
        raise Malformed(f"makes a collection of a {type(values).__name__}")
    return [*map(Keys().checked, values)]


def _ordered(pairs: Any = ()) -> OrderedDict[Any, Any]:
    if not isinstance(pairs, (list, tuple)) or any(not isinstance(p, (list, tuple)) or len(p) != 2 for p in pairs):
        raise Malformed("makes an ordered dictionary of what are no pairs")
    keys = Keys()
    return OrderedDict((keys.checked(key), value) for key, value in pairs)


def _defaulting(factory: Any = None, pairs: Any = ()) -> dict[Any, Any]:
    """A plain dictionary; the default factory is ignored."""
    if factory is not None and not isinstance(factory, Global):
        raise Malformed("makes a dictionary with a default that Python never writes")
    return dict(_ordered(pairs))


def _stand_in(kind: str) -> Global:
    return Global(kind, new=lambda: Node(kind))


FACTORIES = ("object", "dict", "list", "tuple", "int", "float", "str", "bool", "long", "unicode")
_JOBLIB = _stand_in(_INLINE)
_NUMPY_CORE: dict[str, Callable[..., Any]] = {"_reconstruct": _blank_array, "scalar": _scalar}
_BUILTINS: dict[str, Callable[..., Any]] = {
    "set": lambda values=(): set(_items(values)),
    "frozenset": lambda values=(): frozenset(_items(values)),
    "bytes": _bytes,
    "bytearray": lambda *data: bytearray(_bytes(*data)),
    "complex": lambda real, imaginary: complex(float(real), float(imaginary)),
}

_GLOBALS: dict[tuple[str, str], Global] = {
    ("numpy", "ndarray"): Global("numpy.ndarray"),
    ("numpy", "dtype"): Global("numpy.dtype", call=_plain_dtype),
    ("_codecs", "encode"): Global("_codecs.encode", call=_encoded),
    ("collections", "OrderedDict"): Global("collections.OrderedDict", call=_ordered),
    ("collections", "defaultdict"): Global("collections.defaultdict", call=_defaulting),
}
for _module in ("numpy.core", "numpy._core"):
    _GLOBALS[f"{_module}.numeric", "_frombuffer"] = Global("numpy._frombuffer", call=_array_from_buffer)
    for _name, _call in _NUMPY_CORE.items():
        _GLOBALS[f"{_module}.multiarray", _name] = Global(f"numpy.{_name}", call=_call)
for _module in ("__builtin__", "builtins"):
    # only named: the base of an object, or the default factory of a dictionary
    for _name in FACTORIES:
        _GLOBALS[_module, _name] = Global(_name)
    for _name, _make in _BUILTINS.items():
        _GLOBALS[_module, _name] = Global(_name, call=_make)
for _module in ("copy_reg", "copyreg"):
    _GLOBALS[_module, "_reconstructor"] = Global("_reconstructor", call=_old_object)
for _module in ("scipy.sparse", "scipy.sparse.csc", "scipy.sparse._csc"):
    for _name in ("csc_matrix", "csc_array"):
        _GLOBALS[_module, _name] = _stand_in(CSC)
for _module in ("joblib.numpy_pickle", "sklearn.externals.joblib.numpy_pickle"):
    _GLOBALS[_module, "NumpyArrayWrapper"] = _JOBLIB
