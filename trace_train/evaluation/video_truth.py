"""What is known of one video: its annotated people and camera, from shards, a dataset, or an exact result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from trace_data.assets.bodies import BodyModels
from trace_data.results.result import Result
from trace_data.schema.body import GENDERS
from trace_data.schema.clip import ClipAnnotations, ClipRef
from trace_data.schema.record import SequenceRecord
from trace_data.schema.sequence_patterns import the_one
from trace_data.shards.entries import SequenceEntry, usual_step
from trace_data.shards.reader import ShardReader, clip_annotations
from trace_data.shards.rows import rows_of
from trace_data.shards.writer import entry_of
from trace_train.evaluation.tracks import FrameTiming

NEUTRAL = GENDERS.index("neutral")
_PARTS = ("root_rotation", "body_pose", "shape", "translation")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class JointLabels:
    """L person-frames in the picture without a whole body, by frame, then person."""

    frame: npt.NDArray[np.int64]
    """(L,) index of the frame."""
    person: npt.NDArray[np.int64]
    """(L,) identities."""
    points: npt.NDArray[np.float32]
    """(L, 44, 3) px and confidence; zero where there are no 2D labels."""
    joints: npt.NDArray[np.float32]
    """(L, 44, 4) m in the world, and confidence."""


def no_labels() -> JointLabels:
    """Of a video in which everyone has a body."""
    nobody = np.zeros(0, np.int64)
    return JointLabels(
        frame=nobody,
        person=nobody,
        points=np.zeros((0, 44, 3), np.float32),
        joints=np.zeros((0, 44, 4), np.float32),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class VideoTruth:
    """T annotated frames with K person-frames that have a whole body, by frame, then person."""

    name: str
    entry: SequenceEntry | None
    """The sequence of shards or of a dataset; None of an exact result."""
    synthetic: bool
    frame_id: npt.NDArray[np.int64]
    """(T,) index of each frame in the source, or the release's number of it."""
    time: npt.NDArray[np.float64]
    """(T,) seconds."""
    timing: FrameTiming
    image_size: tuple[int, int]
    """Width and height, px."""
    intrinsics: npt.NDArray[np.float64]
    """(T, 3, 3) px."""
    camera_from_world: npt.NDArray[np.float64]
    """(T, 4, 4) m."""
    everyone: npt.NDArray[np.bool_]
    """(T,) whether everyone visible is annotated, so that anyone else is a false alarm."""
    frame: npt.NDArray[np.int64]
    """(K,) index of the frame."""
    person: npt.NDArray[np.int64]
    """(K,) identities."""
    gender: npt.NDArray[np.int64]
    """(K,) codes of `GENDERS`."""
    pose: npt.NDArray[np.float32]
    """(K, 24, 3) axis-angle, the root in the world."""
    betas: npt.NDArray[np.float32]
    """(K, 10) of the body of the gender."""
    translation: npt.NDArray[np.float32]
    """(K, 3) m, world: vertices = LBS(pose, betas) + translation."""
    in_world: npt.NDArray[np.bool_]
    """(K,) whether places in the world can be compared."""
    others: JointLabels
    """People of whom joints are labelled and no whole body is known."""


def truth_of_result(result: Result, name: str) -> VideoTruth:
    """An exact result as truth, such as the one that a synthetic video comes with. Its bodies are neutral ones."""
    order = np.lexsort((result.row_person, result.row_frame))
    frames, person = len(result.time), result.row_person[order]
    step = usual_step(result.frame_id)
    seconds = np.median(np.diff(result.time) / np.diff(result.frame_id)) if frames > 1 else 1 / 30
    return VideoTruth(
        name=name,
        entry=None,
        synthetic=True,
        frame_id=result.frame_id,
        time=result.time,
        timing=FrameTiming(fps=1 / float(seconds), step=step),
        image_size=(int(result.image_size[0]), int(result.image_size[1])),
        intrinsics=np.broadcast_to(result.intrinsics, (frames, 3, 3)),
        camera_from_world=result.camera_from_world,
        everyone=np.ones(frames, bool),
        frame=result.row_frame[order].astype(np.int64),
        person=result.person[person].astype(np.int64),
        gender=np.full(len(order), NEUTRAL),
        pose=result.pose[order],
        betas=result.betas[person],
        translation=result.translation[order],
        in_world=np.ones(len(order), bool),
        others=no_labels(),
    )


def truth_of_shards(reader: ShardReader, sequence: str | None) -> VideoTruth:
    """The annotation of one sequence of shards, by its name or `dataset/split/name`; None if there is only one.

    Raises ConfigError if there is no such sequence, or more than one, ShardError.
    """
    row = the_one(reader.index.sequences, sequence, where=reader.store.where)
    entry = reader.index.sequences[row]
    return _truth_of(entry, reader.annotations(ClipRef(sequence=row, start=0, stride=1, length=entry.frames)))


def truth_of_record(record: SequenceRecord, bodies: BodyModels) -> VideoTruth:
    """A sequence as its dataset annotates it: the same as from shards that were built of it with these bodies.

    The record has to be one that `check_record` finds no errors in. Raises AssetError.
    """
    rows = rows_of(record, bodies.complete(record))
    entry = entry_of(record, rows)
    return _truth_of(entry, clip_annotations(entry, rows.frames, rows.people, rows.people_a_frame))


def _truth_of(entry: SequenceEntry, found: ClipAnnotations) -> VideoTruth:
    whole = found.present & found.masks["intrinsics"][None]
    for part in _PARTS:
        whole = whole & found.masks[part]
    frame, person = np.nonzero(whole.T)
    labelled = found.present & found.masks["center"] & (found.masks["pose2d"] | found.masks["joints3d"]) & ~whole
    at, who = np.nonzero(labelled.T)

    def taken(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return values[person, frame]

    return VideoTruth(
        name=entry.key,
        entry=entry,
        synthetic=entry.synthetic,
        frame_id=found.frame_ids,
        time=(found.frame_ids - found.frame_ids[0]) / found.fps,
        timing=FrameTiming(fps=found.fps, step=usual_step(found.frame_ids)),
        image_size=(found.width, found.height),
        intrinsics=found.intrinsics.astype(np.float64),
        camera_from_world=found.camera_from_world.astype(np.float64),
        everyone=found.masks["everyone_annotated"],
        frame=frame,
        person=found.identity[person],
        gender=found.gender[person].astype(np.int64),
        pose=taken(found.pose),
        betas=taken(found.betas),
        translation=taken(found.translation),
        in_world=taken(found.masks["world"]),
        others=JointLabels(
            frame=at,
            person=found.identity[who],
            points=found.kp2d[who, at] * found.masks["pose2d"][who, at, None, None],
            joints=found.kp3d[who, at] * (found.masks["joints3d"] & found.masks["intrinsics"])[who, at, None, None],
        ),
    )
