"""The world of a clip seen from above: where people and the camera go, in metres."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trace_data.geometry import matrix_from_axis_angle
from trace_train.preview.clips import PreviewClip


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Plan:
    """Places on the ground, metres, from the camera's first place; its first view points along the second axis."""

    people: npt.NDArray[np.float64]
    """(P, T, 2), NaN where a person's place in the world is not known."""
    camera: npt.NDArray[np.float64]
    """(T, 2)."""
    view: npt.NDArray[np.float64]
    """(T, 2) unit vectors along which the camera looks."""


def plan_of(clip: PreviewClip) -> Plan | None:
    """The plan of a clip; None where nobody has a valid place in the world."""
    valid = clip.mask("world") & clip.present
    if not valid.any():
        return None
    cameras = clip.batch.camera_from_world[0].numpy().astype(np.float64)
    centres = -np.einsum("tji,tj->ti", cameras[:, :3, :3], cameras[:, :3, 3])
    # bodies stand along the y axis of their own frame; whichever axis of the world is nearest to that is up
    standing = matrix_from_axis_angle(clip.person("pose")[..., 0, :])[valid][..., 1].mean(axis=0)
    up = np.zeros(3)
    up[np.abs(standing).argmax()] = np.sign(standing[np.abs(standing).argmax()])
    looks = cameras[:, 2, :3]
    forward = _level(looks[:1], up)[0]
    axes = np.stack([np.cross(forward, up), forward], axis=1)
    pelvis, translation = clip.person("kp3d")[..., 0, :], clip.person("translation")
    places = np.where(pelvis[..., 3:] > 0, pelvis[..., :3], translation)
    return Plan(
        people=np.where(valid[..., None], (places - centres[0]) @ axes, np.nan),
        camera=(centres - centres[0]) @ axes,
        view=_level(looks, up) @ axes,
    )


def _level(directions: npt.NDArray[np.float64], up: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(T, 3) the level part of directions, of length one; any level direction where one points straight up or down."""
    level = directions - (directions @ up)[:, None] * up
    length = np.linalg.norm(level, axis=1, keepdims=True)
    level_units: npt.NDArray[np.float64] = np.where(length > 1e-6, level / np.maximum(length, 1e-6), np.roll(up, 1))
    return level_units
