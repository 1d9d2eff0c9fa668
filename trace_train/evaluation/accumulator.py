"""Accumulates scores of the network's detections, window by window."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from trace_data.shards.entries import usual_step
from trace_data.shards.reader import ShardReader
from trace_train.body.layer import BodyLayer
from trace_train.evaluation.baselines import MEAN_POSE, MEAN_POSE_IN_CAMERA, ConstantPredictor
from trace_train.evaluation.bodies import Values, compare
from trace_train.evaluation.candidates import (
    Candidates,
    candidates,
    joint_sums,
    missed_joints,
    points_of,
    universal_factors,
)
from trace_train.evaluation.ground_truth import GroundTruth, annotated
from trace_train.evaluation.sums import MODEL, Sums
from trace_train.evaluation.tracks import Frames, FrameTiming, TrackAccumulator
from trace_train.evaluation.videos import Videos
from trace_train.evaluation.windows import Chunk, VideoSpan
from trace_train.inference.detections import Detections
from trace_train.metrics import joints
from trace_train.metrics.matching import match
from trace_train.network.outputs import Maps
from trace_train.protocols.protocol import Protocol
from trace_train.streaming.batch import Batch

MISS_MM = 150.0
"""Error of a missed person in the penalised MPJPE (docs/reference/evaluation.md#faults-of-the-3dpw-evaluator)."""


class ScoreAccumulator:
    """Sums of measures for every window and predictor."""

    def __init__(
        self,
        reader: ShardReader,
        windows: Sequence[VideoSpan],
        layers: Mapping[str, BodyLayer],
        constants: ConstantPredictor,
        videos: Videos,
        protocol: Protocol,
    ) -> None:
        self.layers, self.constants, self.videos, self.protocol = layers, constants, videos, protocol
        self.entries = [reader.index.sequences[w.sequence] for w in windows]
        ids = {row: reader.index.sequences[row].frame_ids() for row in {w.sequence for w in windows}}
        self.ids = [torch.from_numpy(ids[w.sequence][w.start : w.start + w.frames]) for w in windows]
        self.universal = torch.cat([universal_factors(entry) for entry in reader.index.sequences])
        self.sums: list[dict[str, Sums]] = [defaultdict(Sums) for _ in windows]
        self.people, self.matched = [0] * len(windows), [0] * len(windows)
        self._tracks: dict[int, dict[int, TrackAccumulator]] = {}

    def add(self, chunk: Chunk, batch: Batch, maps: Maps, found: Detections) -> None:
        """Add the detections in a chunk."""
        truth = annotated(batch, self.layers)
        people = candidates(batch, truth, self.protocol.labelled)
        frames = len(chunk.windows) * chunk.frames
        f, p = match(points_of(found), found.frame, people.points, people.frame, people.labelled, frames)
        rows, whom = (torch.from_numpy(x).to(found.frame.device) for x in (f, p))
        self._count(chunk, batch, people, found, whom)
        self._add_joints(chunk, people, found, rows, whom)
        body = people.body[whom]
        self._add_bodies(chunk, batch, truth, maps, found, (rows[body >= 0], body[body >= 0]))
        self._end_windows(chunk)

    def _count(self, chunk: Chunk, batch: Batch, people: Candidates, found: Detections, whom: Tensor) -> None:
        """Count people, matches and false alarms for recall and precision.

        An unmatched detection is a false alarm only in frames where everyone visible is annotated.
        """
        everyone = batch.masks["everyone_annotated"].flatten()
        there, matched = people.frame[people.counted], people.frame[whom][people.counted[whom]]
        explained = people.frame[whom]
        for number, to_find, hits, sure, shown, known in zip(
            chunk.windows,
            *(
                _per_video(frame, chunk)
                for frame in (
                    there,
                    matched,
                    matched[everyone[matched]],
                    found.frame[everyone[found.frame]],
                    explained[everyone[explained]],
                )
            ),
        ):
            self.people[number] += to_find
            self.matched[number] += hits
            self.sums[number][MODEL].add("recall", hits, to_find)
            self.sums[number][MODEL].add("precision", sure, sure + shown - known)

    def _add_joints(self, chunk: Chunk, people: Candidates, found: Detections, rows: Tensor, whom: Tensor) -> None:
        """Add errors of people with labelled joints but no body."""
        self._count_missed_joints(chunk, people, whom)
        some = people.scored[whom].any(-1)
        rows, whom = rows[some], whom[some]
        if not len(rows):
            return
        labelled, target = people.scored[whom].cpu(), people.joints[whom].cpu()
        video, universal = (people.frame[whom] // chunk.frames).cpu(), self.universal[people.identity[whom].cpu()]
        predictions = {MODEL: found.body.joints[rows].cpu()}
        if self.constants.joints is not None:
            predictions[MEAN_POSE_IN_CAMERA] = self.constants.joints.expand(len(rows), -1, -1)
        for name, predicted in predictions.items():
            for measure, sums in joint_sums(self.protocol, predicted, target, labelled, universal).items():
                self._spread(chunk, name, video, measure, *sums)

    def _count_missed_joints(self, chunk: Chunk, people: Candidates, whom: Tensor) -> None:
        """Count the labelled joints of people in the picture who were not found, where the protocol says so."""
        missed = people.counted.clone()
        missed[whom] = False
        video = (people.frame[missed] // chunk.frames).cpu()
        labelled, universal = people.scored[missed].cpu(), self.universal[people.identity[missed].cpu()]
        for measure, wrong in missed_joints(self.protocol, labelled, universal).items():
            self._spread(chunk, MODEL, video, measure, torch.zeros(len(labelled)), wrong)

    def _add_bodies(
        self,
        chunk: Chunk,
        batch: Batch,
        truth: GroundTruth,
        maps: Maps,
        found: Detections,
        pairs: tuple[Tensor, Tensor],
    ) -> None:
        """Add errors of people with a body: `pairs` of rows of `found` and `truth`."""
        rows, target = pairs[0], truth.rows(pairs[1])
        for number, there, hits, in_world, world_hits in zip(
            chunk.windows,
            _per_video(truth.frame, chunk),
            _per_video(target.frame, chunk),
            _per_video(truth.frame[truth.in_world], chunk),
            _per_video(target.frame[target.in_world], chunk),
        ):
            self.sums[number][MODEL].add("world_coverage", world_hits, in_world)
            self.sums[number][MODEL].add("mpjpe_with_misses", MISS_MM * (there - hits), there - hits)
        first = torch.tensor([self.entries[number].first_person for number in chunk.windows], device=rows.device)
        video = target.frame // chunk.frames
        person = batch.identity[video, target.person] - first[video]
        place = self.videos.place(chunk, maps, found, rows, person)
        if len(rows):
            values = compare(batch, found, rows, target, place, self.layers, self.protocol.bodies)
            self._add_frames(chunk, values)
            self._add_tracks(chunk, values, person.cpu(), (target.frame % chunk.frames).cpu(), TrackAccumulator.add)
        if self.protocol.misses == "filled":
            missed = torch.ones_like(truth.in_world)
            missed[pairs[1]] = False
            lost = truth.rows(missed)
            video = lost.frame // chunk.frames
            person = batch.identity[video, lost.person] - first[video]
            values = {"video": video.cpu(), **of_misses(lost)}
            self._add_tracks(chunk, values, person.cpu(), (lost.frame % chunk.frames).cpu(), TrackAccumulator.miss)

    def _add_frames(self, chunk: Chunk, values: Values) -> None:
        """Add per-frame errors of the network and of the constant bodies."""
        video, image = values["video"], values["true_joints2d"]
        each = torch.ones(len(video))
        predictions = {MODEL: (values["predicted"], values["joints2d"])}
        if (body := self.constants.body) is not None:
            place = body.joints2d * values["px"][:, None, None]
            predictions[MEAN_POSE] = (body.mean_pose.expand(len(video), -1, -1), place)
            predictions[MEAN_POSE_IN_CAMERA] = (body.mean_pose_in_camera.expand(len(video), -1, -1), place)
        for name, (predicted, predicted2d) in predictions.items():
            errors = pose_errors(predicted, values["annotated"], predicted2d, image)
            for measure, error in errors.items():
                self._spread(chunk, name, video, measure, error, each)
            if name == MODEL:
                self._spread(chunk, name, video, "mpjpe_with_misses", errors["mpjpe"], each)
                self._spread(chunk, name, video, "pve", 1000 * values["pve"], each)

    def _add_tracks(
        self,
        chunk: Chunk,
        values: Values,
        person: Tensor,
        time: Tensor,
        add: Callable[[TrackAccumulator, Frames], None],
    ) -> None:
        for video, number in enumerate(chunk.windows):
            tracks = self._tracks.setdefault(number, {})
            entry = self.entries[number]
            here = values["video"] == video
            for one in person[here].unique().tolist():
                rows = (here & (person == one)).nonzero()[:, 0]
                frames = {name: value[rows] for name, value in values.items()}
                frames["id"] = self.ids[number][chunk.at + time[rows]]
                if one not in tracks:
                    timing = FrameTiming(fps=entry.fps, step=usual_step(entry.frame_ids()))
                    tracks[one] = TrackAccumulator(
                        timing,
                        self.protocol,
                        self.constants.body,
                        world_is_first_camera=self.videos.network.temporal,
                    )
                add(tracks[one], frames)

    def _end_windows(self, chunk: Chunk) -> None:
        for number in chunk.windows:
            if chunk.at + chunk.frames == len(self.ids[number]):
                self._end(number)

    def _end(self, number: int) -> None:
        for track in self._tracks.pop(number, {}).values():
            for name, sums in track.end().items():
                self.sums[number][name].take(sums)

    def _spread(self, chunk: Chunk, name: str, video: Tensor, measure: str, totals: Tensor, counts: Tensor) -> None:
        """Add values (M,) to the windows of their videos (M,)."""
        total = np.bincount(video.numpy(), totals.numpy(), minlength=len(chunk.windows))
        count = np.bincount(video.numpy(), counts.numpy(), minlength=len(chunk.windows))
        for number, t, c in zip(chunk.windows, total.tolist(), count.tolist()):
            self.sums[number][name].add(measure, t, c)


def of_misses(people: GroundTruth) -> Frames:
    """What `TrackAccumulator.miss` takes of people who were not found, but for the ids of their frames."""
    values = {
        "in_world": people.in_world,
        "true_hips": people.hips,
        "true_root": people.rotations[:, 0],
        "true_pelvis": people.skeleton[:, :1],
        "true_rest": people.rest,
        "camera_from_world": people.turn,
    }
    return {k: v.cpu().double() if v.is_floating_point() else v.cpu() for k, v in values.items()}


def pose_errors(predicted: Tensor, annotated: Tensor, predicted2d: Tensor, annotated2d: Tensor) -> dict[str, Tensor]:
    """Errors (M,) of joints (M, J, 3) relative to the same root, m, and of places in the picture (M, 14, 2), px."""
    return {
        "mpjpe": 1000 * joints.mean_distance(predicted, annotated),
        "pa_mpjpe": 1000 * joints.pa_mpjpe(predicted, annotated),
        "error_2d": (predicted2d - annotated2d).norm(dim=-1).mean(-1),
    }


def _per_video(frame: Tensor, chunk: Chunk) -> list[int]:
    """Number of entries (M,) per video, given the frame of each."""
    counts: list[int] = torch.bincount(frame // chunk.frames, minlength=len(chunk.windows)).tolist()
    return counts
