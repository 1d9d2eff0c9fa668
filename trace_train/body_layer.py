"""The SMPL body layer in torch: joints without the full mesh, or the mesh as well (fact sheet assets.md, C1).

Works from the tensors of a pack (assets.md, B1). Everything runs in float32, inside autocast too. Outputs are aligned
to the midpoint of the regressed hips, which is what every loss and camera of this project calls the root.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from trace_data.schema.keypoints import L_HIP, R_HIP, SMPL_PARENTS

PICKED_VERTICES = 11
"""Face and foot vertices used of the 21 in a pack (assets.md, D8)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BodyOutput:
    """Posed bodies, metres, relative to the hip midpoint."""

    joints: Tensor
    """(N, 44, 3) the canonical joint set."""
    joints_h36m: Tensor
    """(N, 17, 3) joints of the H36M regressor, J17 order; the first 14 are LSP order."""
    root: Tensor
    """(N, 3) hip midpoint in SMPL's own frame, which was subtracted from the others."""
    vertices: Tensor | None
    """(N, 6890, 3), only when asked for."""


class BodyLayer(nn.Module):
    """Linear blend skinning of one pack. Buffers only, nothing to learn."""

    faces: Tensor
    point_regressor: Tensor
    joint_template: Tensor
    joint_shapes: Tensor
    v_template: Tensor
    shapedirs: Tensor
    posedirs: Tensor
    weights: Tensor
    support_template: Tensor
    support_shapes: Tensor
    support_posedirs: Tensor
    support_weights: Tensor

    def __init__(self, pack: Mapping[str, Tensor]) -> None:
        super().__init__()
        regressors = torch.cat([pack["J_regressor_extra9"], pack["J_regressor_h36m17"]]).float()
        picked = pack["extra_joints_index"][:PICKED_VERTICES].long()
        used = torch.zeros(regressors.shape[1], dtype=torch.bool)
        used[picked] = True
        used |= (regressors != 0).any(0)
        support = used.nonzero()[:, 0]
        # rows: 11 picked vertices, 9 extra and 17 H36M points, as one matrix over the support vertices
        one_hot = torch.zeros(len(picked), regressors.shape[1])
        one_hot[torch.arange(len(picked)), picked] = 1.0
        template, shapes = pack["v_template"].float(), pack["shapedirs"].float()
        pose_dirs = pack["posedirs"].float().view(207, -1, 3)
        joints = pack["J_regressor"].float()
        for name, value in {
            "faces": pack["f"].long(),
            "point_regressor": torch.cat([one_hot, regressors])[:, support],
            "joint_template": joints @ template,
            "joint_shapes": torch.einsum("jv,vcl->jcl", joints, shapes),
            "v_template": template,
            "shapedirs": shapes,
            "posedirs": pose_dirs,
            "weights": pack["weights"].float(),
            "support_template": template[support],
            "support_shapes": shapes[support],
            "support_posedirs": pose_dirs[:, support].contiguous(),
            "support_weights": pack["weights"].float()[support],
        }.items():
            self.register_buffer(name, value, persistent=False)
        self.levels = _levels(SMPL_PARENTS)

    def forward(self, rotations: Tensor, betas: Tensor, *, vertices: bool = False) -> BodyOutput:
        """Pose bodies: rotations (N, 24, 3, 3) relative to the parent, betas (N, 10).

        `vertices=True` also returns the mesh; without it only the vertices that joints need are computed.
        """
        with torch.autocast(rotations.device.type, enabled=False):
            rotations, betas = rotations.float(), betas.float()
            rest = self.joint_template + torch.einsum("nl,jcl->njc", betas, self.joint_shapes)
            turned, posed = self._chain(rotations, rest)
            feature = (rotations[:, 1:] - torch.eye(3, device=rotations.device)).flatten(1)
            offset = posed - torch.einsum("njab,njb->nja", turned, rest)
            transforms = torch.cat([turned, offset[..., None]], dim=-1)

            def skin(template: Tensor, shapes: Tensor, pose_dirs: Tensor, weights: Tensor) -> Tensor:
                v = template + torch.einsum("nl,vcl->nvc", betas, shapes)
                v = v + (feature @ pose_dirs.flatten(1)).unflatten(1, (-1, 3))
                blended = (weights @ transforms.flatten(2)).unflatten(-1, (3, 4))
                skinned: Tensor = (blended[..., :3] @ v[..., None]).squeeze(-1) + blended[..., 3]
                return skinned

            points = self.point_regressor @ skin(
                self.support_template, self.support_shapes, self.support_posedirs, self.support_weights
            )
            joints = torch.cat([posed, points[:, : PICKED_VERTICES + 9]], dim=1)
            root = 0.5 * (joints[:, R_HIP] + joints[:, L_HIP])
            mesh = None
            if vertices:
                mesh = skin(self.v_template, self.shapedirs, self.posedirs, self.weights) - root[:, None]
            return BodyOutput(
                joints=joints - root[:, None],
                joints_h36m=points[:, PICKED_VERTICES + 9 :] - root[:, None],
                root=root,
                vertices=mesh,
            )

    def _chain(self, rotations: Tensor, rest: Tensor) -> tuple[Tensor, Tensor]:
        """Forward kinematics, one batched product per depth of the tree: world rotations and joint positions."""
        turned, placed, order = [rotations[:, :1]], [rest[:, :1]], [0]
        for joints, parents in self.levels:
            rows = [order.index(p) for p in parents]
            above, base = torch.cat(turned, 1)[:, rows], torch.cat(placed, 1)[:, rows]
            turned.append(above @ rotations[:, joints])
            bone = rest[:, joints] - rest[:, parents]
            placed.append(base + (above @ bone[..., None]).squeeze(-1))
            order += joints
        back = [order.index(j) for j in range(len(order))]
        return torch.cat(turned, 1)[:, back], torch.cat(placed, 1)[:, back]


def _levels(parents: tuple[int, ...]) -> list[tuple[list[int], list[int]]]:
    """Joints grouped by depth below the root, with the parent of each."""
    depth = [0] * len(parents)
    for joint in range(1, len(parents)):
        depth[joint] = depth[parents[joint]] + 1
    groups = [[j for j in range(len(parents)) if depth[j] == d] for d in range(1, max(depth) + 1)]
    return [(group, [parents[j] for j in group]) for group in groups]
