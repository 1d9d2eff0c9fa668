"""Smooths a result: bodies in the camera and the camera's path, then the world from both, so that they still agree.

Source: docs/reference/inference.md#smoothing-of-this-project. Constants are in seconds, so the frame rate does not
matter. Which rows there are, and which of them are seen, does not change; only `fill_gaps` adds rows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from trace_data.results.bodies import Bodies
from trace_data.results.paths import pieces, slerp
from trace_data.results.result import PREDICTED, Result
from trace_data.results.rows import chosen, joined, made_between
from trace_data.results.world_placement import rigid_inverse

Array = npt.NDArray[np.float64]
Mode = Literal["off", "causal", "offline"]

LONGEST_GAP = 0.3
"""s; longer gaps are not smoothed across."""
SIGMA, FINE = 0.1, 0.033
"""s: standard deviations of the Gaussian, and of a finer one that tells motion from noise."""
REACH = 3.0
"""Standard deviations at which the Gaussian ends."""
TURN, SHIFT = np.radians(2.0), 0.03
"""rad and m: what the Gaussian may take away from a motion. Where it would take more, the motion is kept: a Gaussian of
0.1 s alone would leave a clap, 3 times a second, a sixth of its size."""
CUTOFF, DERIVATIVE = 1.0, 2.0
"""Hz: of the causal filter at rest, and of its speed."""
TURN_GAIN, SHIFT_GAIN = 2.0, 6.0
"""Hz by which the cutoff of the causal filter rises, a rad/s and a m/s."""
LONGEST_FILLED = 1.0
"""s; gaps up to this are filled."""


def smooth(result: Result, mode: Mode = "offline") -> Result:
    """The result with smooth bodies and a smooth camera. `causal`: a frame depends on earlier ones only, and lags."""
    if mode == "off":
        return result
    filtered = _gaussian if mode == "offline" else _one_euro
    camera = rigid_inverse(result.camera_from_world)
    turns, centres = filtered(result.time, camera[:, None, :3, :3], camera[:, :3, 3])
    camera[:, :3, :3], camera[:, :3, 3] = turns[:, 0], centres
    bodies = Bodies.of(result)
    rotation, pelvis = bodies.rotation.copy(), bodies.pelvis.copy()
    for person in range(len(result.person)):
        rows = result.rows_of(person)
        rotation[rows], pelvis[rows] = filtered(result.time[result.row_frame[rows]], rotation[rows], pelvis[rows])
    smoothed = replace(result, camera_from_world=rigid_inverse(camera), about={**result.about, "smoothing": mode})
    return replace(bodies, rotation=rotation, pelvis=pelvis).written(smoothed)


def _gaussian(time: Array, rotation: Array, place: Array) -> tuple[Array, Array]:
    """Smooth rotations (n, J, 3, 3) and places (n, 3) without delay, where that takes no motion away."""
    turns, places = rotation.copy(), place.copy()
    for piece in pieces(time, LONGEST_GAP):
        now = time[piece]
        flat = Rotation.from_matrix(rotation[piece].reshape(-1, 3, 3)).as_quat()
        quaternions = flat.reshape(len(now), -1, 4)
        coarse, fine = _window(now, SIGMA), _window(now, FINE)
        wide, narrow = _mean_turn(coarse, quaternions), _mean_turn(fine, quaternions)
        lost = 2 * np.arccos(np.clip(np.abs((wide * narrow).sum(-1)), 0, 1))
        kept = _kept(coarse, lost, TURN)
        joined = np.where((wide * quaternions).sum(-1, keepdims=True) < 0, -quaternions, quaternions)
        mixed = wide + kept[..., None] * (joined - wide)
        turns[piece] = Rotation.from_quat(mixed.reshape(-1, 4)).as_matrix().reshape(turns[piece].shape)
        broad, close = coarse.mean(place[piece]), fine.mean(place[piece])
        kept = _kept(coarse, np.linalg.norm(broad - close, axis=1)[:, None], SHIFT)
        places[piece] = broad + kept * (place[piece] - broad)
    return turns, places


@dataclass(frozen=True, slots=True, eq=False)
class _Window:
    """Weights of the neighbours of each of n times; together they keep constants and straight lines as they are."""

    index: npt.NDArray[np.int64]
    """(n, W)."""
    line: Array
    """(n, W) weights of a local straight line."""
    bell: Array
    """(n, W) weights of the Gaussian, all positive."""

    def mean(self, values: Array) -> Array:
        """(n, D) to (n, D)."""
        averaged: Array = np.einsum("nw,nwd->nd", self.line, values[self.index])
        return averaged


def _window(time: Array, sigma: float) -> _Window:
    count = np.searchsorted(time, time + REACH * sigma) - np.arange(len(time))
    half = max(int(count.max()), 1)
    index = np.arange(len(time))[:, None] + np.arange(-half, half + 1)
    inside = (index >= 0) & (index < len(time))
    index = np.clip(index, 0, len(time) - 1)
    # towards the ends of a piece the bell gets narrower, not lopsided: it would cut off how a motion begins
    near = np.minimum(sigma, np.minimum(time - time[0], time[-1] - time) / REACH)
    apart = (time[index] - time[:, None]) / np.maximum(near, 1e-6)[:, None]
    bell = np.where(inside & (np.abs(apart) <= REACH), np.exp(-0.5 * apart**2), 0.0)
    bell /= bell.sum(1, keepdims=True)
    # between uneven times a mean would be off the way of somebody who walks; a straight line is not
    first, second = (bell * apart).sum(1, keepdims=True), (bell * apart**2).sum(1, keepdims=True)
    spread = second - first**2
    line = np.where(spread > 1e-9, bell * (second - first * apart) / np.maximum(spread, 1e-9), bell)
    return _Window(index, line, bell)


def _mean_turn(window: _Window, quaternions: Array) -> Array:
    """(n, J, 4) unit quaternions to (n, J, 4): their mean in each window."""
    mean = np.empty_like(quaternions)
    for joint in range(quaternions.shape[1]):
        near = quaternions[window.index, joint]
        sign = np.where(np.einsum("nwq,nq->nw", near, quaternions[:, joint]) < 0, -1.0, 1.0)
        mean[:, joint] = np.einsum("nw,nwq->nq", window.line * sign, near)
    unit: Array = mean / np.linalg.norm(mean, axis=-1, keepdims=True)
    return unit


def _kept(window: _Window, lost: Array, limit: float) -> Array:
    """(n, J) share of the raw motion that is kept, from what smoothing takes away from it (n, J)."""
    power = np.einsum("nw,nwj->nj", window.bell, np.square(lost)[window.index])
    share: Array = power / (power + limit**2)
    return share


def _one_euro(time: Array, rotation: Array, place: Array) -> tuple[Array, Array]:
    """Smooth rotations (n, J, 3, 3) and places (n, 3) with what came before them."""
    raw = Rotation.from_matrix(rotation.reshape(-1, 3, 3)).as_quat().reshape(*rotation.shape[:2], 4)
    turns, places = raw.copy(), place.copy()
    # angular speeds along the axes of the joint, and speeds, of the raw motion
    passed = np.diff(time)[:, None]
    spin = _turns(raw[:-1], raw[1:]) / passed[..., None]
    speed = np.diff(place, axis=0) / passed
    for piece in pieces(time, LONGEST_GAP):
        spinning, moving = np.zeros(spin.shape[1:]), np.zeros(3)
        for k in range(piece.start, piece.stop - 1):
            dt = float(passed[k, 0])
            eased = _share(DERIVATIVE, dt)
            spinning = spinning + eased * (spin[k] - spinning)
            moving = moving + eased * (speed[k] - moving)
            fast = _share(CUTOFF + TURN_GAIN * np.linalg.norm(spinning, axis=-1), dt)
            turns[k + 1] = slerp(turns[k], raw[k + 1], fast)
            fast = _share(CUTOFF + SHIFT_GAIN * np.linalg.norm(moving), dt)
            places[k + 1] = places[k] + fast * (place[k + 1] - places[k])
    return Rotation.from_quat(turns.reshape(-1, 4)).as_matrix().reshape(rotation.shape), places


def _turns(first: Array, second: Array) -> Array:
    """Rotation vectors (..., 3) from unit quaternions `first` (..., 4) to `second`, in the axes of `first`."""
    turn = Rotation.from_quat(first.reshape(-1, 4)).inv() * Rotation.from_quat(second.reshape(-1, 4))
    return np.asarray(turn.as_rotvec()).reshape(*first.shape[:-1], 3)


def _share(cutoff: npt.ArrayLike, passed: float) -> Array:
    """How much of a difference a low-pass filter takes over: 1 / (1 + 1 / (2 pi cutoff dt))."""
    return np.asarray(1 / (1 + 1 / (2 * np.pi * np.asarray(cutoff, np.float64) * passed)))


def fill_gaps(result: Result, longest: float = LONGEST_FILLED) -> Result:
    """The result with rows, marked PREDICTED, where somebody was away for at most `longest` s.

    They lie between the rows before and after, straight and evenly in the world. Rows that were predicted inside such
    a gap are made anew: they were extrapolated without knowing the end.
    """
    known = np.flatnonzero(result.state != PREDICTED)
    first, last = known[:-1], known[1:]
    begin, end = result.row_frame[first], result.row_frame[last]
    gap = (result.row_person[first] == result.row_person[last]) & (end - begin > 1)
    gap &= result.time[end] - result.time[begin] <= longest
    if not gap.any():
        return result
    away = end[gap] - begin[gap] - 1
    frame = np.concatenate([np.arange(a + 1, b) for a, b in zip(begin[gap], end[gap])])
    first, last = np.repeat(first[gap], away), np.repeat(last[gap], away)
    begins, ends = (result.time[result.row_frame[rows]] for rows in (first, last))
    filled = made_between(
        result,
        result,
        frame=frame,
        first=first,
        last=last,
        share=(result.time[frame] - begins) / (ends - begins),
        state=np.full(len(frame), PREDICTED),
    )
    filled = replace(
        filled, score=np.zeros_like(filled.score), world_residual=np.full_like(filled.world_residual, np.nan)
    )
    taken = np.isin(_place(result), _place(filled))
    return joined(chosen(result, np.flatnonzero(~taken)), filled)


def _place(result: Result) -> npt.NDArray[np.int64]:
    """(N,) a number for each pair of person and frame."""
    return result.row_person.astype(np.int64) * len(result.time) + result.row_frame
