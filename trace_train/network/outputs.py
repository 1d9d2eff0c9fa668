"""Inputs and outputs of the network except images. N = B T frames, M: side of the maps, D: number of depth levels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor

from trace_train.geometry.rotations import matrix_from_6d
from trace_train.network.temporal import StreamState


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Maps:
    """Dense outputs; those of the temporal parts are None in a network without these."""

    center: Tensor
    """(N, M, M) front-view centre heat: logits when trained from scratch."""
    center_3d: Tensor
    """(N, D, M, M) centre heat over depth level, y, x."""
    camera: Tensor
    """(N, 3, D, M, M) camera triples s, y, x."""
    mesh: Tensor
    """(N, C, M, M) features for pose and shape."""
    motion: Tensor | None = None
    """(N, 3, D, M, M) change of the camera triple since the previous frame: c(t) - c(t - 1)."""
    world_motion: Tensor | None = None
    """(N, 3, M, M) change of the triple in the fixed view of the clip's first frame."""
    world_rotation: Tensor | None = None
    """(N, 6, M, M) 6D rotation from camera to world axes."""
    state: StreamState | None = None
    """State for the next chunk of the same videos."""
    stages: Mapping[str, Tensor] = field(default_factory=dict)
    """Intermediate tensors by their names in docs/network.md, if requested."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class People:
    """Parameters regressed at cells (...,): K cells, or S tracks of T frames."""

    camera: Tensor
    """(..., 3) camera triple s, y, x of the root in the 50-degree view."""
    camera_coarse: Tensor
    """(..., 3) the triple sampled from the camera volume, before refinement."""
    root_6d: Tensor
    """(..., 6) root rotation in the camera frame, interleaved 6D."""
    pose_6d: Tensor
    """(..., 21, 6) rotations of joints 1 to 21."""
    shape: Tensor
    """(..., 21); the first ten are SMPL betas."""
    motion: Tensor | None = None
    """(..., 3) change of the triple since the previous frame."""
    world_motion: Tensor | None = None
    """(..., 3) change of the triple in the fixed view."""
    world_rotation_6d: Tensor | None = None
    """(..., 6) rotation from camera to world axes."""

    def of(self, rows: Tensor) -> People:
        """Some of the people, by mask or index of the first dimension."""
        values: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        chosen: dict[str, Any] = {name: None if value is None else value[rows] for name, value in values.items()}
        return People(**chosen)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tracks:
    """Positions of S people in up to T frames of their clips. Values are undefined where `mask` is False."""

    frame: Tensor
    """(S, T) index of the frame among the N frames, int64."""
    zyx: Tensor
    """(S, T, 3) depth level, row and column of the centre, int64."""
    mask: Tensor
    """(S, T) bool."""

    def within_bounds(self) -> tuple[Tensor, Tensor]:
        """Frames and voxels with zeros where `mask` is False, so that every entry is a valid index."""
        return (
            torch.where(self.mask, self.frame, torch.zeros_like(self.frame)),
            torch.where(self.mask[..., None], self.zyx, torch.zeros_like(self.zyx)),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WorldStart:
    """Positions of tracks in the fixed view at the end of the previous chunk."""

    camera: Tensor
    """(S, 3) triple s, y, x; undefined where `known` is False."""
    known: Tensor
    """(S,) bool: False for new tracks."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrackedPeople:
    """S people over T frames. The world is the camera frame of each track's first frame."""

    people: People
    """Parameters (S, T, ...)."""
    mask: Tensor
    """(S, T) bool: the person is present in the frame."""
    world_camera: Tensor
    """(S, T, 3) triple s, y, x in the fixed view of the first frame."""
    world_root: Tensor
    """(S, T, 3, 3) root rotation in the world."""


def full_rotations(people: People) -> Tensor:
    """(..., 24, 3, 3): root, 21 body joints, and hands with identity rotation."""
    joints = matrix_from_6d(torch.cat([people.root_6d[..., None, :], people.pose_6d], dim=-2))
    hands = torch.eye(3, device=joints.device, dtype=joints.dtype).expand(*joints.shape[:-3], 2, 3, 3)
    return torch.cat([joints, hands], dim=-3)
