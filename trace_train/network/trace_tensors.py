"""Records intermediate tensors under their names in docs/network.md, to compare networks stage by stage."""

from __future__ import annotations

import torch
from torch import Tensor

from trace_train.geometry.rotations import axis_angle_from_matrix
from trace_train.network.outputs import TrackedPeople


class TensorRecorder:
    """Records intermediate tensors if `wanted`; otherwise keeps no reference, so their memory can be freed."""

    def __init__(self, wanted: bool) -> None:
        self.wanted = wanted
        self.tensors: dict[str, Tensor] = {}

    def record(self, **tensors: Tensor) -> None:
        """Record tensors, if wanted."""
        if self.wanted:
            self.tensors.update(tensors)


def parameter_stages(tracked: TrackedPeople) -> dict[str, Tensor]:
    """Parameters regressed along tracks, flattened to rows (S T, ...)."""
    people = tracked.people
    assert people.motion is not None and people.world_motion is not None and people.world_rotation_6d is not None
    parameters = torch.cat([people.camera, people.root_6d, people.pose_6d.flatten(-2), people.shape], dim=-1)
    values = {
        "params_pred": parameters,
        "cam": people.camera,
        "cams_init": people.camera_coarse,
        "motion_offsets3D": people.motion,
        "world_motion": people.world_motion,
        "world_rotation_offsets": people.world_rotation_6d,
        "world_cams": tracked.world_camera,
        "world_global_rots": axis_angle_from_matrix(tracked.world_root),
        "pred_seq_mask": tracked.mask,
    }
    return {name: value.flatten(0, 1) for name, value in values.items()}
