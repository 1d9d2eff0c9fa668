"""Check that the arrays of a pack form a body: surface, weights, sides, and how it poses.

Source: docs/reference/assets.md#properties-of-a-valid-pack.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from trace_data.assets.body_model import BodyModel
from trace_data.assets.example_poses import EXAMPLE_POSES
from trace_data.assets.pack_files import EXTRA_JOINTS, KID_DIRECTIONS, Arrays, content_problems, layout_problems
from trace_data.assets.raw_body import BETAS, INFANT_HEIGHT, KID_HEIGHTS, LONGEST_EDGE, ROW_SUM_TOLERANCE, VERTICES
from trace_data.schema.findings import Finding, Severity
from trace_data.schema.keypoints import ALL_44, LSP_14

WEIGHT_TOLERANCE = 1e-4
LARGE_BETA = 3.0
"""Larger betas are rare: one body in a few hundred."""
H36M_REACH = 0.15
"""Largest distance, as a share of body height, between joints of the same name from the two regressors."""
UPWARDS = (("Pelvis",), ("Spine_H36M",), ("Thorax_MPII", "Neck_LSP"), ("Jaw_H36M",), ("Head", "Head_top"))
"""Points of `J_regressor_extra9` on the middle line, from below."""
LOWER = 0.03
"""A point may be that much lower than one below it, as a share of body height."""
ADULT_HEIGHTS = (1.3, 2.2)
"""Plausible heights, metres; outside this range the unit or the model is wrong."""
INFANT_HEIGHTS = (0.3, INFANT_HEIGHT)
_LEFT_RIGHT = ((2, 1), (4, 3), (5, 8), (6, 9), (7, 10), (11, 16), (12, 17), (13, 18), (14, 19), (15, 20))
"""Positions of left and right vertices in `extra_joints_index`."""

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shown:
    """A body in the rest pose and in the example poses, for checks and pictures."""

    faces: npt.NDArray[np.int64]
    """(13776, 3)."""
    vertices: Array
    """(11, 6890, 3) metres, the rest pose first."""
    joints: Array
    """(44, 3) of the rest pose."""
    joints_h36m: Array
    """(17, 3) of the rest pose."""

    @property
    def height(self) -> float:
        """Height of the rest pose, metres."""
        return float(np.ptp(self.vertices[0, :, 1]))


def show(arrays: Arrays) -> Shown:
    """Pose the body of a pack with valid layout; a kid pack as the kid."""
    model = BodyModel(arrays)
    betas = np.zeros((1, BETAS + 1 if KID_DIRECTIONS[0] in arrays else BETAS))
    betas[0, BETAS:] = 1
    poses = np.stack([np.zeros((24, 3)), *EXAMPLE_POSES.values()])
    return Shown(
        faces=model.faces,
        vertices=model.vertices(poses, np.repeat(betas, len(poses), axis=0)),
        joints=model.joints44(poses[:1], betas)[0],
        joints_h36m=model.joints_h36m17(poses[:1], betas)[0],
    )


def can_be_shown(arrays: Arrays) -> bool:
    """Whether layout and vertex ids allow posing and drawing, even if the result is wrong."""
    if layout_problems(arrays) or not _is_finite(arrays):
        return False
    ids = [arrays["f"], arrays["extra_joints_index"]]
    return all(i.min() >= 0 and i.max() < VERTICES for i in ids) and _is_tree(arrays)


def check_arrays(arrays: Arrays, *, infant: bool) -> list[Finding]:
    """All problems of the arrays of one pack."""
    findings = [_finding("content", problem) for problem in content_problems(arrays)]
    if layout_problems(arrays) or not _is_finite(arrays):
        return findings
    findings += [*_surface(arrays), *_weights_and_regressors(arrays), *_shapes(arrays)]
    if not can_be_shown(arrays):
        return findings
    shown = show(arrays)
    return [*findings, *_sides(arrays, shown), *_poses(shown), *_size(arrays, shown, infant=infant)]


def _finding(key: str, what: str, severity: Severity = "error") -> Finding:
    return Finding(severity=severity, key=key, what=what)


def _is_finite(arrays: Arrays) -> bool:
    return all(np.isfinite(array).all() for array in arrays.values())


def _is_tree(arrays: Arrays) -> bool:
    parents = arrays["kintree_table"].tolist()
    return parents[0] == -1 and all(0 <= parent < child for child, parent in enumerate(parents[1:], start=1))


def _surface(arrays: Arrays) -> list[Finding]:
    """The mesh uses every vertex, is closed, and is consistently oriented outwards."""
    faces = arrays["f"].astype(np.int64)
    used = len(np.unique(faces))
    findings = [] if used == VERTICES else [_finding("f", f"uses {used:,} vertices, expected all {VERTICES:,}")]
    starts, ends = faces.reshape(-1), np.roll(faces, -1, axis=1).reshape(-1)
    there, back = np.sort(starts * VERTICES + ends), np.sort(ends * VERTICES + starts)
    if len(np.unique(there)) != len(there) or not np.array_equal(there, back):
        odd = len(there) - len(np.intersect1d(there, back))
        findings.append(_finding("f", f"is not a closed surface: {max(odd, 1):,} edges lack a second triangle"))
    if not findings:
        one, two, three = np.moveaxis(arrays["v_template"].astype(np.float64)[faces], 1, 0)
        if (one * np.cross(two, three)).sum() <= 0:  # six times the volume
            findings.append(_finding("f", "is inside out: its triangles are oriented inwards"))
    return findings


def _shapes(arrays: Arrays) -> list[Finding]:
    """Shape and pose directions have an effect, and no shape tears the mesh."""
    findings = [_finding(key, "holds only zeros") for key in ("shapedirs", "posedirs") if not arrays[key].any()]
    faces = arrays["f"].astype(np.int64)
    if faces.min() >= 0 and faces.max() < VERTICES:
        edges = arrays["shapedirs"][faces] - arrays["shapedirs"][np.roll(faces, 1, axis=1)]
        grown = LARGE_BETA * np.linalg.norm(edges, axis=2).max(axis=(0, 1))
        torn = [str(beta) for beta in np.flatnonzero(grown > LONGEST_EDGE * np.ptp(arrays["v_template"][:, 1]))]
        if torn:
            findings.append(_finding("shapedirs", f"tears the mesh for the betas {', '.join(torn)}"))
    return findings


def _weights_and_regressors(arrays: Arrays) -> list[Finding]:
    findings = []
    off = np.abs(arrays["weights"].sum(axis=1, dtype=np.float64) - 1).max()
    if off > WEIGHT_TOLERANCE:
        findings.append(_finding("weights", f"sum to one only within {off:.1g}, expected {WEIGHT_TOLERANCE:g}"))
    for key in ("J_regressor_extra9", "J_regressor_h36m17"):
        rows = int((np.abs(arrays[key].sum(axis=1, dtype=np.float64) - 1) > ROW_SUM_TOLERANCE).sum())
        if rows:
            findings.append(_finding(key, f"has {rows} rows that do not sum to one", "warning"))
    ids = arrays["extra_joints_index"].tolist()
    if tuple(ids) != EXTRA_JOINTS[: len(ids)]:
        findings.append(_finding("extra_joints_index", "names other vertices than nose, eyes, ears and feet"))
    return findings


def _sides(arrays: Arrays, shown: Shown) -> list[Finding]:
    """Left is at positive x, right at negative; the head is above the feet."""
    findings, middle = [], shown.joints[0, 0]
    places = shown.vertices[0, arrays["extra_joints_index"], 0] - middle
    pairs = [(left, right) for left, right in _LEFT_RIGHT if max(left, right) < len(places)]
    wrong = sum(not places[left] > 0 > places[right] for left, right in pairs)
    named = dict(zip(ALL_44, shown.joints))
    sides = [name[2:] for name in ALL_44 if name.startswith("L_")]
    exchanged = [side for side in sides if not named[f"L_{side}"][0] > middle > named[f"R_{side}"][0]]
    if wrong or exchanged:
        what = f"left and right are exchanged: {wrong} of {len(pairs)} vertex pairs"
        what += f", joints {', '.join(exchanged)}" if exchanged else ""
        only_hips = not wrong and exchanged == ["Hip"]  # of all pairs, only that of the extra regressor
        findings.append(_finding("J_regressor_extra9" if only_hips else "sides", what))
    else:
        findings += _h36m(shown, named)
    if not named["Head_top"][1] > named["Pelvis_SMPL"][1] > max(named["L_Ankle"][1], named["R_Ankle"][1]):
        findings.append(_finding("sides", "does not stand upright along y"))
    else:
        findings += _upwards(shown, named)
    return findings


def _upwards(shown: Shown, named: Mapping[str, Array]) -> list[Finding]:
    """The regressed points of the middle line lie above each other in the order of their names."""
    odd = [
        f"{above} below {below}"
        for lower, upper in pairwise(UPWARDS)
        for below in lower
        for above in upper
        if named[above][1] < named[below][1] - LOWER * shown.height
    ]
    what = f"has {', '.join(odd)}: are its rows in the order of the file?"
    return [_finding("J_regressor_extra9", what)] if odd else []


def _h36m(shown: Shown, named: Mapping[str, Array]) -> list[Finding]:
    """The limbs of the H36M regressor agree with the other joints."""
    limbs = LSP_14[:-2]  # their necks and heads differ more
    ours, theirs = shown.joints_h36m[: len(limbs)], np.array([named[limb] for limb in limbs])
    middle = named["Pelvis_SMPL"][0]
    far = np.linalg.norm(ours - theirs, axis=1) > H36M_REACH * shown.height
    turned = (ours[:, 0] - middle) * (theirs[:, 0] - middle) < 0
    odd = [limb for limb, wrong in zip(limbs, far | turned) if wrong]
    what = f"disagrees with the joints of the same name about {', '.join(odd)}: are its rows in the order of the file?"
    return [_finding("J_regressor_h36m17", what)] if odd else []


def _poses(shown: Shown) -> list[Finding]:
    """No pose tears the mesh."""
    edges = np.concatenate([shown.faces[:, [0, 1]], shown.faces[:, [1, 2]], shown.faces[:, [2, 0]]])
    lengths = np.linalg.norm(shown.vertices[:, edges[:, 0]] - shown.vertices[:, edges[:, 1]], axis=2) / shown.height
    findings = []
    if (long := int((lengths[0] > LONGEST_EDGE).sum())) > 0:
        findings.append(_finding("v_template", f"has {long:,} triangle edges longer than a tenth of the body"))
    grown = (lengths[1:] - lengths[0] > LONGEST_EDGE).sum(axis=1)
    torn = [f"{name} ({count:,} edges)" for name, count in zip(EXAMPLE_POSES, grown.tolist()) if count]
    if torn:
        findings.append(_finding("posed", f"tears the mesh in the poses {', '.join(torn)}"))
    return findings


def _size(arrays: Arrays, shown: Shown, *, infant: bool) -> list[Finding]:
    findings = []
    template = arrays["v_template"].astype(np.float64)
    key, _ = KID_DIRECTIONS
    height = float(np.ptp(template[:, 1]))
    lowest, highest = INFANT_HEIGHTS if infant else ADULT_HEIGHTS
    if not lowest < height < highest:
        kind = "an infant" if infant else "an adult"
        findings.append(_finding("v_template", f"is {height:.2f} m high, expected {kind} of {lowest} to {highest} m"))
    if key in arrays:
        offset = np.abs((arrays[key][..., BETAS] + template).mean(axis=0)).max()
        if offset > 1e-4:
            findings.append(_finding(key, f"leads to a kid {1000 * offset:.1f} mm off its centre, expected none"))
        if not shown.height < KID_HEIGHTS[1] * height:
            findings.append(_finding(key, f"leads to a kid of {shown.height:.2f} m, not smaller than the adult"))
    return findings
