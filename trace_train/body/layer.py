"""The SMPL body layer in torch, with or without the mesh (docs/reference/assets.md#body-layer).

Uses the tensors of a pack (docs/reference/assets.md#smpla-pack) and computes in the precision of its buffers: float32,
even under autocast, or float64 after `.double()`. Outputs are relative to the midpoint of the regressed hips, the root
in all losses and cameras of this project.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from trace_data.schema.keypoints import ALL_44, L_HIP, R_HIP, SMPL_PARENTS
from trace_train.body.skinning import skin

PICKED_VERTICES = 11
"""Number of face and foot vertices used, out of 21 in a pack (docs/reference/assets.md#extra-vertex-joints)."""
JOINTS = len(SMPL_PARENTS)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BodyOutput:
    """Posed bodies, metres, relative to the hip midpoint."""

    joints: Tensor
    """(N, 44, 3) the canonical joint set."""
    joints_h36m: Tensor
    """(N, 17, 3) joints of the H36M regressor, J17 order; the first 14 are LSP order."""
    root: Tensor
    """(N, 3) hip midpoint in SMPL's own frame, subtracted from the other outputs."""
    vertices: Tensor | None
    """(N, 6890, 3), if requested."""


class BodyLayer(nn.Module):
    """Linear blend skinning of one pack. Has buffers only, no parameters.

    A regressed point is the sum over vertices v of r[v] times the sum over joints j of w[v, j] (R[j] (p[v] - J[j]) +
    t[j]), where p and J are linear in the coefficients (betas and rotations). So the sum over v is precomputed. For
    each pair of a point and a joint that influences it, this gives an arm, linear in the coefficients and rotated by
    R[j], and a weight of t[j]. Posing joints then needs no vertices, however many a regressor uses.
    """

    faces: Tensor
    jumps: Tensor
    identity: Tensor
    last_row: Tensor
    reach_base: Tensor
    reach_directions: Tensor
    arm_joints: Tensor
    collect: Tensor
    rest_base: Tensor
    rest_directions: Tensor
    mesh_base: Tensor
    mesh_directions: Tensor
    weights: Tensor
    regressor: Tensor
    """(24, V) the joint regressor of the unposed mesh, which evaluations of others apply to the posed one."""

    def __init__(self, pack: Mapping[str, Tensor]) -> None:
        super().__init__()
        shapes = pack.get("smpla_shapedirs", pack["shapedirs"]).double().permute(2, 0, 1)
        pose = pack["posedirs"].double().unflatten(1, (-1, 3))
        weights, regressor = pack["weights"].double(), pack["J_regressor"].double()
        # pose blend shapes use rotations minus identity; the identity's part is folded into the base
        straight = torch.eye(3).double().flatten().repeat(JOINTS - 1)
        base = pack["v_template"].double() - torch.einsum("p,pvc->vc", straight, pose)
        directions = torch.cat([shapes, pose])
        rest_base = regressor @ pack["v_template"].double()
        rest_directions = torch.cat([regressor @ shapes, torch.zeros(len(pose), JOINTS, 3)])
        parents = torch.tensor((0, *SMPL_PARENTS[1:]))
        child = (parents != torch.arange(JOINTS))[:, None]

        points = _points(pack)
        needed = (points != 0).any(0).nonzero()[:, 0]
        shares = points @ weights
        of_point, of_joint = torch.einsum("kv,vj->kj", points.abs(), weights.abs()).nonzero(as_tuple=True)
        mix = points[of_point][:, needed] * weights[needed][:, of_joint].T
        weight = shares[of_point, of_joint][:, None]
        arms = mix @ base[needed] - weight * rest_base[of_joint]
        arm_directions = mix @ directions[:, needed] - weight * rest_directions[:, of_joint]
        bones = rest_base - child * rest_base[parents]
        bone_directions = rest_directions - child * rest_directions[:, parents]
        for name, value in {
            "reach_base": torch.cat([bones, arms]).flatten(),
            "reach_directions": torch.cat([bone_directions, arm_directions], dim=1).flatten(1),
            "collect": _collect(shares, of_point),
            "rest_base": rest_base.flatten(),
            "rest_directions": rest_directions[: len(shapes)].flatten(1),
            "mesh_base": base.T.flatten(),
            "mesh_directions": directions.transpose(1, 2).flatten(1),
            "weights": weights.T,
            "regressor": regressor,
            "identity": torch.eye(4)[None, None],
            "last_row": torch.eye(4)[None, None, 3:],
        }.items():
            self.register_buffer(name, value.float().contiguous(), persistent=False)
        for name, value in {"faces": pack["f"].long(), "jumps": _jumps(parents), "arm_joints": of_joint}.items():
            self.register_buffer(name, value, persistent=False)

    def forward(self, rotations: Tensor, betas: Tensor, *, vertices: bool = False) -> BodyOutput:
        """Pose bodies: rotations (N, 24, 3, 3) relative to the parent, betas (N, 10 or fewer).

        For an `SMPLA_*.pth` betas are (N, 11), the last from 0 (adult) to 1 (kid). `vertices=True` also returns the
        mesh. Raises ValueError for more betas than the pack has.
        """
        device = rotations.device.type
        # skipped if autocast is off: disabling it would cost a fifth of the time of one body's joints
        with torch.autocast(device, enabled=False) if torch.is_autocast_enabled(device) else nullcontext():
            dtype, bodies = self.weights.dtype, len(rotations)
            rotations, betas = rotations.to(dtype), self._all_betas(betas.to(dtype))
            coefficients = torch.cat([betas, rotations.flatten(1)[:, 9:]], dim=1)
            # split instead of slices: one operation in the backward pass, whose number dominates for few bodies
            reach = torch.addmm(self.reach_base, coefficients, self.reach_directions).unflatten(1, (-1, 3, 1))
            bones, arms = reach.split((JOINTS, len(self.arm_joints)), dim=1)
            turned, placed = self._chain(rotations, bones).split((3, 1), dim=3)
            turned_arms = turned.index_select(1, self.arm_joints) @ arms
            points = self.collect @ torch.cat([placed, turned_arms], dim=1).squeeze(3)
            joints, joints_h36m, root = points.split((len(ALL_44), 17, 1), dim=1)
            mesh = None
            if vertices:
                rest = torch.addmm(self.rest_base, betas, self.rest_directions).view(bodies, JOINTS, 3, 1)
                # weights sum to one, so subtracting the root from every joint subtracts it from every vertex
                shift = placed - root[..., None] - turned @ rest
                shaped = torch.addmm(self.mesh_base, coefficients, self.mesh_directions).unflatten(1, (3, -1))
                mesh = skin(torch.cat([turned, shift], dim=3), shaped, self.weights)
            return BodyOutput(joints=joints, joints_h36m=joints_h36m, root=root[:, 0], vertices=mesh)

    def rest_pelvis(self, betas: Tensor) -> Tensor:
        """The pelvis of unposed bodies (N, 3), m, in SMPL's own frame; betas (N, 10 or fewer)."""
        shape = self._all_betas(betas.to(self.weights.dtype))
        return self.rest_base[:3] + shape @ self.rest_directions[:, :3]

    def _all_betas(self, betas: Tensor) -> Tensor:
        missing = len(self.rest_directions) - betas.shape[1]
        if missing < 0:
            raise ValueError(f"{betas.shape[1]} betas for a body of {len(self.rest_directions)}")
        return nn.functional.pad(betas, (0, missing)) if missing else betas

    def _chain(self, rotations: Tensor, bones: Tensor) -> Tensor:
        """Forward kinematics: (N, 24, 3, 4) global rotation and position of every joint, from bones (N, 24, 3, 1).

        By pointer doubling along the path to the root: three consecutive products instead of eight.
        """
        bodies = len(rotations)
        root, limbs = torch.cat([rotations, bones], dim=3).split((1, JOINTS - 1), dim=1)
        limbs = torch.cat([limbs, self.last_row.expand(bodies, JOINTS - 1, 1, 4)], dim=2)
        below_root = torch.cat([self.identity.expand(bodies, 1, 4, 4), limbs], dim=1)
        for ancestors in self.jumps.unbind():
            below_root = below_root.index_select(1, ancestors) @ below_root
        chained: Tensor = root @ below_root
        return chained


def _points(pack: Mapping[str, Tensor]) -> Tensor:
    """(37, V) regressors of the points: picked vertices, extra joints, H36M joints."""
    picked = pack["extra_joints_index"][:PICKED_VERTICES].long()
    chosen = nn.functional.one_hot(picked, len(pack["v_template"]))
    return torch.cat([chosen, pack["J_regressor_extra9"], pack["J_regressor_h36m17"]]).double()


def _collect(shares: Tensor, of_point: Tensor) -> Tensor:
    """(62, 24 + P) matrix from joint positions and rotated arms to the 44 and 17 joints relative to the root, and the
    root itself."""
    arms = nn.functional.one_hot(of_point, len(shares)).T
    points = torch.cat([torch.eye(JOINTS, JOINTS + len(of_point)), torch.cat([shares, arms], dim=1)])
    root = 0.5 * (points[R_HIP] + points[L_HIP])
    return torch.cat([points - root, root[None]])


def _jumps(parents: Tensor) -> Tensor:
    """(3, 24) the ancestor 1, 2 and 4 steps above each joint; 0 where that is the root or beyond."""
    jumps = [parents]
    while bool((further := jumps[-1][jumps[-1]]).any()):
        jumps.append(further)
    return torch.stack(jumps)
