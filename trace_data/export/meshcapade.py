"""Meshcapade's files: `.smpl`, one person's parameters, and `.mcs`, everybody with the camera.

Source: docs/reference/export.md#meshcapade-files. Y up, right-handed, metres, radians, a constant rate. A `.smpl` has
all frames of the result; in an `.mcs`, each stretch in which a person is present is a body of its own.
"""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import numpy.typing as npt

from trace_data.export.amass import npz_bytes
from trace_data.export.glb import OPENGL_FROM_OPENCV, lens_of
from trace_data.export.rate import Clock
from trace_data.export.track import axis_angles, presence_at, quaternions_of_matrices, track
from trace_data.results.paths import at_times
from trace_data.results.result import Result
from trace_data.results.world_placement import rigid_inverse

GENDERS = {"neutral": 0, "male": 1, "female": 2}
CODEC, SMPL = 2, 0
"""Versions: of the file format, and of the body model."""


def smpl_bytes(result: Result, person: int, clock: Clock, *, gender: str, frames: slice | None = None) -> bytes:
    """The `.smpl` of the person with index `person`, who has at least one row; `frames` of the clock, else all."""
    times = clock.time[frames or slice(None)]
    rotation, translation = track(result, person).at(times)
    return npz_bytes(
        {
            "codecVersion": np.array(CODEC, np.int32),
            "smplVersion": np.array(SMPL, np.int32),
            "gender": np.array(GENDERS[gender], np.int32),
            "shapeParameters": result.betas[person].astype(np.float32),
            "frameCount": np.array(len(times), np.int32),
            "frameRate": np.array(clock.fps, np.float32),
            "bodyTranslation": translation.astype(np.float32),
            "bodyPose": axis_angles(rotation).astype(np.float32),
        }
    )


def mcs_text(result: Result, people: tuple[int, ...], clock: Clock, *, gender: str) -> str:
    """The `.mcs` of everybody: glTF JSON with `.smpl` files as buffers."""
    buffers: list[dict[str, Any]] = []
    views: list[dict[str, Any]] = []

    def store(data: bytes) -> int:
        text = base64.b64encode(data).decode()
        buffers.append({"byteLength": len(data), "uri": f"data:application/octet-stream;base64,{text}"})
        views.append({"buffer": len(buffers) - 1, "byteOffset": 0, "byteLength": len(data)})
        return len(views) - 1

    bodies = [
        {
            "frame_presence": [first, end],
            "bufferView": store(smpl_bytes(result, person, clock, gender=gender, frames=slice(first, end))),
        }
        for person in people
        for first, end in stretches(result, person, clock)
    ]
    rotation, place = _camera(result, clock)
    even = (np.arange(clock.frames) / clock.fps).astype(np.float32)
    accessors = [
        {"bufferView": store(values.tobytes()), "componentType": 5126, "count": len(values), "type": kind}
        for values, kind in ((even, "SCALAR"), (place, "VEC3"), (rotation, "VEC4"))
    ]
    accessors[0] |= {"min": [0.0], "max": [float(even[-1])]}
    samplers = [{"input": 0, "output": output, "interpolation": "LINEAR"} for output in (1, 2)]
    channels = [
        {"sampler": sampler, "target": {"node": 1, "path": path}}
        for sampler, path in enumerate(("translation", "rotation"))
    ]
    scene = {"num_frames": clock.frames, "smpl_bodies": bodies}
    content = {
        "asset": {"version": "2.0", "generator": "trace-5d"},
        "extensionsUsed": ["MC_scene_description"],
        "scene": 0,
        "scenes": [{"nodes": [0], "extensions": {"MC_scene_description": scene}}],
        "nodes": [{"name": "RootNode", "children": [1]}, {"name": "AnimatedCamera", "camera": 0}],
        "cameras": [{"type": "perspective", "perspective": lens_of(result)}],
        "buffers": buffers,
        "bufferViews": views,
        "accessors": accessors,
        "animations": [{"channels": channels, "samplers": samplers}],
    }
    return json.dumps(content) + "\n"


def stretches(result: Result, person: int, clock: Clock) -> list[tuple[int, int]]:
    """First frame, and the one after the last, of each time a person is present, in frames of the clock."""
    present = presence_at(result, person, clock.time)
    edges = np.flatnonzero(np.diff(present.astype(np.int8), prepend=0, append=0))
    return [(int(first), int(end)) for first, end in zip(edges[::2], edges[1::2])]


def _camera(result: Result, clock: Clock) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Rotations (M, 4) and places (M, 3) of the camera in glTF's axes, at the times of the clock."""
    world_from_camera = rigid_inverse(
        at_times(result.time, result.camera_from_world, result.time[0] + clock.time)
        if clock.resampled
        else result.camera_from_world
    )
    rotation = quaternions_of_matrices(world_from_camera[:, :3, :3] @ OPENGL_FROM_OPENCV)
    return rotation.astype(np.float32), world_from_camera[:, :3, 3].astype(np.float32)
