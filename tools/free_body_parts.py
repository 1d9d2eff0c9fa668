"""Landmarks, clothing labels and the coarse surface of the free body. Frame: metres, Y up, facing +Z, left at +X."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from decimate import HalfMesh

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Labels = npt.NDArray[np.uint8]

NOSE = 332
# left id, right id (docs/reference/assets.md#extra-vertex-joints)
PAIRS = {
    "eye": (2800, 6260), "ear": (583, 4071), "big toe": (3216, 6617), "small toe": (3226, 6624), "heel": (3387, 6787),
    "thumb": (2746, 6191), "index": (2319, 5782), "middle": (2445, 5905), "ring": (2556, 6016), "pinky": (2673, 6133),
}  # fmt: skip
SKIN, HAIR, TOP, LEG, FOOT, HAND = 0, 1, 2, 4, 6, 8  # left halves; the right one is the next number
COARSE_FACES = 2000


def find_landmarks(points: Floats, bone: Callable[[str], Floats]) -> dict[str, int]:
    """Source vertex of the nose and of the left one of every pair; `bone(name)` is the place of a bone's head."""

    def most(direction: Floats, where: npt.NDArray[np.bool_]) -> int:
        candidates = np.flatnonzero(where)
        return int(candidates[np.argmax(points[candidates] @ direction)])

    x, y, _ = points.T
    left, _, ahead = np.eye(3)
    eye, toe, little, ankle = bone("eye.L"), bone("toe1-2.L"), bone("toe5-2.L"), bone("foot.L")
    foot = (y < ankle[1] - 0.03) & (x > 0)
    marks = {
        "nose": most(ahead, (np.abs(x) < 1e-6) & (y > bone("neck01")[1])),
        "eye": most(ahead, np.hypot(x - eye[0], y - eye[1]) < 0.012),
        "ear": most(left, y > bone("head")[1] - 0.02),
        "big toe": most(ahead, foot & (np.abs(x - toe[0]) < 0.012)),
        "small toe": most(ahead, foot & (np.abs(x - little[0]) < 0.006)),
        "heel": most(-ahead, foot),
    }
    for number, name in enumerate(("thumb", "index", "middle", "ring", "pinky"), start=1):
        last = bone(f"finger{number}-3.L")
        marks[name] = most(last - bone(f"finger{number}-2.L"), np.linalg.norm(points - last, axis=1) < 0.035)
    return marks


def landmark_order(chosen: Ints, marks: dict[str, int], mirror: Ints) -> Ints:
    """Order of the chosen source vertices in which every landmark has its number: `chosen[order]`."""
    places = {NOSE: marks["nose"]}
    for name, (left, right) in PAIRS.items():
        places |= {left: marks[name], right: int(mirror[marks[name]])}
    order = np.arange(len(chosen))
    for number, vertex in places.items():
        now = int(np.flatnonzero(chosen[order] == vertex)[0])
        order[[number, now]] = order[[now, number]]
    return order


def label(points: Floats, joints: Floats) -> Labels:
    """Part of each point (n,) of the T-posed neutral body with `joints` (24, 3)."""
    x, y, z = points.T
    right = (x < 0).astype(np.uint8)
    head, pelvis, ankle = joints[15], joints[0], joints[7]
    result: Labels = TOP + right
    result[y < pelvis[1] + 0.07] = (LEG + right)[y < pelvis[1] + 0.07]
    result[y < ankle[1] + 0.03] = (FOOT + right)[y < ankle[1] + 0.03]
    hand = np.abs(x) > joints[20, 0] + 0.01
    result[hand] = (HAND + right)[hand]
    result[y > joints[12, 1] + 0.01 - 0.35 * (z - joints[12, 2])] = SKIN  # a neckline that is lower in front
    result[(y - head[1] > 0.85 * (z - head[2]) + 0.035) & (y > head[1] - 0.04)] = HAIR
    return result


def body_points(points: Floats, joints: Floats) -> dict[str, int]:
    """Vertices that the extra regressors use besides the joints."""
    x, y, _ = points.T
    hip = np.flatnonzero(np.abs(y - joints[1, 1]) < 0.015)
    seam = np.flatnonzero(np.abs(x) < 1e-6)
    return {
        "nose": NOSE,
        "head_top": int(seam[np.argmax(y[seam])]),
        "left_hip_side": int(hip[np.argmax(x[hip])]),
    }


def coarse_faces(points: Floats, faces: Ints, mirror: Ints) -> Ints:
    """A closed symmetric surface of 2000 faces over a subset of the vertices."""
    left = points[faces].mean(axis=1)[:, 0] > 0
    half = HalfMesh(points, faces[left], set()).thin(COARSE_FACES // 2)
    return np.concatenate([half, mirror[half[:, ::-1]]])
