"""The published system's `.npz`, for scripts made for it: camera axes, metres, radians, pixels; no times.

Source: docs/reference/inference.md#published-result-file. It holds a pickled dictionary. Two values mean something else
than there: `cam_trans` belongs to the video's own lens instead of one of 50 degrees, and `world_trans` to one world for
everybody instead of one each.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt

from trace_data.assets.body_model import BodyModel, hip_midpoint
from trace_data.export.colmap import image_names
from trace_data.geometry import project
from trace_data.results.result import Result

K = 2.144507
"""Focal length of the 50-degree camera in half widths of its square (docs/reference/network.md#camera-triple)."""


def published_bytes(result: Result, body: BodyModel) -> bytes:
    """`outputs` and `imgpaths`. The result's world must have the axes of the first camera."""
    buffer = io.BytesIO()
    np.savez(buffer, outputs=np.array(outputs(result, body), dtype=object), imgpaths=np.array(image_names(result)))
    return buffer.getvalue()


def outputs(result: Result, body: BodyModel) -> dict[str, npt.NDArray[Any]]:
    """The dictionary, R rows in the order of people, then frames."""
    pose = result.pose.copy()
    pose[:, 0] = result.root_in_camera
    betas = result.betas[result.row_person]
    joints = body.joints44(pose, betas)
    hips = hip_midpoint(joints)[:, None]
    h36m = body.joints_h36m17(pose, betas) - hips
    lens = result.intrinsics[result.row_frame if len(result.intrinsics) > 1 else np.zeros_like(result.row_frame)]
    h36m_pixels = project(lens, h36m + result.hips_in_camera[:, None])
    world = result.translation + hip_midpoint(body.joints44(result.pose, betas))
    side, corner = _square(result)
    depth = np.maximum(world[:, 2:], 1e-6)
    values: dict[str, npt.NDArray[Any]] = {
        "smpl_thetas": pose.reshape(len(pose), 72),
        "smpl_betas": betas,
        "center_confs": result.score[:, None],
        "j3d": joints - hips,
        "joints_h36m17": h36m,
        "cam_trans": result.hips_in_camera,
        "pj2d": 2 * (result.joints_2d + corner) / side - 1,
        "pj2d_org": result.joints_2d,
        "pj2d_org_h36m17": h36m_pixels,
        "world_cams": np.concatenate([K / depth, K * world[:, 1::-1] / depth], axis=1),
        "world_trans": world,
        "world_global_rots": result.pose[:, 0],
    }
    return {
        "reorganize_idx": result.row_frame.astype(np.int64),
        "track_ids": result.person[result.row_person].astype(np.int64),
        **{key: value.astype(np.float32) for key, value in values.items()},
    }


def _square(result: Result) -> tuple[float, npt.NDArray[np.float64]]:
    """Side of the padded square, px, and what is added to a pixel's x and y to count from the square's corner."""
    size = result.image_size.astype(np.float64)
    side = float(size.max())
    return side, 0.5 * (side - size)
