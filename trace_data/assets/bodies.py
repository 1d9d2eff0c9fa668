"""Complete annotations with body models: all 44 joints, world translation, and neutral betas."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from trace_data.assets.body_model import BodyModel, hip_midpoint, neutral_betas
from trace_data.errors import AssetError
from trace_data.files import sha256_of
from trace_data.schema.body import GENDERS, NOTHING_ADDED, BodyParams, Completed, Gender
from trace_data.schema.keypoints import Keypoints
from trace_data.schema.record import Person, SequenceRecord

PACK_FILES: dict[Gender, str] = {gender: f"SMPL_{gender.upper()}.pth" for gender in GENDERS}


class BodyModels:
    """The body models of a folder of packs, loaded on first use."""

    def __init__(self, packs: Path) -> None:
        """Raises AssetError when a pack is missing."""
        self.packs = packs
        self._models: dict[Gender, BodyModel] = {}
        missing = [name for name in PACK_FILES.values() if not (packs / name).is_file()]
        if missing:
            raise AssetError(
                f"{', '.join(missing)} missing", where=packs, hint="trace prepare-smpl --gender all --source DIR"
            )

    def model(self, gender: Gender) -> BodyModel:
        """The model of a gender. Raises AssetError."""
        if gender not in self._models:
            self._models[gender] = BodyModel.load(self.packs / PACK_FILES[gender])
        return self._models[gender]

    def identity(self) -> dict[str, str]:
        """SHA-256 of each pack, recorded in shards."""
        return {name: sha256_of(self.packs / name) for name in PACK_FILES.values()}

    def posed(self, body: BodyParams) -> npt.NDArray[np.float64]:
        """(T, 44, 3) joints of the body without its translation."""
        return self.model(body.gender).joints44(body.pose, body.betas)

    def place(
        self, body: BodyParams, annotated: Keypoints | None = None
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]] | None:
        """World joints (T, 44, 3) and translation (T, 3) by the file format's convention, for any origin.

        None when parts of the body are unknown, or when it has no translation and `annotated` does not determine one.
        """
        if not body.whole:
            return None
        joints, translation = self.posed(body), body.translation
        if translation is None:
            translation = _shift_to_annotated(joints, annotated)
            if translation is None:
                return None
        elif body.origin == "hips":
            translation = translation - hip_midpoint(joints)
        elif body.turned is not None:  # a body turns about its pelvis, which no pose moves
            translation = translation + joints[:, 0] @ (body.turned - np.eye(3)).T
        return joints + translation[:, None], translation

    def complete(self, record: SequenceRecord) -> Mapping[str, Completed]:
        """World joints and neutral betas of each person with a body, as far as the body is known."""
        return {person.name: self._complete(person) for person in record.people}

    def _complete(self, person: Person) -> Completed:
        body = person.body
        if body is None or not person.body_valid.any():
            return NOTHING_ADDED
        placed = self.place(body, person.joints3d)
        joints = None if placed is None else np.concatenate([placed[0], np.ones((*placed[0].shape[:2], 1))], axis=2)
        translation = None if placed is None else placed[1]
        if "shape" not in body.known:
            return Completed(joints3d=joints, betas_neutral=None, translation=translation)
        shapes, which = np.unique(body.betas, axis=0, return_inverse=True)
        neutral = shapes
        if body.gender != "neutral":
            neutral = neutral_betas(self.model(body.gender), self.model("neutral"), shapes)
        return Completed(joints3d=joints, betas_neutral=neutral[which.reshape(-1)], translation=translation)


def _shift_to_annotated(joints: npt.NDArray[np.float64], annotated: Keypoints | None) -> npt.NDArray[np.float64] | None:
    """(T, 3) translation that moves the joints (T, 44, 3) of a body at the origin to its annotated joints.

    Only all 44 joints, computed from the body itself, determine it. None otherwise.
    """
    if annotated is None or annotated.layout != "ALL_44":
        return None
    known = annotated.points[..., 3:] > 0
    apart = np.where(known, annotated.points[..., :3] - joints, 0.0)
    moved: npt.NDArray[np.float64] = apart.sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    return moved


@lru_cache(maxsize=1)
def load_bodies(packs: Path) -> BodyModels:
    """The body models of a folder, cached per process. Raises AssetError."""
    return BodyModels(packs)
