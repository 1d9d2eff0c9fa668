"""TUM: the camera's path, metres, true times in seconds; camera axes x right, y down, z forward.

Source: docs/reference/export.md#camera-path-files. The world is the result's.
"""

from __future__ import annotations

import numpy as np

from trace_data.export.track import quaternions_of_matrices
from trace_data.results.result import Result
from trace_data.results.world_placement import rigid_inverse


def tum_text(result: Result) -> str:
    """One line a frame: time, position, quaternion x, y, z, w."""
    world_from_camera = rigid_inverse(result.camera_from_world)
    rotation = quaternions_of_matrices(world_from_camera[:, :3, :3])
    rows = np.concatenate([result.time[:, None], world_from_camera[:, :3, 3], rotation], axis=1)
    return "".join(" ".join(f"{value:.9f}" for value in row) + "\n" for row in rows)
