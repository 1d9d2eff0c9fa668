"""A small reader of GLB that evaluates nodes, animations and skins as glTF 2.0 says, for tests."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation, Slerp

from trace_data.errors import TraceError
from trace_data.text_files import parse_json

Array = npt.NDArray[np.float64]

WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}
KINDS = {5121: np.uint8, 5123: np.uint16, 5125: np.uint32, 5126: np.float32}


class Glb:
    """The content of a GLB file."""

    def __init__(self, data: bytes) -> None:
        magic, version, size = struct.unpack_from("<4sII", data)
        assert (magic, version, size) == (b"glTF", 2, len(data))
        length, kind = struct.unpack_from("<I4s", data, 12)
        assert kind == b"JSON"
        content = parse_json(data[20 : 20 + length], where="GLB", error=TraceError)
        assert isinstance(content, dict)
        self.content: dict[str, Any] = content
        self.binary = data[28 + length :]
        self.parents = {child: i for i, node in enumerate(content["nodes"]) for child in node.get("children", [])}
        self.channels: dict[tuple[int, str], dict[str, Any]] = {}
        """Samplers by node and path."""
        for animation in content.get("animations", []):
            for channel in animation["channels"]:
                target = channel["target"]
                self.channels[target["node"], target["path"]] = animation["samplers"][channel["sampler"]]
        self._worlds: dict[tuple[int, float], Array] = {}

    def node(self, name: str) -> int:
        """Index of the one node of this name."""
        (found,) = (i for i, node in enumerate(self.content["nodes"]) if node["name"] == name)
        return found

    def array(self, accessor: int) -> npt.NDArray[Any]:
        """Values of an accessor."""
        item = self.content["accessors"][accessor]
        view = self.content["bufferViews"][item["bufferView"]]
        width = WIDTHS[item["type"]]
        values = np.frombuffer(
            self.binary, KINDS[item["componentType"]], item["count"] * width, view.get("byteOffset", 0)
        )
        return values.reshape(-1, width)

    def world(self, node: int, time: float) -> Array:
        """(4, 4) world from node at a time."""
        if (node, time) not in self._worlds:
            local, parent = self._local(node, time), self.parents.get(node)
            self._worlds[node, time] = local if parent is None else self.world(parent, time) @ local
        return self._worlds[node, time]

    def vertices(self, mesh_node: int, time: float) -> Array:
        """(V, 3) posed vertices of a skinned mesh: its own transform does not count."""
        node = self.content["nodes"][mesh_node]
        skin, mesh = self.content["skins"][node["skin"]], self.content["meshes"][node["mesh"]]
        primitive = mesh["primitives"][0]
        attributes = primitive["attributes"]
        position = self.array(attributes["POSITION"]).astype(np.float64)
        if (mesh_node, "weights") in self.channels:
            sampler = self.channels[mesh_node, "weights"]
            targets = len(primitive["targets"])
            values = self.array(sampler["output"]).reshape(-1, targets)
            times = self.array(sampler["input"])[:, 0]
            mixed = [np.interp(time, times, values[:, k]) for k in range(targets)]
            for weight, target in zip(mixed, primitive["targets"]):
                position = position + weight * self.array(target["POSITION"])
        inverse = self.array(skin["inverseBindMatrices"]).reshape(-1, 4, 4).transpose(0, 2, 1)
        skinning = np.stack([self.world(joint, time) for joint in skin["joints"]]) @ inverse
        joints, weights = self.array(attributes["JOINTS_0"]), self.array(attributes["WEIGHTS_0"]).astype(np.float64)
        blended = np.einsum("vk,vkab->vab", weights, skinning[joints])
        moved: Array = np.einsum("vab,vb->va", blended[:, :3, :3], position) + blended[:, :3, 3]
        return moved

    def project(self, camera_node: int, time: float, points: Array, size: tuple[int, int]) -> Array:
        """(N, 2) pixels, from the corner of a picture of this width and height, of points (N, 3) of the world."""
        lens = self.content["cameras"][self.content["nodes"][camera_node]["camera"]]["perspective"]
        there = (points - self.world(camera_node, time)[:3, 3]) @ self.world(camera_node, time)[:3, :3]
        plane = there[:, :2] / -there[:, 2:] / np.tan(lens["yfov"] / 2) / (lens["aspectRatio"], 1)
        return (plane * (1, -1) + 1) / 2 * size

    def _local(self, node: int, time: float) -> Array:
        item = self.content["nodes"][node]
        assert "matrix" not in item
        usual = {"translation": (0.0, 0, 0), "rotation": (0.0, 0, 0, 1), "scale": (1.0, 1, 1)}
        values = {path: self._value(node, path, time, item.get(path, rest)) for path, rest in usual.items()}
        out = np.eye(4)
        out[:3, :3] = Rotation.from_quat(values["rotation"]).as_matrix() * values["scale"]
        out[:3, 3] = values["translation"]
        return out

    def _value(self, node: int, path: str, time: float, rest: Any) -> Array:
        sampler = self.channels.get((node, path))
        if sampler is None:
            return np.array(rest, np.float64)
        times, values = self.array(sampler["input"])[:, 0].astype(np.float64), self.array(sampler["output"])
        values = values.astype(np.float64)
        time = float(np.clip(time, times[0], times[-1]))
        if sampler["interpolation"] == "STEP" or len(times) == 1:
            chosen: Array = values[np.searchsorted(times, time, side="right") - 1]
            return chosen
        if path == "rotation":
            turned: Array = Slerp(times, Rotation.from_quat(values))(time).as_quat()
            return turned
        return np.array([np.interp(time, times, values[:, axis]) for axis in range(values.shape[1])])
