"""Body-model parameters of one person over a sequence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

Gender = Literal["neutral", "female", "male"]
GENDERS: tuple[Gender, ...] = get_args(Gender)
"""Of body models, in the order of the codes that shards store."""
BodyPart = Literal["root_rotation", "body_pose", "shape", "translation"]
"""The parts of a parameter set that an annotation may know separately."""
Origin = Literal["model", "hips", "turned"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BodyParams:
    """SMPL parameters, by the file format's convention: vertices = LBS(pose, betas) + translation, world, metres."""

    gender: Gender
    """Which of the three models the parameters belong to."""
    pose: npt.NDArray[np.float64]
    """(T, 24, 3) axis-angle, radians; joint 0 is the root orientation in the world."""
    betas: npt.NDArray[np.float64]
    """(T, 10) shape coefficients of the model of `gender`."""
    translation: npt.NDArray[np.float64] | None
    """(T, 3) metres, added to the posed vertices, so the pelvis joint stands at J0 + translation. None where the
    release gives joint positions but no translation: `assets.bodies` derives it with a body model."""
    origin: Origin = "model"
    """`hips`: `translation` is the position of the regressed hip midpoint. `turned`: the body was moved by x -> A x + c
    about the world's origin after it was posed, and `translation` is A t + c, from which (A - I) J0 is missing, J0 the
    pelvis of the shaped body at rest. Converting either takes a body model: `assets.bodies` does so, and shards hold
    the file format's convention only."""
    turned: npt.NDArray[np.float64] | None = None
    """(3, 3) the rotation A of the origin `turned`, with which `pose` has been multiplied already; None for others."""
    known: frozenset[BodyPart] = frozenset(get_args(BodyPart))
    """The annotated parts; the numbers of the others are meaningless and should be zero."""

    @property
    def whole(self) -> bool:
        """Whether every part is known, so that the body can be posed and placed in the world."""
        return self.known == frozenset(get_args(BodyPart))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Completed:
    """What a body model adds to a person's annotation."""

    joints3d: npt.NDArray[np.float64] | None
    """(T, 44, 4) metres of the world frame, confidence; None without a body model."""
    betas_neutral: npt.NDArray[np.float64] | None
    """(T, 10) coefficients of the neutral model; None without body models."""
    translation: npt.NDArray[np.float64] | None = None
    """(T, 3) translation by the file format's convention; None without a body model."""


NOTHING_ADDED = Completed(joints3d=None, betas_neutral=None)
