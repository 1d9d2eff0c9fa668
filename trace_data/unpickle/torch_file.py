"""Reads tensors from a `torch.save` file without torch and without executing anything in it.

Supports both formats: the current zip, and the sequence of pickles from before torch 1.6. The pickle may name
`torch._utils._rebuild_tensor_v2`, torch's storage types and `collections.OrderedDict`; any other name is an error with
its byte offset. torch's own `weights_only` has a longer allow-list that grows with its versions, restores objects not
needed here, and does not report the offset of a refused name.
"""

from __future__ import annotations

import io
import math
import struct
import zipfile
import zlib
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from trace_data.errors import AssetError, UnsafePickleError
from trace_data.progress import counted
from trace_data.unpickle.allowed import FACTORIES, MAX_ELEMENTS, count_of
from trace_data.unpickle.allowed import find as find_any
from trace_data.unpickle.budget import Budget
from trace_data.unpickle.machine import Global, Machine, Node, quoted
from trace_data.unpickle.opcodes import run
from trace_data.unpickle.reader import fail
from trace_data.unpickle.stream import Malformed, copied_as_text

KIND = "checkpoint of weights"
MAX_STEPS = 2_500_000
MAX_GROWTH = 4
"""Maximum bytes of tensors per byte of file: storages may be shared by a few tensors, not by thousands."""
MAGIC = 0x1950A86A20F9469CFC6C
"""The first pickle of the old format."""
WRAPPERS = ("model_state_dict", "state_dict")
"""Keys under which training scripts store the weights."""
STORAGES = {
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "HalfStorage": "<f2",
    "BFloat16Storage": "<u2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}
"""torch's names of element types; bfloat16 is converted to float32."""
_HOSTILE_OPERANDS = (
    Malformed, ValueError, TypeError, KeyError, IndexError, OverflowError, struct.error, MemoryError, RecursionError,
    AttributeError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError,
)  # fmt: skip

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StateDict:
    """The tensors of a state dict."""

    tensors: dict[str, Array]
    """By name, in the file's order."""
    wrapper: str | None
    """Their key in the outer dictionary, if any."""
    widened: tuple[str, ...] = ()
    """Names of the tensors converted from bfloat16, which numpy lacks, to float32."""


def read_state(data: bytes, *, where: str) -> StateDict:
    """Read the state dict in a file's bytes; `where` names the file in errors.

    Raises UnsafePickleError if the pickle names anything that weights do not need (with name and byte offset; nothing
    is executed), AssetError if the file is truncated, malformed, of another kind, or has no state dict.
    """
    for finding in _other_kinds(data):
        raise AssetError(f"{finding}, expected a file that torch.save wrote", where=where)
    try:
        budget = Budget(len(data), MAX_STEPS)
        content, storages = (_read_zip if data[:2] == b"PK" else _read_row)(data, where, budget)
        wrapper, state = _unwrapped(content)
        left = MAX_GROWTH * len(data)
        tensors = {}
        for name, node in state.items():
            tensors[name] = _tensor(name, node, storages, left)
            left -= tensors[name].nbytes
    except AssetError as error:
        if isinstance(error, UnsafePickleError) and copied_as_text(data):
            fail(error, where, f"a {KIND}", data)
        raise
    except _HOSTILE_OPERANDS as error:
        fail(error, where, f"a {KIND}", data)
    widened = tuple(name for name, node in state.items() if node.state["storage"].state["type"] == "BFloat16Storage")
    return StateDict(tensors=tensors, wrapper=wrapper, widened=widened)


def _other_kinds(data: bytes) -> list[str]:
    known = {
        b"<": "is a web page (the download needs a login?)",
        b"version https://git-lfs": "is a Git LFS pointer without its content",
        b"\x89HDF": "is an HDF5 file",
        b"\x93NUMPY": "is a plain .npy array",
        b"": "is empty" if not data else "",
    }
    kinds = [text for start, text in known.items() if text and data.startswith(start)]
    if data[257:262] == b"ustar":
        kinds.append("is a tar archive, as torch wrote before 0.1.10; load and save it again with any later torch")
    if data[8:10] == b'{"':
        kinds.append("is a safetensors file")
    return kinds


def _read_zip(data: bytes, where: str, budget: Budget) -> tuple[Any, dict[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {item.filename: item for item in archive.infolist()}
        roots = [
            name.removesuffix("data.pkl") for name in members if name.count("/") == 1 and name.endswith("/data.pkl")
        ]
        if len(roots) != 1:
            raise Malformed("is a zip archive without the pickle that torch.save puts into one")
        root = roots[0]
        if root + "constants.pkl" in members:
            raise Malformed("is a TorchScript archive, which holds code; save the model's state_dict instead")
        if any(item.compress_type != zipfile.ZIP_STORED or item.file_size > len(data) for item in members.values()):
            raise Malformed("has compressed parts, which torch.save never writes")
        if sum(item.file_size for item in members.values()) > len(data):
            raise Malformed("has parts that lie upon each other, which torch.save never writes")
        if root + "byteorder" in members and archive.read(root + "byteorder") != b"little":
            raise Malformed("was written on a machine with another byte order")
        name = root + "data.pkl"
        content = run(_machine(archive.read(name), f"{where}: {name}", budget))
        storages = {
            name.removeprefix(root + "data/"): archive.read(name) for name in members if name.startswith(root + "data/")
        }
    return content, storages


def _read_row(data: bytes, where: str, budget: Budget) -> tuple[Any, dict[str, bytes]]:
    """Old format: magic number, version, system information, the object, names of its storages, then their bytes."""
    at, parts = 0, []
    for number in range(5):
        machine = _machine(data, where, budget, at)
        parts.append(run(machine))
        at = machine.at
        if number == 0 and parts != [MAGIC]:
            raise Malformed("is a pickle, but none that torch.save wrote")
    _, _, facts, value, names = parts
    if not isinstance(facts, dict) or facts.get("little_endian") is not True:
        raise Malformed("was written on a machine with another byte order")
    if not isinstance(names, list) or any(type(name) is not str for name in names):
        raise Malformed("has a list of contents in a form that torch.save never writes")
    sizes = _storage_sizes(value)
    storages = {}
    for name in names:
        # an unknown name here would have bytes of unknown length
        (count,), at = struct.unpack_from("<q", data, at), at + 8
        dtype, expected = sizes[name]
        end = at + count * dtype.itemsize
        if count != expected or end > len(data):
            raise Malformed(
                f"ends in the middle: {counted(expected, 'number')} announced at byte {at:,} of {len(data):,}"
            )
        storages[name], at = data[at:end], end
    return value, storages


def _storage_sizes(value: Any) -> dict[str, tuple[np.dtype[Any], int]]:
    """Element type and count of every referenced storage."""
    sizes, waiting, seen = {}, [value], set()
    while waiting:
        part = waiting.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        if isinstance(part, dict):
            waiting.extend(part.values())
        elif isinstance(part, (list, tuple)):
            waiting.extend(part)
        elif isinstance(part, Node) and part.kind == "tensor":
            waiting.append(part.state["storage"])
        elif isinstance(part, Node):
            sizes[part.state["name"]] = np.dtype(STORAGES[part.state["type"]]), part.state["count"]
    return sizes


def _machine(data: bytes, where: str, budget: Budget, at: int = 0) -> Machine:
    return Machine(data, find=_find, build=_build, where=where, at=at, budget=budget, outside=_storage, kind=KIND)


def _find(module: str, name: str) -> Global | None:
    if module == "torch" and name in STORAGES:
        return Global(name)
    if module == "torch._utils" and name in _REBUILDERS:
        return Global(name, call=_REBUILDERS[name])
    harmless = module == "collections" or (module in ("builtins", "__builtin__") and name in FACTORIES)
    return find_any(module, name) if harmless else None


def _build(machine: Machine, target: Any, state: Any) -> Any:
    # module versions, an attribute of state dicts
    if isinstance(target, OrderedDict) and isinstance(state, dict) and set(state) <= {"_metadata"}:
        return target
    raise Malformed(f"gives a state to a {type(target).__name__}, which has none")


def _storage(identity: Any) -> Node:
    match identity:
        case ("storage", Global(name=kind), str(name), str(), int(count), *view) if kind in STORAGES:
            match view:
                case [] | [None]:
                    start = 0
                case [(str(), int(start), int(size))] if 0 <= start <= start + size <= count:
                    pass  # until torch 0.3: a view of another storage
                case _:
                    count = -1
            if 0 <= count <= MAX_ELEMENTS:
                return Node("storage", {"type": kind, "name": name, "count": count, "start": start})
    raise Malformed("has content in a form that torch.save never writes")


def _described(
    storage: Any, offset: Any, size: Any, stride: Any, gradient: Any = False, hooks: Any = None, extra: Any = None
) -> Node:
    numbers = [offset, *size, *stride] if isinstance(size, tuple) and isinstance(stride, tuple) else [None]
    if (
        not isinstance(storage, Node)
        or storage.kind != "storage"
        or any(type(number) is not int or not 0 <= number <= MAX_ELEMENTS for number in numbers)
        or len(size) != len(stride)
        or hooks
        or extra
    ):
        raise Malformed("has a tensor in a form that torch.save never writes")
    count_of(size)
    offset += storage.state["start"]
    return Node("tensor", {"storage": storage, "offset": offset, "size": size, "stride": stride})


_REBUILDERS = {"_rebuild_tensor": _described, "_rebuild_tensor_v2": _described}
"""The first is from torch before 0.4 and lacks the last arguments."""


def _unwrapped(found: Any) -> tuple[str | None, dict[str, Node]]:
    wrapper = next((key for key in WRAPPERS if isinstance(found, dict) and isinstance(found.get(key), dict)), None)
    state = found if wrapper is None else found[wrapper]
    if not isinstance(state, dict) or not state:
        raise Malformed(f"holds {_kind(state)}, expected a state dict: tensors by name")
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, Node) or value.kind != "tensor":
            raise Malformed(f"has {_kind(value)} under {quoted(name)}, expected a state dict: tensors by name")
    return wrapper, state


def _kind(value: Any) -> str:
    if isinstance(value, Node):
        return f"a {value.kind} alone" if value.kind == "tensor" else f"a {value.kind}"
    return (
        f"an empty {type(value).__name__}"
        if isinstance(value, (dict, list)) and not value
        else f"a {type(value).__name__}"
    )


def _tensor(name: str, node: Node, storages: dict[str, bytes], room: int) -> Array:
    storage, offset, size, stride = (node.state[key] for key in ("storage", "offset", "size", "stride"))
    kind, count = storage.state["type"], storage.state["count"]
    dtype = np.dtype(STORAGES[kind])
    raw = storages[storage.state["name"]]
    if len(raw) != count * dtype.itemsize:
        raise Malformed(f"ends in the middle: {quoted(name)} has {len(raw):,} of {count * dtype.itemsize:,} bytes")
    elements = math.prod(size)
    if elements and offset + sum((side - 1) * step for side, step in zip(size, stride)) >= count:
        raise Malformed(f"has a tensor that reaches beyond its content: {quoted(name)}")
    if elements * dtype.itemsize > room:
        raise Malformed("copies the same content again and again")
    if not elements:
        return np.zeros(size, dtype)
    flat: Array = np.frombuffer(raw, dtype)[offset:]
    steps = tuple(step * dtype.itemsize for step in stride)
    array: Array = np.lib.stride_tricks.as_strided(flat, size, steps, writeable=False).copy()
    return (array.astype(np.uint32) << 16).view(np.float32) if kind == "BFloat16Storage" else array
