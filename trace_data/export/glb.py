"""GLB: everybody skinned, one animation, the moving camera. Y up, right-handed, metres, seconds (true times).

Source: docs/reference/export.md#scene-layout. The result must have its Y axis up. A person who is absent is scaled to
nothing, with a step. What glTF cannot say (principal point, picture size, frame ids, shapes) is in the scene's extras.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from trace_data.drawing import colour_of
from trace_data.export.gltf import INDICES, VERTICES, Document
from trace_data.export.mesh import BodyMesh, Meshes
from trace_data.export.skeleton import NAMES, person_label
from trace_data.export.track import presence, quaternions_of_matrices, track
from trace_data.geometry import matrix_from_axis_angle
from trace_data.results.result import Result
from trace_data.results.world_placement import rigid_inverse
from trace_data.schema.keypoints import SMPL_PARENTS

Correctives = Literal["none", "morph"]
Array = npt.NDArray[np.float64]

NEAR = 0.05
"""Metres: the camera's near plane."""
TOLD = ("scene", "intrinsics_source", "camera_source", "scale", "up_source")
"""Facts of the result that go into the file: how far its numbers can be trusted, and nothing of the machine."""
OPENGL_FROM_OPENCV = np.diag([1.0, -1.0, -1.0])
"""A camera of glTF looks along -z with y up."""
IDENTITY = np.eye(3).reshape(-1)
LOW = np.tile(np.where(IDENTITY == 1, -2.0, -1.0), 23)
HIGH = np.tile(np.where(IDENTITY == 1, 0.0, 1.0), 23)
"""Ranges of the entries of R - I: Blender cuts weights of shape keys to 0..1
(docs/reference/export.md#pose-correctives-in-gltf)."""


def glb_bytes(
    result: Result,
    meshes: Meshes,
    *,
    names: str = "smpl",
    correctives: Correctives = "none",
    absent: float = 0.0,
    facts: Mapping[str, Any] | None = None,
) -> bytes:
    """The GLB of a result. `names`: key into `skeleton.NAMES`. `facts`: more entries of the extras, as JSON.
    `absent`: the scale of people who are not there.

    Raises AssetError when a mesh cannot be had.
    """
    document = Document("trace-5d")
    scene = _Scene(document, result, NAMES[names], correctives, absent)
    scene.camera()
    for person in range(len(result.person)):
        if len(result.rows_of(person)):
            scene.person(person, meshes.of(result, person))
    extras = _extras(result, meshes) | dict(facts or {})
    document.content |= {"scene": 0, "scenes": [{"name": "trace", "nodes": scene.roots, "extras": extras}]}
    return document.glb()


def lens_of(result: Result) -> dict[str, float]:
    """glTF's perspective camera; it is the lens of the first frame, without its principal point."""
    width, height = map(float, result.image_size)
    k = result.intrinsics[0]
    return {
        "yfov": 2 * float(np.arctan(height / (2 * k[1, 1]))),
        "aspectRatio": width / height * float(k[1, 1] / k[0, 0]),
        "znear": NEAR,
    }


class _Scene:
    """Adds cameras and people to a document."""

    def __init__(
        self, document: Document, result: Result, names: Sequence[str], correctives: Correctives, absent: float
    ) -> None:
        self.document, self.result, self.names = document, result, names
        self.correctives, self.absent = correctives, absent
        self.roots: list[int] = []
        self._time = (result.time - result.time[0]).astype(np.float32)
        self._targets: dict[int, list[int]] = {}

    def camera(self) -> None:
        """The camera with its path; it has no channels where it does not move."""
        camera = self.document.add(
            "cameras", {"name": "camera", "type": "perspective", "perspective": lens_of(self.result)}
        )
        world_from_camera = rigid_inverse(self.result.camera_from_world)
        rotation = quaternions_of_matrices(world_from_camera[:, :3, :3] @ OPENGL_FROM_OPENCV).astype(np.float32)
        place = world_from_camera[:, :3, 3].astype(np.float32)
        node = self._node("camera", camera=camera, rotation=rotation[0].tolist(), translation=place[0].tolist())
        self.roots.append(node)
        if np.ptp(self.result.camera_from_world, axis=0).max() > 0:
            times = self._times(np.arange(len(self._time)))
            self._channel(node, "rotation", times, rotation)
            self._channel(node, "translation", times, place)

    def person(self, person: int, mesh: BodyMesh) -> None:
        """One person: joints, mesh, motion, and when the person is there."""
        label, motion = person_label(self.result, person), track(self.result, person)
        joints = self._joints(mesh.rest)
        root = self._node(
            label,
            children=[joints[0]],
            extras={"id": int(self.result.person[person]), "betas": _floats(self.result.betas[person])},
        )
        skin = self.document.add(
            "skins",
            {
                "joints": joints,
                "skeleton": joints[0],
                "inverseBindMatrices": self.document.accessor(_inverse_bind(mesh.rest)),
            },
        )
        body = self._node(f"{label}_mesh", mesh=self._mesh(f"{label}_mesh", person, mesh), skin=skin)
        self.roots += [root, body]
        times = self._times(motion.frame)
        rotation = motion.rotation.astype(np.float32)
        for joint, node in enumerate(joints):
            self._channel(node, "rotation", times, rotation[:, joint])
        self._channel(joints[0], "translation", times, (motion.translation + mesh.pelvis).astype(np.float32))
        if self.correctives == "morph":
            self._channel(body, "weights", times, _corrective_weights(self.result, person).reshape(-1))
        self._hide(root, person)

    def _joints(self, rest: Array) -> list[int]:
        """Nodes of the 24 joints."""
        nodes = []
        for joint, parent in enumerate(SMPL_PARENTS):
            offset = rest[joint] - (rest[parent] if parent >= 0 else 0)
            nodes.append(self._node(self.names[joint], translation=_floats(offset)))
            if parent >= 0:
                self.document.content["nodes"][nodes[parent]].setdefault("children", []).append(nodes[joint])
        return nodes

    def _mesh(self, name: str, person: int, mesh: BodyMesh) -> int:
        document, shared = self.document, mesh.surface
        vertices = mesh.vertices
        primitive: dict[str, Any] = {
            "indices": document.shared(shared.faces, target=INDICES),
            "material": document.add("materials", _material(name, int(self.result.person[person]))),
        }
        item: dict[str, Any] = {"name": name, "primitives": [primitive]}
        if self.correctives == "morph":
            directions = shared.pose_directions
            vertices = vertices + np.einsum("k,kvc->vc", LOW, directions).astype(np.float32)
            primitive["targets"] = [{"POSITION": target} for target in self._morph_targets(directions)]
            item["weights"] = _floats((0 - LOW) / (HIGH - LOW))
        primitive["attributes"] = {
            "POSITION": document.accessor(vertices, target=VERTICES, bounds=True),
            "NORMAL": document.accessor(mesh.normals(), target=VERTICES),
            "JOINTS_0": document.shared(shared.joints, target=VERTICES),
            "WEIGHTS_0": document.shared(shared.weights, target=VERTICES),
        }
        return document.add("meshes", item)

    def _morph_targets(self, directions: npt.NDArray[np.float32]) -> list[int]:
        if id(directions) not in self._targets:
            scaled = directions * (HIGH - LOW).astype(np.float32)[:, None, None]
            self._targets[id(directions)] = [
                self.document.accessor(target, target=VERTICES, bounds=True) for target in scaled
            ]
        return self._targets[id(directions)]

    def _hide(self, node: int, person: int) -> None:
        """Scale the person to nothing where the result has no row of it.

        The steps are halfway between frames, so that no reader's rounding of times takes a frame for its neighbour.
        """
        present = presence(self.result, person)
        if present.all():
            return
        changes = np.flatnonzero(np.diff(present.astype(np.int8), prepend=-1))
        halfway = 0.5 * (self._time[changes] + self._time[np.maximum(changes - 1, 0)])
        size = np.where(present[changes], 1, self.absent).astype(np.float32)
        scale = np.repeat(size[:, None], 3, axis=1)
        self._channel(node, "scale", self.document.accessor(halfway, bounds=True), scale, interpolation="STEP")

    def _node(self, name: str, **content: Any) -> int:
        return self.document.add("nodes", {"name": name, **content})

    def _times(self, frames: npt.NDArray[np.integer]) -> int:
        return self.document.accessor(self._time[frames], bounds=True)

    def _channel(
        self, node: int, path: str, times: int, values: npt.NDArray[np.float32], interpolation: str = "LINEAR"
    ) -> None:
        animations = self.document.content.setdefault(
            "animations", [{"name": "motion", "channels": [], "samplers": []}]
        )
        samplers = animations[0]["samplers"]
        samplers.append({"input": times, "output": self.document.accessor(values), "interpolation": interpolation})
        animations[0]["channels"].append({"sampler": len(samplers) - 1, "target": {"node": node, "path": path}})


def _inverse_bind(rest: Array) -> npt.NDArray[np.float32]:
    """(24, 4, 4) world to joint in the T-pose, column by column as glTF stores matrices."""
    matrices = np.tile(np.eye(4, dtype=np.float32), (len(rest), 1, 1))
    matrices[:, 3, :3] = -rest
    return matrices


def _corrective_weights(result: Result, person: int) -> npt.NDArray[np.float32]:
    """(R, 207) weights of the morph targets, 0..1."""
    turned = matrix_from_axis_angle(result.pose[result.rows_of(person)][:, 1:])
    features = (turned - np.eye(3)).reshape(len(turned), -1)
    shares: npt.NDArray[np.float32] = np.clip((features - LOW) / (HIGH - LOW), 0, 1).astype(np.float32)
    return shares


def _material(name: str, identity: int) -> dict[str, Any]:
    # glTF mixes colours in linear light
    screen = np.array(colour_of(identity)) / 255
    colour = [*_floats(np.where(screen <= 0.04045, screen / 12.92, ((screen + 0.055) / 1.055) ** 2.4)), 1.0]
    return {
        "name": name,
        "pbrMetallicRoughness": {"baseColorFactor": colour, "metallicFactor": 0.0, "roughnessFactor": 0.8},
    }


def _extras(result: Result, meshes: Meshes) -> dict[str, Any]:
    """What a reader needs to draw the bodies onto the video again."""
    return {
        "image_size": [int(size) for size in result.image_size],
        "intrinsics": np.round(result.intrinsics, 6).tolist(),
        "frame_id": result.frame_id.tolist(),
        "start": float(result.time[0]),
        "body_model": meshes.model,
        **{fact: result.about[fact] for fact in TOLD if fact in result.about},
    }


def _floats(values: npt.NDArray[np.floating]) -> list[float]:
    return [float(value) for value in values.astype(np.float32)]
