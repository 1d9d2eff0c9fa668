"""How unlike a track and a detection are: position, joints in the picture, feature and shape.

All terms are in 0..1. Those without a natural limit are x / (x + 1), where x is 1 at the term's scale, so that pairs
far beyond it are still ordered.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trace_train.config.tracker import TrackerConfig
from trace_train.inference.tracking.observation import KEYPOINT_DEVIATIONS, Floats, Observation, picture_motion, unit
from trace_train.inference.tracking.tracks import Rows, TrackTable, noise


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pairs:
    """P pairs of a track and a detection within the gate."""

    track: Rows
    """(P,)"""
    detection: Rows
    """(P,)"""
    cost: Floats
    """(P,)"""


def pairs(
    tracks: TrackTable,
    people: Observation,
    time: float,
    config: TrackerConfig,
    *,
    motion: Floats | None,
    seconds: float,
) -> Pairs:
    """The pairs of tracks, predicted for `time`, and detections that could belong together, and their costs.

    `motion` (K, 3) m: how far each detection moved in the last `seconds`, as the network says. Tracks and detections
    are then compared where they were in the previous frame. None: they are compared where they are now.
    """
    if not len(tracks) or not len(people.position):
        return Pairs(track=np.zeros(0, int), detection=np.zeros(0, int), cost=np.zeros(0))
    at, joints, found, found_joints = tracks.position, tracks.joints, people.position, people.joints
    if motion is not None:
        own = tracks.velocity * seconds
        at = at - own
        joints = joints - picture_motion(at, own, tracks.px_per_m)[:, None]
        found = found - motion
        found_joints = found_joints - picture_motion(found, motion, people.px_per_m)[:, None]
    age = time - tracks.last_time
    step = found[None] - at[:, None]
    along = np.einsum("nkc,nc->nk", step, unit(at)) ** 2
    across = np.maximum(np.einsum("nkc,nkc->nk", step, step) - along, 0)
    deviation = np.sqrt(noise(at, config))
    reach = (config.gate * age)[:, None] + config.gate_deviations * deviation
    near = (along <= reach[:, :1] ** 2) & (across <= reach[:, 1:] ** 2) & tracks.placed[:, None]
    row, column = near.nonzero()
    spread = tracks.variance[:, :, 0] + deviation**2
    terms, weights = np.zeros((2, 4, len(row)))
    weights[:] = np.array(
        [[config.position_weight], [config.joints_weight], [config.feature_weight], [config.shape_weight]]
    )
    weights[0] *= np.exp(-age / config.position_seconds)[row]
    weights[1] *= np.exp(-age / config.joints_seconds)[row]
    if config.position_weight:
        square = along[row, column] / spread[row, 0] + across[row, column] / spread[row, 1]
        terms[0] = _squashed(square / config.position_scale**2)
    if config.joints_weight:
        size = (tracks.size[row] + people.size[column]) / 2
        terms[1] = 1 - keypoint_similarity(joints[row], found_joints[column], size)
    if config.feature_weight:
        terms[2] = feature_term(tracks.feature[row], people.feature[column], config)
    if config.shape_weight:
        terms[3] = shape_term(tracks.betas[row], people.betas[column], config)
    lost = np.minimum((age - seconds) / max(config.remember, 1e-9), 1)
    cost = (terms * weights).sum(0) / np.maximum(weights.sum(0), 1e-9) + config.lost_cost * lost[row]
    return Pairs(track=row, detection=column, cost=cost)


def appearance_cost(tracks: TrackTable, others: TrackTable, config: TrackerConfig) -> Floats:
    """(N, M) how unlike the tracks look: the weighted mean of the terms of feature and shape. inf without weights."""
    weight = config.feature_weight + config.shape_weight
    if not weight:
        return np.full((len(tracks), len(others)), np.inf)
    feature = feature_term(tracks.feature[:, None], others.feature[None], config)
    shape = shape_term(tracks.betas[:, None], others.betas[None], config)
    return (config.feature_weight * feature + config.shape_weight * shape) / weight


def keypoint_similarity(joints: Floats, others: Floats, size: Floats) -> Floats:
    """(P,) in 0..1: object keypoint similarity of joints (P, 14, 2) px of people of `size` (P,) px."""
    apart = joints - others
    square = np.einsum("pjc,pjc->pj", apart, apart)
    deviation = 2 * KEYPOINT_DEVIATIONS * np.maximum(size, 1e-6)[:, None]  # twice, as COCO does
    similarity: Floats = np.exp(-square / (2 * deviation**2)).mean(-1)
    return similarity


def feature_term(feature: Floats, others: Floats, config: TrackerConfig) -> Floats:
    """(...,) cosine distance of features (..., C) of length 1, squashed."""
    return _squashed(np.maximum(1 - (feature * others).sum(-1), 0) / config.feature_scale)


def shape_term(betas: Floats, others: Floats, config: TrackerConfig) -> Floats:
    """(...,) distance of shapes (..., 10), squashed."""
    return _squashed(((betas - others) ** 2).sum(-1) / config.shape_scale**2)


def _squashed(x: Floats) -> Floats:
    return x / (x + 1)
