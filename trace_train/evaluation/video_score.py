"""Scores the result of a predicted video against what is known of the video: bodies, world, camera and identities."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
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
from trace_train.evaluation.accumulator import MISS_MM, of_misses, pose_errors
from trace_train.evaluation.bodies import LSP, Values, compare_bodies, in_axes
from trace_train.evaluation.candidates import POINTS
from trace_train.evaluation.ground_truth import GroundTruth, pose_people
from trace_train.evaluation.measures import OF_IDENTITIES, OF_WORLD, Scores, defined
from trace_train.evaluation.protocol import bodies_in_words, heading, world_in_words
from trace_train.evaluation.sums import MODEL, Sums
from trace_train.evaluation.tracks import STANDS_STILL, TrackAccumulator
from trace_train.evaluation.video_labels import LabelledPeople, labelled_people, measure_labels
from trace_train.evaluation.video_truth import VideoTruth
from trace_train.geometry.camera import to_pixels
from trace_train.geometry.rotations import matrix_from_axis_angle
from trace_train.metrics.matching import match
from trace_train.metrics.tracking import TrackedBoxes, TrackingCounts, count_tracking
from trace_train.protocols.loading import APPROXIMATE, load_protocol, nothing_to_score
from trace_train.protocols.protocol import Protocol

Join = Literal["frame", "time"]
ANOTHER_MODEL = 0.005
"""m by which a bone is of another length in another body model."""
STATES = ("seen", "inherited", "predicted")
PROTOCOL = (
    "Frames: those of the annotation that the result has too, joined by {join}. Rows of the result count whatever "
    "their state, people on either side only with their hips in the picture and before the camera.",
    "Bodies: {bodies} Matched in each frame by 2D joints, box IoU >= 0.05, people without a body by their labelled "
    "ones. The result's bodies are neutral ones with one shape for each person.",
    "World: tracks linked by annotation; the result's world as it is, with its own lens, in the axes of its camera in "
    "the first frame in which the person was matched. {world}",
    "Identities: on boxes around the 44 projected joints of both bodies, or the labelled ones, {boxes}, in frames in "
    "which {frames}. MOTA, IDF1 and switches pair boxes of IoU >= 0.01 as motmetrics does; HOTA as TrackEval, mean of "
    "the thresholds 0.05 to 0.95.",
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
    totals: Mapping[str, tuple[float, float]]
    """Sum and count behind every other score of `model`, to pool videos."""
    protocol: str
    """The protocol in words."""
    protocol_name: str
    rules: Mapping[str, Any]
    """The protocol as data: what `trace_train/protocols/protocol.py: Protocol` holds."""

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
    hips: Tensor
    """(R, 3)."""
    joints: Tensor
    """(R, 44, 3) relative to the hip midpoint."""
    points: Tensor
    """(R, 58, 2) px: the 14 LSP joints, and the 44."""
    box: Tensor
    """(R, 4) left, top, width, height of the 44 joints, px."""
    camera_from_world: Tensor
    """(R, 4, 4) of the rows' frames."""

    def rows(self, rows: Tensor) -> Predicted:
        """Some of the rows."""
        return Predicted(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})


@torch.no_grad()
def score_result(
    result: Result,
    truth: VideoTruth,
    layers: Mapping[str, BodyLayer],
    *,
    protocol: Protocol | None = None,
    join: Join = "frame",
    name: str = "",
) -> ResultScores:
    """Compare a result with the annotation of the same video.

    `layers` by gender name, on the CPU; the result's bodies are posed with the neutral one. `protocol`: None is the
    default one. `join`: frames of both are the same if their ids are equal, or if their times since the first frames
    are, within half a frame. `name`: of the result. Raises ConfigError if fewer than half of the annotated frames are
    found, if pictures have another size, or if the protocol is about other data.
    """
    rules = protocol or load_protocol()
    _check_data(truth, rules)
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
    others = labelled_people(truth, theirs, rules)
    rows, whom = _matched(found, target, others, len(ours))
    has_body = whom < len(target.frame)
    pairs, labels = (rows[has_body], whom[has_body]), (rows[~has_body], whom[~has_body] - len(target.frame))
    everyone = torch.from_numpy(truth.everyone[theirs])
    sums = {MODEL: Sums(), STANDS_STILL: Sums()}
    people = len(target.frame) + len(others.frame)
    sums[MODEL].add("recall", len(rows), people)
    sums[MODEL].add("precision", int(everyone[found.frame[rows]].sum()), int(everyone[found.frame].sum()))
    tracks = _Tracks(truth, theirs, rules)
    if len(pairs[0]):
        _measure(sums[MODEL], tracks, found.rows(pairs[0]), target.rows(pairs[1]), layers, rules)
    measure_labels(sums[MODEL], found.joints, others, labels, rules)
    missed = torch.ones(len(target.frame), dtype=torch.bool)
    missed[pairs[1]] = False
    sums[MODEL].add("mpjpe_with_misses", MISS_MM * int(missed.sum()), int(missed.sum()))
    sums[MODEL].add("world_coverage", int(target.in_world[pairs[1]].sum()), int(target.in_world.sum()))
    tracks.add_misses(target.rows(missed))
    for name_, part in tracks.end():
        sums[name_].take(part)
    frame, person = torch.cat([target.frame, others.frame]), torch.cat([target.person, others.person])
    order = frame.argsort(stable=True)
    counted = truth.everyone[theirs]
    if rules.tracking.frames == "annotated":
        counted = np.isin(np.arange(len(theirs)), frame.numpy())
    counts = count_tracking(
        TrackedBoxes(
            frame=frame[order].numpy(),
            identity=person[order].numpy(),
            box=torch.cat([boxes, others.box])[order].double().numpy(),
        ),
        TrackedBoxes(
            frame=found.frame.numpy(),
            identity=found.identity.numpy(),
            box=enlarged(found.box.double().numpy(), rules.tracking.enlarged),
        ),
        np.flatnonzero(counted),
    )
    return ResultScores(
        result=name,
        truth=truth.name,
        synthetic=truth.synthetic,
        join=join,
        frames=len(ours),
        annotated_frames=len(truth.time),
        people=people,
        matched=len(rows),
        identities=len(found.identity.unique()),
        annotated_identities=len(person.unique()),
        states=states,
        rows={
            MODEL: defined(replace(sums[MODEL].scores(), **tracking_scores(counts)), rules),
            STANDS_STILL: defined(sums[STANDS_STILL].scores(), rules),
        },
        tracking={f.name: _plain(getattr(counts, f.name)) for f in fields(counts)},
        totals={key: (total, sums[MODEL].counts[key]) for key, total in sums[MODEL].totals.items()},
        protocol=_in_words(rules, join),
        protocol_name=rules.name,
        rules=rules.model_dump(mode="json"),
    )


def _in_words(rules: Protocol, join: Join) -> str:
    wide, high = rules.tracking.enlarged
    boxes = "without any enlargement" if (wide, high) == (1, 1) else f"those of the result {wide:g} x {high:g} as large"
    frames, bodies, world, identities = PROTOCOL
    lines = [*heading(rules), frames, bodies]
    lines += [world] * rules.defines(*OF_WORLD) + [identities] * rules.defines(*OF_IDENTITIES)
    return "\n".join(lines).format(
        join={"frame": "frame id", "time": "time since the first frame"}[join],
        bodies=bodies_in_words(rules),
        world=world_in_words(rules),
        boxes=boxes,
        frames={"everyone": "everyone visible is annotated", "annotated": "somebody is annotated"}[
            rules.tracking.frames
        ],
    )


def _check_data(truth: VideoTruth, rules: Protocol) -> None:
    """Raise ConfigError if the protocol is about other sequences than this one."""
    data, entry = rules.data, truth.entry
    if entry is None:
        fits, there = data.dataset is None and data.subset is None, "no sequence of a dataset"
    else:
        fits, there = data.fits(entry) and data.split in (None, entry.split), entry.key
    if not fits:
        wanted = " ".join(filter(None, (data.dataset, data.split, data.subset, data.camera)))
        raise ConfigError(
            f"protocol {rules.name} is about {wanted or 'other sequences'}, and this is {there}",
            where=truth.name,
            hint="choose another protocol, or write one with  base: " + rules.name + "  and data of your own",
        )
    if entry is not None and APPROXIMATE in entry.provenance:
        raise nothing_to_score(rules, [entry.dataset], truth.name)


def enlarged(boxes: npt.NDArray[np.float64], factors: tuple[float, float]) -> npt.NDArray[np.float64]:
    """Boxes (N, 4), left, top, width, height, made wider and higher about their centres."""
    size = boxes[:, 2:] * factors
    return np.concatenate([boxes[:, :2] + (boxes[:, 2:] - size) / 2, size], axis=1)


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
        theirs = np.flatnonzero(np.abs(at[nearest] - wanted) <= 0.5 / truth.timing.rate)
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
        hips=hips,
        joints=posed.joints,
        points=to_pixels(torch.cat([posed.joints_h36m[:, :LSP], posed.joints], dim=1) + hips[:, None], lens),
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
    """(N,) whether the hips, of points (N, J, 2) px in LSP order, are in the picture and before the camera."""
    hips = points[:, 2:4].mean(1)
    inside = (hips >= -0.5) & (hips <= hips.new_tensor(size) - 0.5)
    return inside.all(-1) & (depth > 0)


def _box(points: Tensor) -> Tensor:
    low, high = points.amin(1), points.amax(1)
    return torch.cat([low, high - low], dim=1)


def _matched(found: Predicted, target: GroundTruth, others: LabelledPeople, frames: int) -> tuple[Tensor, Tensor]:
    """Pairs of rows of the result and of annotated people, those with a body first, then the others.

    By the 14 LSP joints of people with a body, and the labelled ones of others.
    """
    bodies, labels = len(target.frame), len(others.frame)
    points = found.points.new_zeros(bodies + labels, POINTS, 2)
    known = torch.zeros(bodies + labels, POINTS, dtype=torch.bool)
    points[:bodies, :LSP], known[:bodies, :LSP] = target.joints2d, True
    points[bodies:, LSP:], known[bodies:, LSP:] = others.points, others.labelled
    frame = torch.cat([target.frame, others.frame])
    order = frame.argsort(stable=True)
    rows, whom = match(found.points, found.frame, points[order], frame[order], known[order], frames)
    return torch.from_numpy(rows), order[torch.from_numpy(whom)]


def _measure(
    sums: Sums,
    tracks: _Tracks,
    found: Predicted,
    target: GroundTruth,
    layers: Mapping[str, BodyLayer],
    rules: Protocol,
) -> None:
    """Add the errors of M pairs, and their frames to the tracks."""
    values = compare_bodies(found.rotations, found.betas, target, layers, rules.bodies)
    for measure, errors in pose_errors(
        values["predicted"], values["annotated"], found.points[:, :LSP], target.joints2d
    ).items():
        sums.add_all(measure, errors)
        if measure == "mpjpe":
            sums.add_all("mpjpe_with_misses", errors)
    sums.add_all("pve", values.pop("pve"), 1000)
    tracks.add(values, found, target)


class _Tracks:
    """The tracks of annotated people through a result, in the axes of its camera where each was first matched."""

    def __init__(self, truth: VideoTruth, frames: npt.NDArray[np.int64], rules: Protocol) -> None:
        """`frames`: those compared, among the annotation's."""
        self.rules, self.timing = rules, truth.timing
        self.ids = torch.from_numpy(truth.frame_id[frames])
        self.by_person: dict[int, TrackAccumulator] = {}

    def add(self, values: Values, found: Predicted, target: GroundTruth) -> None:
        """Add M pairs with what `compare_bodies` says of them."""
        camera = found.camera_from_world
        world = (camera[:, :3, :3].mT @ (found.hips.double() - camera[:, :3, 3])[..., None])[..., 0]
        for person in target.person.unique().tolist():
            rows = (target.person == person).nonzero()[:, 0]
            # from the axes of each frame's camera to those of the result's camera where the person was first matched
            first = camera[rows[0], :3, :3]
            turn = first @ camera[rows, :3, :3].mT
            own = {
                name: value[rows].double() if value.is_floating_point() else value[rows]
                for name, value in values.items()
            }
            self._of(person).add(
                in_axes(own, turn)
                | {
                    "id": self.ids[target.frame[rows]],
                    "place": world[rows] @ first.mT,
                    "true_from_assumed": torch.eye(3, dtype=torch.float64).expand(len(rows), 3, 3),
                }
            )

    def add_misses(self, people: GroundTruth) -> None:
        """Add people in frames in which they were not found."""
        values = of_misses(people) | {"id": self.ids[people.frame]}
        for person in people.person.unique().tolist():
            self._of(person).miss({name: value[people.person == person] for name, value in values.items()})

    def end(self) -> Iterator[tuple[str, Sums]]:
        """The sums of every track, by predictor."""
        for track in self.by_person.values():
            yield from track.end().items()

    def _of(self, person: int) -> TrackAccumulator:
        if person not in self.by_person:
            self.by_person[person] = TrackAccumulator(self.timing, self.rules, None, world_is_first_camera=True)
        return self.by_person[person]


def _tensor(values: npt.NDArray[Any]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, np.float32))


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value
