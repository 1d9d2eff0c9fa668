"""Builds the record of an MPI-INF-3DHP sequence for all layouts, from 2D points and joints in camera axes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from trace_data.adapters.base import SequenceRef
from trace_data.adapters.mpi_inf_3dhp.facts import ADAPTER, SPEC, wrong
from trace_data.geometry import transform
from trace_data.schema.body import BodyParams
from trace_data.schema.camera import Camera
from trace_data.schema.frame import Frame
from trace_data.schema.keypoints import Keypoints
from trace_data.schema.record import Person, SequenceRecord

Array = npt.NDArray[np.float64]

CAMERAS_AGREE = 0.05
"""Maximum disagreement of two cameras about the same joints, m, for supervising the world."""
CAMERAS_OF_ONE_ROOM = 0.25
"""Disagreement, m, beyond which the calibration belongs to another recording."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CameraSequence:
    """One camera's sequence of T frames, independent of the layout."""

    person: str
    frames: tuple[Frame, ...]
    frame_ids: list[int]
    fps: float
    size: tuple[int, int]
    """Width and height of the frames, px."""
    layout: str
    """Joint set."""
    points: Array
    """(T, K, 2) px."""
    joints: Array
    """(T, K, 3) metres, camera axes."""
    intrinsics: Array
    """(3, 3) px."""
    distortion: Array | None = None
    """See `schema.camera.Camera`."""
    camera_from_world: Array | None
    """(4, 4) metres; None if the release has none."""
    world_reason: str
    """Why the world is not supervised; empty if it is."""
    body: tuple[BodyParams, npt.NDArray[np.bool_]] | None
    """World body and its mask (T,)."""
    synthetic: bool
    projected: bool = True
    """Whether the points are projections of the joints through this camera, see `Keypoints`."""
    camera: str = ""
    """How the camera was determined, if not from a calibration of all cameras."""
    remarks: tuple[str, ...] = ()
    """Remarks for the record."""


def assemble(ref: SequenceRef, found: CameraSequence) -> SequenceRecord:
    """The record of a sequence."""
    frames = len(found.frames)
    extrinsics = found.camera_from_world
    world = found.joints if extrinsics is None else transform(np.linalg.inv(extrinsics), found.joints)
    # as in the published loader: visible means inside the frame; occlusion is not annotated
    inside = ((found.points >= 0) & (found.points < found.size)).all(axis=-1, keepdims=True)
    body, body_valid = found.body or (None, np.zeros(frames, bool))
    return SequenceRecord(
        dataset=SPEC.name,
        split=ref.split,
        name=ref.name,
        frames=found.frames,
        frame_ids=np.asarray(found.frame_ids, np.int64),
        fps=found.fps,
        camera=Camera(
            width=found.size[0],
            height=found.size[1],
            intrinsics=found.intrinsics[None],
            camera_from_world=None if extrinsics is None else extrinsics[None],
            moving=False,
            distortion=found.distortion,
        ),
        people=(
            Person(
                name=found.person,
                gender="neutral",  # NeuralAnnot fitted the neutral model
                present=np.ones(frames, bool),
                keypoints2d=Keypoints(
                    layout=found.layout,
                    points=np.where(inside, _with_ones(found.points), 0.0),
                    projected=found.projected,
                ),
                joints3d=Keypoints(layout=found.layout, points=_with_ones(world)),
                body=body,
                body_valid=body_valid,
            ),
        ),
        everyone_annotated=np.ones(frames, bool),
        world_valid=not found.world_reason,
        world_reason=found.world_reason or "the camera stands still",
        remarks=(
            *found.remarks,
            *((f"{found.world_reason}: the world is not supervised",) if found.world_reason else ()),
        ),
        provenance={
            "release": "synthetic sample world" if found.synthetic else "MPI-INF-3DHP",
            "layout": ref.layout,
            "adapter": ADAPTER,
            **({"camera": found.camera} if found.camera else {}),
            "body": "none" if body is None else "NeuralAnnot SMPL",
            "defects": "",
            "synthetic": "true" if found.synthetic else "false",
        },
    )


def _with_ones(points: Array) -> Array:
    return np.concatenate([points, np.ones((*points.shape[:-1], 1))], axis=-1)


def compare_cameras(file: Path, cameras: tuple[int, int], worlds: tuple[Array, Array]) -> str:
    """Why the calibration is unusable for a world; empty if joints of the same frames from two cameras coincide.

    `worlds`: (T, K, 3) metres of each camera. Raises AnnotationError if the calibration is of another recording.
    """
    apart = float(np.median(np.linalg.norm(worlds[0] - worlds[1], axis=-1)))
    if apart > CAMERAS_OF_ONE_ROOM:
        raise wrong(
            file,
            "the calibration",
            f"puts the joints of cameras {cameras[0]} and {cameras[1]} {apart:.2f} m apart",
            f"less than {CAMERAS_OF_ONE_ROOM}",
            "it is stale, in other units, or belongs to another sequence: get it with its annotation",
        )
    if apart > CAMERAS_AGREE:
        return f"cameras {cameras[0]} and {cameras[1]} disagree about the same joints by {1000 * apart:.0f} mm"
    return ""
