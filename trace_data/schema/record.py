"""The record of one sequence, which adapters produce and the shard writer consumes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from trace_data.schema.body import BodyParams, Gender
from trace_data.schema.camera import Camera
from trace_data.schema.frame import Frame
from trace_data.schema.keypoints import Keypoints

Split = Literal["train", "val", "test"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Person:
    """One person in a sequence of T frames. Missing supervision is None or False in a mask, never a filler value."""

    name: str
    """Identity: unique within the sequence, and the same wherever the release says it is the same person."""
    gender: Gender
    """Gender of the annotation's body model; neutral when unknown."""
    present: npt.NDArray[np.bool_]
    """(T,) whether the person has any annotation in the frame."""
    keypoints2d: Keypoints | None
    """(T, K, 3): x, y in px of the frame, confidence in 0..1 (0 = missing)."""
    joints3d: Keypoints | None
    """(T, K, 4): x, y, z in metres of the world frame, confidence in 0..1 (0 = missing)."""
    body: BodyParams | None
    """Body-model parameters in the world frame."""
    body_valid: npt.NDArray[np.bool_]
    """(T,) whether the known parts of `body` (`BodyParams.known`) can be trusted in the frame."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SequenceRecord:
    """One sequence. All people share the same T frames."""

    dataset: str
    """Canonical dataset name, e.g. `3dpw`."""
    split: Split
    """Official split, or its documented substitute."""
    name: str
    """Sequence name within dataset and split."""
    frames: tuple[Frame, ...]
    """T image files or frames of videos, in time order."""
    frame_ids: npt.NDArray[np.int64]
    """(T,) the release's own frame numbers, proportional to time."""
    fps: float
    """Frame ids per second."""
    camera: Camera
    """Intrinsics and motion."""
    people: tuple[Person, ...]
    """Annotated people."""
    everyone_annotated: npt.NDArray[np.bool_]
    """(T,) whether every visible person is annotated; otherwise centre maps cannot be supervised."""
    world_valid: bool
    """Whether world-frame motion may be supervised."""
    world_reason: str
    """Why `world_valid` is what it is, for reports."""
    world_up: tuple[float, float, float] | None = None
    """Unit vector against gravity in the world; None where the release does not say."""
    remarks: tuple[str, ...] = ()
    """Warnings of the adapter: the sequence can be used, but the user should know."""
    sides_agree: bool | None = None
    """Whether left and right fit what the release itself says of the side from which the person is seen; None where it
    says nothing. One sequence proves little: verification lets the majority of a dataset decide."""
    provenance: Mapping[str, str] = field(default_factory=dict)
    """Release, layout, adapter version and defects applied; `synthetic` = "true" for the sample world."""

    @property
    def key(self) -> str:
        """`dataset/split/name`, unique within a build."""
        return f"{self.dataset}/{self.split}/{self.name}"
