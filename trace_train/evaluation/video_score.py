"""Scores the result of a predicted video against what is known of the video: bodies, world, camera and identities."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from trace_data.errors import AssetError, ConfigError
from trace_data.results.result import Result
from trace_data.schema.keypoints import SMPL_PARENTS
from trace_train.body.layer import JOINTS, BodyLayer
from trace_train.evaluation.accumulator import MISS_MM, pose_errors
from trace_train.evaluation.bodies import LSP, compare_meshes
from trace_train.evaluation.ground_truth import GroundTruth, pose_people
from trace_train.evaluation.measures import Scores
from trace_train.evaluation.sums import MODEL, Sums
from trace_train.evaluation.tracks import STANDS_STILL, Track
from trace_train.evaluation.video_truth import VideoTruth
from trace_train.geometry.camera import to_pixels
from trace_train.geometry.rotations import matrix_from_axis_angle
from trace_train.metrics.joints import rooted
from trace_train.metrics.matching import match
from trace_train.metrics.tracking import TrackedBoxes, TrackingCounts, count_tracking

Join = Literal["frame", "time"]
ANOTHER_MODEL = 0.005
"""m by which a bone is of another length in another body model."""
STATES = ("seen", "inherited", "predicted")
PROTOCOL = (
    "Frames: those of the annotation that the result has too, joined by {join}. Rows of the result count whatever "
    "their state, people on either side only with their hips in the picture and before the camera.",
    "Bodies: as in the evaluation of a network, on the 14 LSP joints of both meshes, matched in each frame by 2D "
    "joints, box IoU >= 0.05. The result's bodies are neutral ones with one shape for each person.",
    "World: tracks linked by annotation; the result's world as it is, with its own lens, in the axes of its camera in "
    "the first frame in which the person was matched. Alignments, chunks and means as in the evaluation of a network.",
    "Identities: on boxes around the 44 projected joints of both bodies, without any enlargement, in frames in which "
    "everyone visible is annotated. MOTA, IDF1 and switches pair boxes of IoU >= 0.01 as motmetrics does; HOTA as "
    "TrackEval, mean over the thresholds 0.05 to 0.95.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultScores:
    """Scores of one predicted video."""

    result: str
    """The file."""
    truth: str
    """The sequence or file that it was compared with."""
    synthetic: bool
    join: Join
    frames: int
    """Frames compared."""
    annotated_frames: int
    people: int
    """Annotated person-frames compared."""
    matched: int
    identities: int
    """Of the result, in these frames."""
    annotated_identities: int
    states: Mapping[str, int]
    """Rows of the result in these frames that were seen, inherited, predicted."""
    rows: Mapping[str, Scores]
    """Scores of `model` and of `stands still`."""
    tracking: Mapping[str, Any]
    """The counts behind MOTA, IDF1 and HOTA, to pool videos: fields of `TrackingCounts`."""
    protocol: str

    def to_json(self) -> dict[str, Any]:
        """The scores as JSON values."""
        return asdict(self)

    @property
    def counts(self) -> TrackingCounts:
        """The counts of tracking, which can be added to those of other videos."""
        values: dict[str, Any] = {k: np.array(v) if isinstance(v, list) else v for k, v in self.tracking.items()}
        return TrackingCounts(**values)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Predicted:
    """R rows of a result in the compared frames, by frame; metres, camera axes."""

    frame: Tensor
    """(R,) number of the frame among the compared ones."""
    identity: Tensor
    rotations: Tensor
    """(R, 24, 3, 3) the root in the camera."""
    betas: Tensor
    joints: Tensor
    """(R, 14, 3) LSP, relative to the hip midpoint."""
    skeleton: Tensor
    """(R, 24, 3) relative to the hip midpoint."""
    hips: Tensor
    """(R, 3)."""
    points: Tensor
    """(R, 14, 2) px."""
    box: Tensor
    """(R, 4) left, top, width, height of the 44 joints, px."""
    camera_from_world: Tensor
    """(R, 4, 4) of the rows' frames."""

    def rows(self, rows: Tensor) -> Predicted:
        """Some of the rows."""
        return Predicted(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})


@torch.no_grad()
def score_result(
    result: Result, truth: VideoTruth, layers: Mapping[str, BodyLayer], *, join: Join = "frame", name: str = ""
) -> ResultScores:
    """Compare a result with the annotation of the same video.

    `layers` by gender name, on the CPU; the result's bodies are posed with the neutral one. `join`: frames of both are
    the same if their ids are equal, or if their times since the first frames are, within half a frame. `name`: of the
    result. Raises ConfigError if fewer than half of the annotated frames are found, or pictures have another size.
    """
    size = (int(result.image_size[0]), int(result.image_size[1]))
    if size != truth.image_size:
        raise ConfigError(
            f"the result's pictures have {size[0]} x {size[1]} px, those of {truth.name} "
            f"{truth.image_size[0]} x {truth.image_size[1]}",
            where=name,
            hint="compare it with the annotation of the same video",
        )
    ours, theirs = joined(result, truth, join, name)
    found, states = _predicted(result, ours, layers["neutral"], size)
    target, boxes = _annotated(truth, theirs, layers)
    rows, whom = match(
        found.points, found.frame, target.joints2d, target.frame, torch.ones(target.joints2d.shape[:-1]) > 0, len(ours)
    )
    pairs = torch.from_numpy(rows), torch.from_numpy(whom)
    everyone = torch.from_numpy(truth.everyone[theirs])
    sums = {MODEL: Sums(), STANDS_STILL: Sums()}
    _count(sums[MODEL], found, target, pairs, everyone)
    if len(rows):
        _measure(sums, truth, theirs, found.rows(pairs[0]), target.rows(pairs[1]), layers)
    counts = count_tracking(
        TrackedBoxes(frame=target.frame.numpy(), identity=target.person.numpy(), box=boxes.double().numpy()),
        TrackedBoxes(frame=found.frame.numpy(), identity=found.identity.numpy(), box=found.box.double().numpy()),
        np.flatnonzero(truth.everyone[theirs]),
    )
    return ResultScores(
        result=name,
        truth=truth.name,
        synthetic=truth.synthetic,
        join=join,
        frames=len(ours),
        annotated_frames=len(truth.time),
        people=len(target.frame),
        matched=len(rows),
        identities=len(found.identity.unique()),
        annotated_identities=len(target.person.unique()),
        states=states,
        rows={
            MODEL: replace(sums[MODEL].scores(), **tracking_scores(counts)),
            STANDS_STILL: sums[STANDS_STILL].scores(),
        },
        tracking={f.name: _plain(getattr(counts, f.name)) for f in fields(counts)},
        protocol="\n".join(PROTOCOL).format(join={"frame": "frame id", "time": "time since the first frame"}[join]),
    )


def tracking_scores(counts: TrackingCounts) -> dict[str, float | None]:
    """The fields of `Scores` that rest on identities, of one video or of several whose counts were added."""
    names = ("mota", "idf1", "hota", "detection_accuracy", "association_accuracy")
    values = {name: float(getattr(counts, name)) for name in names} | {"id_switches": counts.switches}
    if not counts.people:
        return dict.fromkeys(values)
    return {name: None if math.isnan(value) else value for name, value in values.items()}


def joined(
    result: Result, truth: VideoTruth, join: Join, name: str
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Indices of the same frames in the result and in the annotation, both ascending. Raises ConfigError."""
    if join == "frame":
        _, ours, theirs = np.intersect1d(result.frame_id, truth.frame_id, return_indices=True)
    else:
        at, wanted = result.time - result.time[0], truth.time - truth.time[0]
        nearest = _nearest(at, wanted)
        theirs = np.flatnonzero(np.abs(at[nearest] - wanted) <= 0.5 / truth.clock.rate)
        ours, first = np.unique(nearest[theirs], return_index=True)
        theirs = theirs[first]
    if 2 * len(ours) < len(truth.time):
        other = {"frame": "time", "time": "frame"}[join]
        raise ConfigError(
            f"has {len(ours):,} of the {len(truth.time):,} annotated frames of {truth.name} by their {join}",
            where=name,
            hint=f"compare it with the annotation of the same video, or join the frames by  --join {other}",
        )
    return ours, theirs


def _nearest(at: npt.NDArray[np.float64], wanted: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Index of the time in `at`, ascending, that is nearest to each wanted one."""
    after = np.searchsorted(at, wanted).clip(0, len(at) - 1)
    before = (after - 1).clip(0)
    nearest: npt.NDArray[np.int64] = np.where(wanted - at[before] < at[after] - wanted, before, after)
    return nearest


def _check_model(ours: npt.NDArray[np.floating[Any]], posed: Tensor) -> None:
    """Refuse packs that pose other joints (N, 24, 3), m, than the result holds: bones of another length."""
    parents = list(SMPL_PARENTS[1:])
    length, packs = (np.linalg.norm(joints[:, 1:] - joints[:, parents], axis=-1) for joints in (ours, posed.numpy()))
    if (off := float(np.abs(length - packs).max(initial=0))) > ANOTHER_MODEL:
        raise AssetError(
            f"the packs hold another body model than the result was predicted with: bones differ by up to"
            f" {1000 * off:.0f} mm",
            hint="name the packs that the prediction used with  --packs DIR",
        )


def _predicted(
    result: Result, frames: npt.NDArray[np.int64], layer: BodyLayer, size: tuple[int, int]
) -> tuple[Predicted, dict[str, int]]:
    """The rows in these frames of the result that are in the picture, and the states of all of them."""
    number = np.full(len(result.time), -1)
    number[frames] = np.arange(len(frames))
    rows = np.flatnonzero(number[result.row_frame] >= 0)
    rows = rows[np.lexsort((result.row_person[rows], result.row_frame[rows]))]
    person, frame = result.row_person[rows], result.row_frame[rows]
    pose = np.concatenate([result.root_in_camera[rows, None], result.pose[rows, 1:]], axis=1)
    rotations, betas = matrix_from_axis_angle(_tensor(pose)), _tensor(result.betas[person])
    posed = layer(rotations, betas)
    _check_model(result.joints[rows], posed.joints[:, :JOINTS])
    hips = posed.root + _tensor(result.translation_in_camera[rows])
    lens = _tensor(np.broadcast_to(result.intrinsics, (len(result.time), 3, 3))[frame])
    found = Predicted(
        frame=torch.from_numpy(number[frame]),
        identity=torch.from_numpy(result.person[person].astype(np.int64)),
        rotations=rotations,
        betas=betas,
        joints=posed.joints_h36m[:, :LSP],
        skeleton=posed.joints[:, :JOINTS],
        hips=hips,
        points=to_pixels(posed.joints_h36m[:, :LSP] + hips[:, None], lens),
        box=_box(to_pixels(posed.joints + hips[:, None], lens)),
        camera_from_world=torch.from_numpy(result.camera_from_world[frame]),
    )
    states = {name: int((result.state[rows] == code).sum()) for code, name in enumerate(STATES)}
    return found.rows(_in_picture(found.points, hips[:, 2], size)), states


def _annotated(
    truth: VideoTruth, frames: npt.NDArray[np.int64], layers: Mapping[str, BodyLayer]
) -> tuple[GroundTruth, Tensor]:
    """The annotated people in these frames who are in the picture, places in px, and their boxes (K, 4)."""
    number = np.full(len(truth.time), -1)
    number[frames] = np.arange(len(frames))
    rows = np.flatnonzero(number[truth.frame] >= 0)
    frame = truth.frame[rows]
    lens, camera = _tensor(truth.intrinsics[frame]), _tensor(truth.camera_from_world[frame])
    rotations, betas = matrix_from_axis_angle(_tensor(truth.pose[rows])), _tensor(truth.betas[rows])
    people, depth, joints = pose_people(
        frame=torch.from_numpy(number[frame]),
        person=torch.from_numpy(truth.person[rows]),
        gender=torch.from_numpy(truth.gender[rows]),
        rotations=rotations,
        betas=betas,
        translation=_tensor(truth.translation[rows]),
        in_world=torch.from_numpy(truth.in_world[rows]),
        camera_from_world=camera,
        to_2d=lambda joints: to_pixels(joints, lens),
        layers=layers,
    )
    there = _in_picture(people.joints2d, depth, truth.image_size)
    return people.rows(there), _box(to_pixels(joints, lens))[there]


def _in_picture(points: Tensor, depth: Tensor, size: tuple[int, int]) -> Tensor:
    """(N,) whether the hips, of LSP points (N, 14, 2) px, are in the picture and before the camera."""
    hips = points[:, 2:4].mean(1)
    inside = (hips >= -0.5) & (hips <= hips.new_tensor(size) - 0.5)
    return inside.all(-1) & (depth > 0)


def _box(points: Tensor) -> Tensor:
    low, high = points.amin(1), points.amax(1)
    return torch.cat([low, high - low], dim=1)


def _count(sums: Sums, found: Predicted, target: GroundTruth, pairs: tuple[Tensor, Tensor], everyone: Tensor) -> None:
    people, matched = len(target.frame), len(pairs[1])
    sums.add("recall", matched, people)
    sums.add("precision", int(everyone[found.frame[pairs[0]]].sum()), int(everyone[found.frame].sum()))
    sums.add("mpjpe_with_misses", MISS_MM * (people - matched), people - matched)
    sums.add("world_coverage", int(target.in_world[pairs[1]].sum()), int(target.in_world.sum()))


def _measure(
    sums: Mapping[str, Sums],
    truth: VideoTruth,
    frames: npt.NDArray[np.int64],
    found: Predicted,
    target: GroundTruth,
    layers: Mapping[str, BodyLayer],
) -> None:
    """Add the errors of M pairs."""
    for measure, errors in pose_errors(found.joints, target.joints, found.points, target.joints2d).items():
        sums[MODEL].add_all(measure, errors)
        if measure == "mpjpe":
            sums[MODEL].add_all("mpjpe_with_misses", errors)
    error, feet, true_feet = compare_meshes(found.rotations, found.betas, target, layers)
    sums[MODEL].add_all("pve", error, 1000)

    camera = found.camera_from_world
    world = (camera[:, :3, :3].mT @ (found.hips.double() - camera[:, :3, 3])[..., None])[..., 0]
    values = {
        "predicted": rooted(found.joints),
        "annotated": rooted(target.joints),
        "true_skeleton": target.skeleton,
        "true_feet": true_feet,
        "true_root": target.rotations[:, 0],
        "true_hips": target.hips,
        "camera_from_world": target.turn,
    }
    ids = torch.from_numpy(truth.frame_id[frames])[target.frame]
    for person in target.person.unique():
        rows = (target.person == person).nonzero()[:, 0]
        # from the axes of each frame's camera to those of the result's camera where the person was first matched
        first = camera[rows[0], :3, :3]
        turn = first @ camera[rows, :3, :3].mT
        track = Track(truth.clock, None, world_is_first_camera=True)
        track.add(
            {name: value[rows].double() for name, value in values.items()}
            | {
                "id": ids[rows],
                "in_world": target.in_world[rows],
                "skeleton": found.skeleton[rows].double() @ turn.mT,
                "feet": feet[rows].double() @ turn.mT,
                "root": turn @ found.rotations[rows, 0].double(),
                "place": world[rows] @ first.mT,
                "true_from_assumed": torch.eye(3, dtype=torch.float64).expand(len(rows), 3, 3),
            }
        )
        for name, part in track.end().items():
            sums[name].take(part)


def _tensor(values: npt.NDArray[Any]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, np.float32))


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value
