"""Losses along tracks of S people over T frames, masks (S, T); masked-out frames are ignored.

Terms over frame pairs or whole tracks are averaged over tracks, so that long and short tracks weigh the same.
"""

from __future__ import annotations

import torch
from torch import Tensor

from trace_train.geometry.rotations import geodesic
from trace_train.losses.reduce import Term, distance, filled, masked, norm

STILL = 0.01
"""Added to both spreads, m, before comparing them: the trajectory of a standing person has no scale."""
SHORTEST = 1e-3
"""Minimum time between frames, s."""


def steady_shape(betas: Tensor, mask: Tensor) -> Term:
    """Distance of betas (S, T, D) to their mean along the track, which is detached from the gradient."""
    count = mask.sum(1)
    mean = filled(betas, mask).sum(1) / count.clamp_min(1)[:, None]
    return distance(betas, mean.detach()[:, None], mask & (count >= 2)[:, None])


def rotation_pairs(predicted: Tensor, target: Tensor, mask: Tensor) -> Term:
    """Angle, rad, between predicted and true relative rotations of all frame pairs; rotations (S, T, 3, 3)."""
    identity = torch.eye(3, dtype=predicted.dtype, device=predicted.device)
    turns = [filled(rotation, mask, identity) for rotation in (predicted, target)]
    found, wanted = (turn.mT[:, :, None] @ turn[:, None] for turn in turns)
    return _per_track(geodesic(found, wanted), mask)


def translation_pairs(predicted: Tensor, target: Tensor, mask: Tensor) -> Term:
    """Distance, m, between predicted and true displacements of all frame pairs; positions (S, T, 3)."""
    off = filled(predicted - target, mask)
    return _per_track(norm(off[:, None] - off[:, :, None]), mask)


def log_scale(predicted: Tensor, target: Tensor, mask: Tensor) -> Term:
    """|log| of the ratio between the spreads of predicted and true positions (S, T, 3) about their means."""
    count = mask.sum(1)
    spreads = []
    for places in (predicted, target):
        places = filled(places, mask)
        mean = places.sum(1, keepdim=True) / count.clamp_min(1)[:, None, None]
        spread = filled(places - mean, mask).square().sum((1, 2)) / count.clamp_min(1)
        spreads.append((spread + STILL**2).log())
    return masked(0.5 * (spreads[0] - spreads[1]).abs(), count >= 2)


def differences(predicted: Tensor, target: Tensor, mask: Tensor) -> Term:
    """Distance between predicted and true first and second differences in time of (S, T, D), per frame of the clip."""
    off = filled(predicted - target, mask)
    both = mask[:, 1:] & mask[:, :-1]
    first, second = norm(off.diff(dim=1)), norm(off.diff(dim=1, n=2))
    return masked(torch.cat([first, second], dim=1), torch.cat([both, both[:, 1:] & both[:, :-1]], dim=1))


def velocity(predicted: Tensor, target: Tensor, mask: Tensor, seconds: Tensor) -> Term:
    """Distance, m/s, between velocities of positions (S, T, ..., 3) with masks (S, T, ...); `seconds` (S, T): times."""
    off = filled(predicted - target, mask)
    return masked(norm(off.diff(dim=1)) / _between(seconds, mask), mask[:, 1:] & mask[:, :-1])


def standing(feet: Tensor, mask: Tensor, stands: Tensor, seconds: Tensor, limit: float) -> Term:
    """Speed, m/s, above `limit` of standing feet (S, T, F, 3). `stands` (S, T, F): the foot stands between the previous
    frame and this one."""
    speed = norm(filled(feet, mask).diff(dim=1)) / _between(seconds, mask)
    return masked((speed - limit).clamp_min(0), stands[:, 1:] & mask[:, 1:] & mask[:, :-1])


def _between(seconds: Tensor, mask: Tensor) -> Tensor:
    """Time between frames (S, T - 1), with the trailing axes of the mask."""
    time = seconds.diff(dim=1).clamp_min(SHORTEST)
    return time[(..., *[None] * (mask.dim() - 2))]


def _per_track(values: Tensor, mask: Tensor) -> Term:
    """Mean of (S, T, T) over the frame pairs i < j of a track, then over the tracks that have any."""
    pairs = (mask[:, :, None] & mask[:, None]).triu(1)
    count = pairs.sum((1, 2))
    mean = torch.where(pairs, values, torch.zeros_like(values)).sum((1, 2)) / count.clamp_min(1)
    return masked(mean, count > 0)
