"""The SMPL body layer in torch: joints without the mesh, or the mesh as well (fact sheet assets.md, C1).

Works from the tensors of a pack (assets.md, B1 and B2). It computes in the precision of its buffers: float32, inside
autocast too, or float64 after `.double()`. Outputs are aligned to the midpoint of the regressed hips, which is what
every loss and camera of this project calls the root.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from trace_data.schema.keypoints import L_HIP, R_HIP, SMPL_PARENTS
from trace_train.skinning import skin

PICKED_VERTICES = 11
"""Face and foot vertices used of the 21 in a pack (assets.md, D8)."""
EXTRA_POINTS = PICKED_VERTICES + 9
JOINTS = len(SMPL_PARENTS)


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
    """Linear blend skinning of one pack. Buffers only, nothing to learn.

    A regressed point is a sum over vertices v of r[v] * sum over joints j of w[v, j] * (G[j] (p[v] - J[j]) + t[j]),
    where p and J are linear in the coefficients (betas and joint rotations). So the sum over v is done here, once:
    for each point and joint it leaves a vector that is linear in the coefficients, and posing needs no vertex at all.
    """

    faces: Tensor
    jumps: Tensor
    identity: Tensor
    point_base: Tensor
    point_directions: Tensor
    point_shares: Tensor
    rest_base: Tensor
    rest_directions: Tensor
    mesh_base: Tensor
    mesh_directions: Tensor
    weights: Tensor

    def __init__(self, pack: Mapping[str, Tensor]) -> None:
        super().__init__()
        shapes = pack.get("smpla_shapedirs", pack["shapedirs"]).double().permute(2, 0, 1)
        pose = pack["posedirs"].double().unflatten(1, (-1, 3))
        weights, regressor = pack["weights"].double(), pack["J_regressor"].double()
        template = pack["v_template"].double()
        # the pose blend shapes take rotations minus identity; here the identity is part of the base
        base = template - torch.einsum("p,pvc->vc", torch.eye(3).double().flatten().repeat(JOINTS - 1), pose)
        directions = torch.cat([shapes, pose])
        rest_base, rest_directions = regressor @ template, regressor @ shapes
        parents = torch.tensor((0, *SMPL_PARENTS[1:]))
        child = (parents != torch.arange(JOINTS))[:, None]

        points = _points(pack)
        needed = (points != 0).any(0).nonzero()[:, 0]
        mix = torch.einsum("kv,vj->jkv", points[:, needed], weights[needed])
        shares = mix.sum(2)
        no_pose = torch.zeros(len(pose), JOINTS, 3).double()
        joint_directions = torch.cat([rest_directions, no_pose])
        arms = torch.einsum("jkv,vc->jck", mix, base[needed]) - shares[:, None] * rest_base[:, :, None]
        arm_directions = torch.einsum("jkv,dvc->djck", mix, directions[:, needed])
        arm_directions -= shares[:, None] * joint_directions[..., None]
        bones = rest_base - child * rest_base[parents]
        bone_directions = joint_directions - child * joint_directions[:, parents]
        for name, value in {
            "point_base": torch.cat([bones.flatten(), arms.flatten()]),
            "point_directions": torch.cat([bone_directions.flatten(1), arm_directions.flatten(1)], dim=1),
            "point_shares": shares.T,
            "rest_base": rest_base.flatten(),
            "rest_directions": rest_directions.flatten(1),
            "mesh_base": base.T.flatten(),
            "mesh_directions": directions.transpose(1, 2).flatten(1),
            "weights": weights.T,
            "identity": torch.eye(4),
        }.items():
            self.register_buffer(name, value.float().contiguous(), persistent=False)
        self.register_buffer("faces", pack["f"].long(), persistent=False)
        self.register_buffer("jumps", _jumps(parents), persistent=False)

    def forward(self, rotations: Tensor, betas: Tensor, *, vertices: bool = False) -> BodyOutput:
        """Pose bodies: rotations (N, 24, 3, 3) relative to the parent, betas (N, 10 or fewer).

        A layer of an `SMPLA_*.pth` takes (N, 11), the last 0 for the adult and 1 for the kid. `vertices=True` also
        returns the mesh. Raises ValueError for more betas than the pack has.
        """
        with torch.autocast(rotations.device.type, enabled=False):
            dtype, bodies = self.weights.dtype, len(rotations)
            rotations, betas = rotations.to(dtype), self._all_betas(betas.to(dtype))
            coefficients = torch.cat([betas, rotations[:, 1:].flatten(1)], dim=1)
            linear = torch.addmm(self.point_base, coefficients, self.point_directions)
            bones, arms = linear[:, : 3 * JOINTS], linear[:, 3 * JOINTS :]
            world = self._chain(rotations, bones.view(bodies, JOINTS, 3))
            turned, placed = world[..., :3], world[..., 3]
            reached = turned.transpose(1, 2).flatten(2) @ arms.view(bodies, 3 * JOINTS, len(self.point_shares))
            points = reached.transpose(1, 2) + self.point_shares @ placed
            joints = torch.cat([placed, points[:, :EXTRA_POINTS]], dim=1)
            root = 0.5 * (joints[:, R_HIP] + joints[:, L_HIP])
            mesh = None
            if vertices:
                rest = torch.addmm(self.rest_base, betas, self.rest_directions).view(bodies, JOINTS, 3, 1)
                # weights sum to one, so what is subtracted from every joint is subtracted from every vertex
                shift = (placed - root[:, None])[..., None] - turned @ rest
                shaped = torch.addmm(self.mesh_base, coefficients, self.mesh_directions).unflatten(1, (3, -1))
                mesh = skin(torch.cat([turned, shift], dim=3), shaped, self.weights)
            return BodyOutput(
                joints=joints - root[:, None],
                joints_h36m=points[:, EXTRA_POINTS:] - root[:, None],
                root=root,
                vertices=mesh,
            )

    def _all_betas(self, betas: Tensor) -> Tensor:
        lacking = len(self.rest_directions) - betas.shape[1]
        if lacking < 0:
            raise ValueError(f"{betas.shape[1]} betas for a body of {len(self.rest_directions)}")
        return nn.functional.pad(betas, (0, lacking)) if lacking else betas

    def _chain(self, rotations: Tensor, bones: Tensor) -> Tensor:
        """Forward kinematics: (N, 24, 3, 4) turn and place of every joint.

        Each product doubles the part of its way to the root that a joint has behind it: three instead of eight in a
        row, and for few bodies the number of operations is the cost.
        """
        bodies = len(rotations)
        last_row = self.identity[3].expand(bodies, JOINTS, 1, 4)
        links = torch.cat([torch.cat([rotations, bones[..., None]], dim=3), last_row], dim=2)
        below_root = torch.cat([self.identity.expand(bodies, 1, 4, 4), links[:, 1:]], dim=1)
        for ancestors in self.jumps:
            below_root = below_root[:, ancestors] @ below_root
        return links[:, :1, :3] @ below_root


def _points(pack: Mapping[str, Tensor]) -> Tensor:
    """(37, V) the regressed points: picked vertices, extra joints, H36M joints."""
    picked = pack["extra_joints_index"][:PICKED_VERTICES].long()
    chosen = nn.functional.one_hot(picked, len(pack["v_template"]))
    return torch.cat([chosen, pack["J_regressor_extra9"], pack["J_regressor_h36m17"]]).double()


def _jumps(parents: Tensor) -> Tensor:
    """(3, 24) the ancestor 1, 2 and 4 steps above each joint; 0 where that is the root or beyond."""
    jumps = [parents]
    while bool((further := jumps[-1][jumps[-1]]).any()):
        jumps.append(further)
    return torch.stack(jumps)
