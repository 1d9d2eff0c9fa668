"""A scene as the page's script reads it: a description in JSON, and one block of little-endian numbers.

Rotations are axis-angle in steps of 1e-4 rad, rest meshes in steps of 0.05 mm, which moves a joint by less than 0.2 mm.
Three people over 1,800 frames take 1.3 MB.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from trace_data.drawing import PREDICTED
from trace_data.export.mesh import BodyMesh, SkinnedSurface
from trace_data.export.track import axis_angles, quaternions
from trace_data.schema.keypoints import ALL_44, SKELETON, SMPL_PARENTS
from trace_data.view.scene import ShownBody, ShownPerson, ShownScene, Stills

Place = tuple[str, int, int]
"""Type, first byte and count of an array in the block."""
TYPES = {"float64": "f8", "float32": "f4", "int32": "i4", "int16": "i2", "int8": "i1", "uint16": "u2", "uint8": "u1"}
WHOLE = 32767
"""The largest of 16 bits: pi of an angle, the size of a mesh."""


class _Block:
    """Arrays one after the other, each where its type may begin."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._length = 0

    def add(self, values: npt.NDArray[Any]) -> Place:
        flat = np.ascontiguousarray(values).reshape(-1)
        content = flat.astype(flat.dtype.newbyteorder("<")).tobytes()
        at = self._length
        self._parts.append(content + bytes(-len(content) % 8))
        self._length += len(self._parts[-1])
        return TYPES[flat.dtype.name], at, len(flat)

    def content(self) -> bytes:
        return b"".join(self._parts)


def packed(scene: ShownScene) -> tuple[Mapping[str, Any], bytes]:
    """The description and the block."""
    block = _Block()
    k = scene.intrinsics
    lenses = np.stack([k[:, 0, 0], k[:, 0, 1], k[:, 0, 2], k[:, 1, 1], k[:, 1, 2]], axis=1)
    surfaces: dict[int, SkinnedSurface] = {}
    people = [_person(block, person, surfaces) for person in scene.people]
    described = {
        "title": scene.title,
        "size": scene.size,
        "time": block.add(scene.time.astype(np.float64)),
        "numbers": block.add(scene.number.astype(np.int32)),
        "cameras": block.add(scene.camera_from_world[:, :3].astype(np.float32)),
        "lenses": block.add(lenses.astype(np.float32)),
        "observed": block.add(scene.observed.astype(np.uint8)),
        "people": people,
        "surfaces": [
            {"faces": block.add(s.faces), "joints": block.add(s.joints), "weights": block.add(_whole_weights(s))}
            for s in surfaces.values()
        ],
        "parents": SMPL_PARENTS,
        "bones": [(a, b, _side(b)) for a, b in SKELETON],
        "sides": {side: [channel / 255 for channel in colour] for side, colour in PREDICTED.items()},
        "stills": scene.picture.frame.tolist() if isinstance(scene.picture, Stills) else None,
    }
    return described, block.content()


def _person(block: _Block, person: ShownPerson, surfaces: dict[int, SkinnedSurface]) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "label": person.label,
        "colour": [round(channel / 255, 4) for channel in person.colour],
        "frames": block.add(person.frame.astype(np.int32)),
        "state": block.add(person.state.astype(np.uint8)),
        "place": block.add(person.pelvis.astype(np.float32)),
    }
    if not isinstance(person.shape, ShownBody):
        return entry | {"points": block.add(person.shape.joints.astype(np.float32))}
    shortest = axis_angles(quaternions(person.shape.pose))
    entry["pose"] = block.add(np.round(shortest / np.pi * WHOLE).astype(np.int16))
    entry["rest"] = block.add(person.shape.rest.astype(np.float32))
    if person.shape.mesh is not None:
        entry["mesh"] = _mesh(block, person.shape.mesh, surfaces)
    return entry


def _mesh(block: _Block, mesh: BodyMesh, surfaces: dict[int, SkinnedSurface]) -> dict[str, Any]:
    shared = surfaces.setdefault(id(mesh.surface), mesh.surface)
    size = float(np.abs(mesh.vertices).max())
    return {
        "surface": [*surfaces.values()].index(shared),
        "size": size,
        "vertices": block.add(np.round(mesh.vertices / size * WHOLE).astype(np.int16)),
        "normals": block.add(np.round(mesh.normals() * 127).astype(np.int8)),
        "rest": block.add(mesh.rest.astype(np.float32)),
    }


def _whole_weights(surface: SkinnedSurface) -> npt.NDArray[np.uint8]:
    """(V, 4) in 255ths that sum to one: the strongest joint takes what rounding leaves."""
    weights = np.round(surface.weights * 255).astype(np.int64)
    weights[:, 0] += 255 - weights.sum(axis=1)
    return weights.astype(np.uint8)


def _side(joint: int) -> str:
    name = ALL_44[joint]
    return name[0] if name[:2] in ("L_", "R_") else "middle"
