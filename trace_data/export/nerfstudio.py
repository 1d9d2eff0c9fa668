"""nerfstudio's `transforms.json`: the camera's path, metres; camera axes x right, y up, looking along -z.

Source: docs/reference/export.md#camera-path-files. The world should have its Z axis up. Pixel centres are as here.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.typing as npt

from trace_data.export.colmap import image_names
from trace_data.export.glb import OPENGL_FROM_OPENCV
from trace_data.results.result import Result
from trace_data.results.world_placement import rigid_inverse


def nerfstudio_text(result: Result) -> str:
    """`transforms.json`."""
    world_from_camera = rigid_inverse(result.camera_from_world)
    world_from_camera[:, :3, :3] = world_from_camera[:, :3, :3] @ OPENGL_FROM_OPENCV
    lenses = [_lens(k) for k in result.intrinsics]
    each = len(lenses) > 1
    frames = [
        {"file_path": f"images/{name}", "transform_matrix": matrix.tolist()} | (lenses[i] if each else {})
        for i, (name, matrix) in enumerate(zip(image_names(result), world_from_camera))
    ]
    width, height = (int(size) for size in result.image_size)
    content: dict[str, Any] = {"camera_model": "OPENCV", "w": width, "h": height, **lenses[0], "frames": frames}
    return json.dumps(content, indent=1) + "\n"


def _lens(k: npt.NDArray[np.float64]) -> dict[str, float]:
    return {"fl_x": float(k[0, 0]), "fl_y": float(k[1, 1]), "cx": float(k[0, 2]), "cy": float(k[1, 2])}
