"""What body models add to annotations: all 44 joints, and the shape in terms of the neutral model."""

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


class Bodies:
    """The prepared body models of a folder, each loaded when it is first needed."""

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
        """SHA-256 of each pack, so that shards can say what they were made with."""
        return {name: sha256_of(self.packs / name) for name in PACK_FILES.values()}

    def posed(self, body: BodyParams) -> npt.NDArray[np.float64]:
        """(T, 44, 3) joints of the body before it is moved to where it stands."""
        return self.model(body.gender).joints44(body.pose, body.betas)

    def place(
        self, body: BodyParams, annotated: Keypoints | None = None
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]] | None:
        """44 world joints (T, 44, 3) and the translation (T, 3) that the file format means, whatever the origin.

        None for a body that is not wholly known, or that only its `annotated` joints could place and they do not.
        """
        if not body.whole:
            return None
        joints, translation = self.posed(body), body.translation
        if translation is None:
            translation = _found(joints, annotated)
            if translation is None:
                return None
        elif body.origin == "hips":
            translation = translation - hip_midpoint(joints)
        return joints + translation[:, None], translation

    def complete(self, record: SequenceRecord) -> Mapping[str, Completed]:
        """For each person with a body: 44 world joints and neutral betas, as far as the body is known."""
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


def _found(joints: npt.NDArray[np.float64], annotated: Keypoints | None) -> npt.NDArray[np.float64] | None:
    """(T, 3) by how much joints (T, 44, 3) of a body at the origin must be moved to meet its annotated ones.

    Only joints that were computed from the body itself tell: all 44 of them. None without them.
    """
    if annotated is None or annotated.layout != "ALL_44":
        return None
    known = annotated.points[..., 3:] > 0
    apart = np.where(known, annotated.points[..., :3] - joints, 0.0)
    moved: npt.NDArray[np.float64] = apart.sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    return moved


@lru_cache(maxsize=1)
def load_bodies(packs: Path) -> Bodies:
    """The body models of a folder, loaded once a process. Raises AssetError."""
    return Bodies(packs)
