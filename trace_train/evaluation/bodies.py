"""Compares detected people with the bodies they were matched to, in a few batched passes."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from trace_data.schema.body import GENDERS
from trace_train.body.layer import JOINTS, BodyLayer
from trace_train.evaluation.ground_truth import GroundTruth
from trace_train.geometry.camera import FOCAL
from trace_train.inference.detections import Detections
from trace_train.metrics.joints import H36M_PELVIS, LSP_HIPS, SMPL_HIPS, mean_distance, rooted
from trace_train.metrics.world import FOOT_VERTICES
from trace_train.protocols.protocol import BodyRules
from trace_train.streaming.batch import Batch

LSP = 14
MESHES_AT_ONCE = 128
"""Number of bodies skinned at a time; each takes several arrays of 80 kB."""
Values = dict[str, Tensor]
"""Values (M, ...) of M pairs by name."""


def compare(
    batch: Batch,
    found: Detections,
    rows: Tensor,
    target: GroundTruth,
    world: tuple[Tensor, Tensor],
    layers: Mapping[str, BodyLayer],
    rules: BodyRules,
) -> Values:
    """Errors and values to compare for M pairs, float64 on the CPU.

    Those of `compare_bodies`, turned to the axes of the predicted world, and where everything is.

    `rows` (M,) of `found`; `target`: the M people they were matched to. `world`: rotations from camera axes to the axes
    of the predicted world (M, 3, 3), and the hip midpoints there (M, 3), for the 50-degree camera.
    """
    turn, place = world
    frames = batch.images.shape[1]
    video, time = target.frame // frames, target.frame % frames
    px = batch.images.shape[2] / 2 / batch.crop_from_frame[video, time, 0, 0]
    values = compare_bodies(found.rotations[rows], found.betas[rows], target, layers, rules)
    values |= {
        "video": video,
        "joints2d": found.joints2d_h36m[rows, :LSP] * px[:, None, None],
        "true_joints2d": target.joints2d * px[:, None, None],
        "px": px,
        "place": place,
        "true_from_assumed": true_from_assumed(batch)[video, time],
    }
    return in_axes(values, turn)


def in_axes(values: Values, turn: Tensor) -> Values:
    """What `compare_bodies` gives in camera axes, rotated by `turn` (M, 3, 3); everything float64 on the CPU."""
    turned = values | {name: values[name] @ turn.mT for name in ("skeleton", "feet", "pelvis")}
    turned["root"] = turn @ values["root"]
    return {k: v.cpu().double() if v.is_floating_point() else v.cpu() for k, v in turned.items()}


def compare_bodies(
    rotations: Tensor, betas: Tensor, target: GroundTruth, layers: Mapping[str, BodyLayer], rules: BodyRules
) -> Values:
    """Values of M pairs by name. Predicted: neutral bodies, rotations (M, 24, 3, 3) with the root in the camera.

    `predicted`, `annotated` (M, J, 3): the joints that are compared in the camera, in its axes, relative to the root.
    `pve` (M,): mean distance of the vertices. `skeleton` (M, 24, 3), `feet` (M, 4, 3), `pelvis` (M, 1, 3), relative to
    the hip midpoint, and `rest` (M, 3), the pelvis of the unposed body: of the prediction in camera axes, with `true_`
    before the name of the annotation in world axes. `root` (M, 3, 3) and what `GroundTruth` says of its place.
    """
    parts = []
    for at in torch.arange(len(betas), device=betas.device).split(MESHES_AT_ONCE):
        some = target.rows(at)
        ours = _posed(layers["neutral"], rotations[at], betas[at], layers, rules)
        theirs = _annotated(some, layers, rules)
        surface = theirs.pop("surface") @ some.turn.mT
        shift = theirs["rest"] - ours["rest"] if rules.surface == "origin" else 0 * ours["rest"]
        parts.append(
            {
                "predicted": ours.pop("compared"),
                "annotated": theirs.pop("compared") @ some.turn.mT,
                "pve": mean_distance(ours.pop("surface"), surface + shift[:, None]),
                **ours,
                **{f"true_{name}": value for name, value in theirs.items()},
            }
        )
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]} | {
        "root": rotations[:, 0],
        "in_world": target.in_world,
        "true_root": target.rotations[:, 0],
        "true_hips": target.hips,
        "camera_from_world": target.turn,
    }


def _annotated(target: GroundTruth, layers: Mapping[str, BodyLayer], rules: BodyRules) -> Values:
    """`_posed` of annotated people, each with the body of its gender."""
    of_gender = {name: (target.gender == code).nonzero()[:, 0] for code, name in enumerate(GENDERS)}
    posed = {
        name: _posed(layers[name], target.rotations[of], target.betas[of], layers, rules)
        for name, of in of_gender.items()
        if len(of)
    }
    order = torch.cat([of_gender[name] for name in posed]).argsort()
    first = next(iter(posed.values()))
    return {name: torch.cat([part[name] for part in posed.values()])[order] for name in first}


def _posed(
    layer: BodyLayer, rotations: Tensor, betas: Tensor, layers: Mapping[str, BodyLayer], rules: BodyRules
) -> Values:
    """N bodies in the axes of their root.

    `compared` (N, J, 3) and `surface` (N, V, 3) are relative to the root of `rules`, `skeleton`, `feet` and `pelvis` to
    the hip midpoint.
    """
    body = layer(rotations, betas, vertices=True)
    assert body.vertices is not None
    chain = body.joints[:, :JOINTS]
    skeleton = chain
    if rules.joints in ("smpl-24-regressed", "smpl-24-neutral"):
        regressor = (layer if rules.joints == "smpl-24-regressed" else layers["neutral"]).regressor
        skeleton = regressor @ body.vertices
    joints = skeleton
    root: tuple[int, ...] = SMPL_HIPS
    if rules.joints == "lsp-14":
        joints, root = body.joints_h36m, LSP_HIPS if rules.root == "hips" else H36M_PELVIS
    origin = chain[:, :1] if rules.surface == "origin" else joints[:, list(root)].mean(1, keepdim=True)
    return {
        "compared": rooted(joints, root)[:, : LSP if rules.joints == "lsp-14" else JOINTS],
        "surface": body.vertices - origin,
        "skeleton": skeleton,
        "feet": body.vertices[:, list(FOOT_VERTICES)],
        "pelvis": chain[:, :1],
        "rest": layer.rest_pelvis(betas),
    }


def true_from_assumed(batch: Batch) -> Tensor:
    """(B, T, 3, 3) linear maps from positions in the crop's 50-degree camera to positions in the true camera, metres.

    The projection into the frame is kept, and depth scales with the focal length: a body that appears equally large
    is farther away from a longer lens.
    """
    size = batch.images.shape[2]
    px_from_crop = torch.eye(3, device=batch.images.device)
    px_from_crop[0, 0] = px_from_crop[1, 1] = size / 2
    px_from_crop[:2, 2] = (size - 1) / 2
    frame_from_crop = torch.linalg.inv(batch.crop_from_frame.double()) @ px_from_crop.double()
    ray_from_crop = torch.linalg.inv(batch.intrinsics.double()) @ frame_from_crop
    ray_from_crop = ray_from_crop / ray_from_crop[..., 2:, 2:]
    widths = ray_from_crop[..., 0, 0] * ray_from_crop[..., 1, 1]
    deeper = widths.rsqrt() / FOCAL
    assumed = ray_from_crop.new_tensor([FOCAL, FOCAL, 1.0]).diag()
    mapping: Tensor = deeper[..., None, None] * ray_from_crop @ assumed
    return mapping
