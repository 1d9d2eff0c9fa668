"""BVH: one person's skeleton and motion. Y up, right-handed, centimetres, a constant rate.

Source: docs/reference/export.md#bvh. The result must have its Y axis up. Zero channels are SMPL's T-pose; the root's
channels are the pelvis in the world. The channels of rotation are Z, X, Y: R = Rz Rx Ry.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from trace_data.export.rate import Clock
from trace_data.export.skeleton import CHILDREN, NAMES, depth_first, rest_joints
from trace_data.export.track import matrices, track
from trace_data.results.result import Result

Array = npt.NDArray[np.float64]

CENTIMETRES = 100.0
ENDS = {
    10: (0.0, 0.0, 8.0), 11: (0.0, 0.0, 8.0), 15: (0.0, 20.0, 0.0), 22: (8.0, 0.0, 0.0), 23: (-8.0, 0.0, 0.0),
}  # fmt: skip
"""End sites in cm: toes forward, head up, hands outward. Ends of no length would make bones of no length."""


def bvh_text(result: Result, person: int, clock: Clock, *, names: str = "smpl", order: str = "ZXY") -> str:
    """The BVH of the person with index `person`, who has at least one row.

    It covers the whole result, so that people stay in step; where the person is absent, the motion between the rows
    around is interpolated. `names`: key into `skeleton.NAMES`. `order` of the rotation channels: other programs write
    others, but every parser takes "ZXY".
    """
    rest = rest_joints(result, person)
    rotation, translation = track(result, person).at(clock.time)
    channels = np.concatenate(
        [
            (translation + rest[0]) * CENTIMETRES,
            np.degrees(euler_angles(rotation, order))[:, depth_first()].reshape(-1, 72),
        ],
        axis=1,
    )
    line = " ".join(["%.6f"] * channels.shape[1])
    motion = "\n".join([line] * len(channels)) % tuple(channels.reshape(-1).tolist())
    hierarchy = "\n".join(_joint(0, 0, rest, NAMES[names], " ".join(f"{axis}rotation" for axis in order)))
    # nine digits: at 29.97 frames a second, eight would be 1 ms off after an hour
    head = f"MOTION\nFrames: {clock.frames}\nFrame Time: {1 / clock.fps:.9f}\n"
    return f"HIERARCHY\n{hierarchy}\n{head}{motion}\n"


def euler_angles(quaternion: Array, order: str) -> Array:
    """(M, J, 3) angles a, b, c, radians, of rotations (M, J, 4), continuous along the first axis.

    `order`: three different axes; "ZXY" means R = Rz(a) Rx(b) Ry(c). Of the two solutions (a, b, c) and
    (a + pi, pi - b, c + pi), each frame takes the one nearer to the frame before.
    """
    r = matrices(quaternion)
    i, j, k = ("XYZ".index(axis) for axis in order)
    sign = 1 if (j - i) % 3 == 1 else -1
    first = np.arctan2(-sign * r[..., j, k], r[..., k, k])
    middle = np.arcsin(np.clip(sign * r[..., i, k], -1, 1))
    # from the row that the middle rotation leaves alone: it is exact at the singularity too, whatever `first` is
    row = np.cos(first)[..., None] * r[..., j, :] + sign * np.sin(first)[..., None] * r[..., k, :]
    last = np.arctan2(sign * row[..., i], row[..., j])
    one = np.stack([first, middle, last], axis=-1)
    other = np.stack([first + np.pi, np.pi - middle, last + np.pi], axis=-1)
    # a change of solution is as far from either one, so the nearer choices are a running parity
    stay, change = _distance(one[1:], one[:-1]), _distance(other[1:], one[:-1])
    chosen = one.copy()
    swapped = np.cumsum(change < stay, axis=0) % 2 == 1
    chosen[1:] = np.where(swapped[..., None], other[1:], one[1:])
    unwrapped: Array = np.unwrap(chosen, axis=0)
    return unwrapped


def _distance(first: Array, second: Array) -> Array:
    """Sum of the absolute differences of angles (..., 3), each up to whole turns."""
    apart = np.abs(np.remainder(first - second + np.pi, 2 * np.pi) - np.pi)
    total: Array = apart.sum(axis=-1)
    return total


def _joint(joint: int, depth: int, rest: Array, names: tuple[str, ...], rotations: str) -> list[str]:
    """Lines of a joint and everything below it."""
    indent = "  " * depth
    if joint:
        parent = next(p for p, children in enumerate(CHILDREN) if joint in children)
        head, offset, places = "JOINT", (rest[joint] - rest[parent]) * CENTIMETRES, ""
    else:
        head, offset, places = "ROOT", np.zeros(3), "Xposition Yposition Zposition "
    lines = [
        f"{indent}{head} {names[joint]}",
        f"{indent}{{",
        f"{indent}  OFFSET {_point(offset)}",
        f"{indent}  CHANNELS {6 if places else 3} {places}{rotations}",
    ]
    for child in CHILDREN[joint]:
        lines += _joint(child, depth + 1, rest, names, rotations)
    if joint in ENDS:
        lines += [
            f"{indent}  End Site",
            f"{indent}  {{",
            f"{indent}    OFFSET {_point(np.array(ENDS[joint]))}",
            f"{indent}  }}",
        ]
    return [*lines, f"{indent}}}"]


def _point(offset: Array) -> str:
    return " ".join(f"{value:.6f}" for value in offset)
