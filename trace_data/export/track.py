"""One person's motion as quaternions along time, and its samples at other times."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trace_data.results.result import Result

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Track:
    """R rows of one person in the order of frames."""

    time: Array
    """(R,) seconds since the first frame of the result."""
    frame: npt.NDArray[np.int32]
    """(R,) index of the frame."""
    rotation: Array
    """(R, 24, 4) unit quaternions x, y, z, w relative to the parent, with signs that make neighbours near."""
    translation: Array
    """(R, 3) m, world: vertices = LBS + translation."""

    def at(self, times: Array) -> tuple[Array, Array]:
        """Rotations (M, 24, 4) and translations (M, 3) at other times, on the shortest arc between the rows around.

        Before the first row and after the last one they stay as there.
        """
        after = np.clip(np.searchsorted(self.time, times), 1, max(len(self.time) - 1, 1))
        if len(self.time) == 1:
            return np.repeat(self.rotation, len(times), axis=0), np.repeat(self.translation, len(times), axis=0)
        start, end = self.time[after - 1], self.time[after]
        share = np.clip((times - start) / (end - start), 0, 1)[:, None]
        translation = (1 - share) * self.translation[after - 1] + share * self.translation[after]
        return slerp(self.rotation[after - 1], self.rotation[after], share[..., None]), translation


def track(result: Result, person: int) -> Track:
    """The motion of the person with index `person`, who has at least one row."""
    rows = result.rows_of(person)
    frame = result.row_frame[rows]
    return Track(
        time=result.time[frame] - result.time[0],
        frame=frame,
        rotation=continuous(quaternions(result.pose[rows])),
        translation=result.translation[rows].astype(np.float64),
    )


def quaternions(axis_angle: npt.NDArray[np.floating]) -> Array:
    """Unit quaternions (..., 4) x, y, z, w of rotations (..., 3), radians."""
    vector = np.asarray(axis_angle, np.float64)
    angle = np.linalg.norm(vector, axis=-1, keepdims=True)
    return np.concatenate([0.5 * np.sinc(angle / (2 * np.pi)) * vector, np.cos(angle / 2)], axis=-1)


def matrices(quaternion: Array) -> Array:
    """Rotation matrices (..., 3, 3) of unit quaternions (..., 4)."""
    x, y, z, w = np.moveaxis(quaternion, -1, 0)
    entries = [
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    return np.stack(entries, axis=-1).reshape(*quaternion.shape[:-1], 3, 3)


def axis_angles(quaternion: Array) -> Array:
    """Rotations (..., 3), radians up to pi, of unit quaternions (..., 4)."""
    upper = np.where(quaternion[..., 3:] < 0, -quaternion, quaternion)
    sine = np.linalg.norm(upper[..., :3], axis=-1, keepdims=True)
    angle = 2 * np.arctan2(sine, upper[..., 3:])
    factor = np.divide(angle, sine, out=np.full_like(sine, 2.0), where=sine > 1e-12)
    vectors: Array = upper[..., :3] * factor
    return vectors


def quaternions_of_matrices(matrix: Array) -> Array:
    """Unit quaternions (N, 4) x, y, z, w of rotation matrices (N, 3, 3), with signs that make neighbours near."""
    from trace_data.geometry import axis_angle_from_matrix

    return continuous(quaternions(axis_angle_from_matrix(matrix)))


def continuous(quaternion: Array) -> Array:
    """The same rotations (R, ..., 4) with signs that keep neighbours along the first axis near each other.

    Readers interpolate component by component: the opposite sign would turn the long way round.
    """
    same = np.einsum("r...c,r...c->r...", quaternion[1:], quaternion[:-1]) >= 0
    sign = np.cumprod(np.where(same, 1.0, -1.0), axis=0)
    return np.concatenate([quaternion[:1], quaternion[1:] * sign[..., None]])


def slerp(first: Array, second: Array, share: Array) -> Array:
    """Rotations (..., 4) at `share` of the arc from `first` to `second`, unit quaternions with near signs."""
    cosine = np.clip(np.sum(first * second, axis=-1, keepdims=True), -1, 1)
    angle = np.arccos(cosine)
    sine = np.sin(angle)
    near = sine < 1e-6
    safe = np.where(near, 1.0, sine)
    left = np.where(near, 1 - share, np.sin((1 - share) * angle) / safe)
    mixed = left * first + np.where(near, share, np.sin(share * angle) / safe) * second
    unit: Array = mixed / np.linalg.norm(mixed, axis=-1, keepdims=True)
    return unit


def absences(result: Result, person: int) -> list[tuple[float, float]]:
    """Seconds from and to which a person has no rows between the first frame of the result and the last one."""
    present = presence(result, person)
    time = result.time - result.time[0]
    edges = np.flatnonzero(np.diff(present.astype(np.int8), prepend=1, append=1))
    return [(float(time[a]), float(time[min(b, len(time) - 1)])) for a, b in zip(edges[::2], edges[1::2])]


def presence_at(result: Result, person: int, times: Array) -> npt.NDArray[np.bool_]:
    """(M,) whether the person is there at these seconds since the first frame."""
    present = np.ones(len(times), dtype=bool)
    for start, end in absences(result, person):
        present &= (times < start) | (times >= end)
    if not presence(result, person)[-1]:
        present[times >= result.time[-1] - result.time[0]] = False
    return present


def presence(result: Result, person: int) -> npt.NDArray[np.bool_]:
    """(T,) whether the person has a row in the frame."""
    present = np.zeros(len(result.time), dtype=bool)
    present[result.row_frame[result.rows_of(person)]] = True
    return present
