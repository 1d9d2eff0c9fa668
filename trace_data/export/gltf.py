"""The container of glTF 2.0: arrays in one buffer, JSON, and the binary file of both.

Source: docs/reference/export.md#gltf-binary. Little-endian; each array has a view of its own.
"""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
import numpy.typing as npt

TYPES = {(): "SCALAR", (2,): "VEC2", (3,): "VEC3", (4,): "VEC4", (4, 4): "MAT4"}
COMPONENTS = {"uint8": 5121, "uint16": 5123, "uint32": 5125, "float32": 5126}
VERTICES, INDICES = 34962, 34963
"""Targets of views: vertex attributes, and indices."""


class Document:
    """A glTF file in the making; `content` holds its JSON."""

    def __init__(self, generator: str) -> None:
        self.content: dict[str, Any] = {"asset": {"version": "2.0", "generator": generator}}
        self._pieces: list[bytes] = []
        self._size = 0
        self._shared: dict[int, tuple[Any, int]] = {}

    def add(self, kind: str, item: dict[str, Any]) -> int:
        """Append to one of glTF's lists (`nodes`, `meshes`, …). Returns the index."""
        items = self.content.setdefault(kind, [])
        items.append(item)
        return len(items) - 1

    def accessor(self, array: npt.NDArray[Any], *, target: int | None = None, bounds: bool = False) -> int:
        """Store an array (count, ...) and return its accessor. `bounds`: with the least and greatest values."""
        values = np.ascontiguousarray(array.reshape(-1) if target == INDICES else array)
        data = values.tobytes()
        view: dict[str, Any] = {"buffer": 0, "byteOffset": self._size, "byteLength": len(data)}
        if target is not None:
            view["target"] = target
        self._pieces += [data, bytes(-len(data) % 4)]
        self._size += len(data) + -len(data) % 4
        item: dict[str, Any] = {
            "bufferView": self.add("bufferViews", view),
            "componentType": COMPONENTS[values.dtype.name],
            "count": len(values),
            "type": TYPES[values.shape[1:]],
        }
        if bounds:
            low, high = values.min(axis=0), values.max(axis=0)
            item |= {"min": np.atleast_1d(low).tolist(), "max": np.atleast_1d(high).tolist()}
        return self.add("accessors", item)

    def shared(self, array: npt.NDArray[Any], *, target: int | None = None, bounds: bool = False) -> int:
        """The accessor of an array that several meshes use: the same object is stored once."""
        if id(array) not in self._shared:
            # the array is kept too, because a freed object's id may come again
            self._shared[id(array)] = (array, self.accessor(array, target=target, bounds=bounds))
        return self._shared[id(array)][1]

    def glb(self) -> bytes:
        """The binary file."""
        if self._size:
            self.content["buffers"] = [{"byteLength": self._size}]
        text = json.dumps(self.content, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
        text += b" " * (-len(text) % 4)
        chunks = struct.pack("<I4s", len(text), b"JSON") + text
        if self._size:
            chunks += struct.pack("<I4s", self._size, b"BIN\0") + b"".join(self._pieces)
        return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks
