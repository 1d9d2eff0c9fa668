"""Top view of a clip: paths of people and camera in the world, metres."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trace_data.geometry import matrix_from_axis_angle
from trace_train.preview.clips import PreviewClip


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Plan:
    """Ground positions, metres, relative to the first camera position; its view points along the second axis."""

    people: npt.NDArray[np.float64]
    """(P, T, 2), NaN where a person's world position is unknown."""
    camera: npt.NDArray[np.float64]
    """(T, 2)."""
    view: npt.NDArray[np.float64]
    """(T, 2) unit vectors of the viewing direction."""


def plan_of(clip: PreviewClip) -> Plan | None:
    """The top view of a clip; None if nobody has a valid world position."""
    valid = clip.mask("world") & clip.present
    if not valid.any():
        return None
    cameras = clip.batch.camera_from_world[0].numpy().astype(np.float64)
    centres = -np.einsum("tji,tj->ti", cameras[:, :3, :3], cameras[:, :3, 3])
    # bodies are upright along y in their own frame; the world axis closest to that is up
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
    """(T, 3) normalised horizontal part of directions; an arbitrary horizontal direction for vertical ones."""
    level = directions - (directions @ up)[:, None] * up
    length = np.linalg.norm(level, axis=1, keepdims=True)
    level_units: npt.NDArray[np.float64] = np.where(length > 1e-6, level / np.maximum(length, 1e-6), np.roll(up, 1))
    return level_units
