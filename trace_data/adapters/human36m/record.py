"""Builds the record of a Human3.6M clip for all layouts: one person and one static camera."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from trace_data.adapters.base import SequenceRef
from trace_data.adapters.human36m.calibration import CalibratedView
from trace_data.adapters.human36m.facts import SPEC, provenance
from trace_data.schema.body import BodyParams
from trace_data.schema.camera import Camera
from trace_data.schema.frame import Frame
from trace_data.schema.keypoints import Keypoints
from trace_data.schema.record import Person, SequenceRecord


def record_of(
    ref: SequenceRef,
    folder: Path,
    subject: int,
    *,
    layout: str,
    frames: Sequence[Frame],
    frame_ids: npt.NDArray[np.int64],
    fps: float,
    size: tuple[int, int],
    view: CalibratedView,
    keypoints2d: Keypoints | None,
    joints3d: Keypoints | None,
    body: BodyParams | None,
    body_valid: npt.NDArray[np.bool_],
    remarks: tuple[str, ...] = (),
) -> SequenceRecord:
    """The record of T frames; `size` is width and height, px, joints are (T, J), those in 3D in metres of the world."""
    everyone = np.ones(len(frame_ids), bool)
    return SequenceRecord(
        dataset=SPEC.name,
        split=ref.split,
        name=ref.name,
        frames=tuple(frames),
        frame_ids=frame_ids,
        fps=fps,
        camera=Camera(
            width=size[0],
            height=size[1],
            intrinsics=view.intrinsics[None],
            camera_from_world=None if view.camera_from_world is None else view.camera_from_world[None],
            moving=False,
            distortion=view.distortion,
        ),
        people=(
            Person(
                name=f"S{subject}",
                gender="neutral",
                present=everyone,
                keypoints2d=keypoints2d,
                joints3d=joints3d,
                body=body,
                body_valid=body_valid,
            ),
        ),
        everyone_annotated=everyone,
        world_valid=True,
        world_reason="the camera stands still",
        remarks=remarks,
        provenance=provenance(folder, layout, view.how),
    )
