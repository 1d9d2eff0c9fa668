"""Chooses among DynaCam's world annotations of a sequence by their consistency.

A world is accepted if its roots, transformed by its extrinsics, match the roots of `poses`. Whether extrinsics are
camera from world, and which point `world_trans` refers to, is not documented: this is decided for each file from all
its sequences, by these roots and by the distance of the projected translation from the 2D hips.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from trace_data.adapters.dynacam.annotations import AnnotatedSequence, Annotations
from trace_data.errors import AnnotationError
from trace_data.geometry import matrix_from_axis_angle, project, transform
from trace_data.schema.body import Origin

Array = npt.NDArray[np.float64]

ROOTS_AGREE = 5.0
"""Tolerance, degrees (median), between a world root transformed to the camera and the root in `poses`."""
AT_HIPS = 0.1
"""Tolerance, m (median), between the 2D hips and a translation at the hip midpoint. SMPL's own translation is 0.15 to
0.3 m away from the hips; 2D hips differ from SMPL's by 0.03 to 0.05 m."""
TURNED = 0.5
"""Minimum difference of roots, degrees (mean over a file), to decide the direction of its extrinsics."""
BETTER = 0.02
"""Distance, m, by which inverted extrinsics must be closer to the hips to be preferred."""

NOT_RIGID = 1e-2


@dataclass(frozen=True, slots=True, kw_only=True)
class Conventions:
    """Conventions of a file's arrays."""

    inverted: bool
    """Whether extrinsics are world from camera."""
    metres: float
    """Median distance of projected translations from the 2D hips; NaN when no hips are seen."""

    @property
    def origin(self) -> Origin:
        """The point that translations refer to."""
        return "hips" if self.metres < AT_HIPS else "model"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class World:
    """One candidate world of a sequence with S people and T frames."""

    aligned: bool
    """Whether it comes from the `*_aligned` arrays."""
    inverted: bool
    """Whether the file's extrinsics were inverted."""
    camera_from_world: Array
    """(T, 4, 4)."""
    translation: Array
    """(S, T, 3) metres."""
    degrees: float
    """Median angle between the roots of `poses` and the world roots in the camera frame."""
    metres: float
    """Median distance of the projected translation from the 2D hips, at its depth; infinite behind the camera, NaN
    without visible hips."""

    @property
    def words(self) -> str:
        """Description of this world."""
        return f"{'aligned' if self.aligned else 'plain'} world" + (", extrinsics inverted" if self.inverted else "")


def choose_world(sequence: AnnotatedSequence, conventions: Conventions) -> World:
    """The first world with matching roots, preferring the aligned one; else the one with the best match.

    Raises AnnotationError if an array is missing or malformed.
    """
    worlds = [world for world in _readings(sequence) if world.inverted == conventions.inverted]
    return next((w for w in worlds if w.degrees <= ROOTS_AGREE), min(worlds, key=lambda world: world.degrees))


@lru_cache(maxsize=2)
def conventions_of(annotations: Annotations) -> Conventions:
    """Determine the conventions of a file from all its readable sequences."""
    readings: list[list[World]] = []
    for name in annotations.sequences:
        try:
            readings.append(list(_readings(annotations.sequence(name))))
        except AnnotationError:
            continue
    ways = [[world for worlds in readings for world in worlds if world.inverted == way] for way in (False, True)]
    degrees = [float(np.mean([world.degrees for world in way] or [0.0])) for way in ways]
    metres = [_median([world.metres for world in way]) for way in ways]
    if abs(degrees[0] - degrees[1]) > TURNED:
        inverted = degrees[1] < degrees[0]
    else:  # cameras that hardly rotate: decide by the hips
        inverted = metres[1] < metres[0] - BETTER
    return Conventions(inverted=inverted, metres=metres[inverted])


def _median(values: list[float]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return float(np.median(known)) if known else np.nan


def _readings(sequence: AnnotatedSequence) -> Iterator[World]:
    """Each world of the file with extrinsics as stored, then inverted."""
    camera_roots = matrix_from_axis_angle(sequence.people("poses", 24, 3, flat=True)[:, :, 0])
    intrinsics, hips = sequence.frames("camera_intrinsics", 3, 3), sequence.hips()
    for ending in ("_aligned", ""):
        keys = tuple(f"{key}{ending}" for key in ("camera_extrinsics", "world_grots", "world_trans"))
        if ending and not all(key in sequence for key in keys):
            continue
        world_roots = matrix_from_axis_angle(sequence.people(keys[1], 3))
        translation = sequence.people(keys[2], 3)
        extrinsics = _extrinsics(sequence, keys[0])
        for inverted in (False, True):
            camera = _inverse(extrinsics) if inverted else extrinsics
            yield World(
                aligned=bool(ending),
                inverted=inverted,
                camera_from_world=camera,
                translation=translation,
                degrees=_degrees(camera_roots, camera[:, :3, :3] @ world_roots),
                metres=_metres(intrinsics, transform(camera, translation[:, :, None])[:, :, 0], hips),
            )


def _extrinsics(sequence: AnnotatedSequence, key: str) -> Array:
    """(T, 4, 4) of matrices stored with three or four rows."""
    rows = sequence.frames(key, -1, 4)
    if rows.shape[1] not in (3, 4):
        raise sequence.wrong(key, f"has {rows.shape[1]} rows", "3 or 4")
    rotation = rows[:, :3, :3]
    drift = float(np.abs(rotation @ rotation.transpose(0, 2, 1) - np.eye(3)).max())
    if drift > NOT_RIGID or (np.linalg.det(rotation) < 0).any():
        raise sequence.wrong(key, f"has no rotations: R Rᵀ differs from the identity by {drift:.2g}", "rigid matrices")
    if rows.shape[1] == 4:
        return rows
    return np.concatenate([rows, np.broadcast_to([0.0, 0.0, 0.0, 1.0], (len(rows), 1, 4))], axis=1)


def _inverse(extrinsics: Array) -> Array:
    """Inverse of rigid transforms (T, 4, 4)."""
    inverse = extrinsics.copy()
    inverse[:, :3, :3] = extrinsics[:, :3, :3].transpose(0, 2, 1)
    inverse[:, :3, 3] = -np.einsum("tij,tj->ti", inverse[:, :3, :3], extrinsics[:, :3, 3])
    return inverse


def _degrees(one: Array, other: Array) -> float:
    """Median angle between rotations (..., 3, 3), from the chord length, which is exact for small angles."""
    chord = np.linalg.norm(one - other, axis=(-2, -1)) / np.sqrt(8)
    return float(np.degrees(np.median(2 * np.arcsin(np.minimum(chord, 1)))))


def _metres(intrinsics: Array, camera: Array, hips: Array) -> float:
    """Median distance of camera-frame points (S, T, 3) from the rays through px (S, T, 2), at their depth."""
    pixels = project(intrinsics, camera[:, :, None])[:, :, 0]
    focal = (intrinsics[:, 0, 0] + intrinsics[:, 1, 1]) / 2
    apart = np.linalg.norm(pixels - hips, axis=-1) * camera[..., 2] / focal
    apart[camera[..., 2] <= 0] = np.inf
    seen = np.isfinite(hips).all(axis=-1)
    return float(np.median(apart[seen])) if seen.any() else np.nan
