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
"""What a body's parameters say: where it faces, how its limbs stand, which shape it has, where it is."""
Origin = Literal["model", "hips"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BodyParams:
    """What the SMPL file format means: vertices = LBS(pose, betas) + translation, in the world frame, metres."""

    gender: Gender
    """Which of the three models the parameters belong to."""
    pose: npt.NDArray[np.float64]
    """(T, 24, 3) axis-angle, radians; joint 0 is the root orientation in the world."""
    betas: npt.NDArray[np.float64]
    """(T, 10) shape coefficients of the model of `gender`."""
    translation: npt.NDArray[np.float64] | None
    """(T, 3) metres, added to the posed vertices (so the pelvis joint stands at J0 + translation). None where the
    release says where the body's joints stand, but not this: `completion` finds it, with the body models."""
    origin: Origin = "model"
    """`hips`: `translation` is where the middle of the regressed hips stands instead. What that is in terms of the file
    format takes a body model: `completion` adds it, and shards hold nothing else."""
    known: frozenset[BodyPart] = frozenset(get_args(BodyPart))
    """The parts that the annotation knows; the numbers of the others mean nothing and should be zero."""

    @property
    def whole(self) -> bool:
        """Whether the body can be posed and stood in the world."""
        return self.known == frozenset(get_args(BodyPart))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Completed:
    """What body models add to a person's annotation."""

    joints3d: npt.NDArray[np.float64] | None
    """(T, 44, 4) metres of the world frame, confidence; None without a body model."""
    betas_neutral: npt.NDArray[np.float64] | None
    """(T, 10) coefficients of the neutral model; None without body models."""
    translation: npt.NDArray[np.float64] | None = None
    """(T, 3) the body's translation in terms of the file format; None without a body model."""


NOTHING_ADDED = Completed(joints3d=None, betas_neutral=None)
