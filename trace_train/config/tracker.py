"""Configuration of the trackers that give detected people their identities."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from trace_train.config.part import ConfigPart


class PublishedTrackerConfig(ConfigPart):
    """Constants of the published tracker, with its defaults. Sources: docs/reference/inference.md#detection-filters,
    docs/reference/inference.md#tracker-step, docs/reference/inference.md#birth-of-tracks."""

    least_scale: float = 0.13
    """Smallest scale s of the camera triple; smaller (farther) people are ignored (`large_object_thresh`)."""
    duplicate_distance: float = Field(0.05, ge=0)
    """Distance in the camera triple below which two detections are one person (`suppress_duplicate_thresh`)."""
    motion_limit: float = Field(0.06, ge=0)
    """Norm of the motion of the camera triple above which it is set to zero (`motion_offset3D_norm_limit`)."""
    score: float = Field(0.18, ge=0)
    """Score that a detection must exceed from the second call on (`tracker_det_thresh`)."""
    birth_score: float = Field(0.3, ge=0)
    """Score that it must exceed in the first call, and to start a track (`first_frame_det_thresh`)."""
    axes: tuple[float, float, float] = (1.2, 2.5, 25.0)
    """Weights of x (m), y (m) and 1 / (1 + depth in m) in the distance (`axis_times`)."""
    match_distance: float = Field(1.2, gt=0)
    """Weighted distance from which track and detection are not matched (`tracker_match_thresh`)."""
    people: int = Field(1, ge=1)
    """Tracks below which new ones start, and how many start at a time (`subject_num`). The sum can exceed it."""
    accept_new: bool = False
    """Whether everybody above `new_score` starts a track, whatever `people` says (`accept_new_dets`)."""
    new_score: float = Field(0.8, ge=0)
    """Score that a new track must exceed with `accept_new`, unless there is no track."""
    forget: int = Field(0, ge=0)
    """Calls without a match that a track survives (`time2forget`). Frames without detections are no calls."""
    chunk: int = Field(8, ge=1)
    """Frames of a chunk; chunks start at frame 0."""
    chunk_rows: int = Field(6, ge=1)
    """Rows that a track needs in a chunk, if so many frames of it have tracks; otherwise the chunk lacks the person."""
    feature_score: float = Field(0.05, ge=0)
    """Score above which a row is decoded from its own frame and not from memory (`feature_update_thresh`)."""


class CutConfig(ConfigPart):
    """How cuts in a video are found. Both conditions must hold between two frames."""

    detect: bool = True
    """Whether cuts are looked for."""
    details: float = Field(0.62, ge=-1, le=1)
    """Correlation of the details of the best part of the picture below which they are others."""
    colours: float = Field(0.2, ge=0, le=1)
    """Share of the pixels that must have other colours."""


class TrackerConfig(ConfigPart):
    """Who is who from frame to frame (docs/tracking.md). Times are seconds of the video, distances metres.

    Each term of the cost is x / (x + 1), where x is 1 at the term's scale; the cost is the weighted mean of the terms.
    """

    kind: Literal["default", "published"] = "default"
    """`published`: the tracker of the published system, for comparison. Then only `tracker.published` counts."""
    people: int | Literal["all", "largest"] = "all"
    """Most people at a time. A number: the nearest ones when they are first confirmed. `largest`: one person, the
    largest in the picture."""
    score: float = Field(0.3, ge=0)
    """Score from which a detection can start a track, or return a lost person."""
    keep_score: float = Field(0.18, ge=0)
    """Score from which it can continue the track of somebody seen in the frame before. Lower ones are ignored."""
    motion: Literal["velocity", "network"] = "velocity"
    """Where people are expected: by their velocity, or by the network's motion of the camera triple, if it has one."""
    remember: float = Field(3.0, ge=0)
    """Seconds that a lost person is remembered, predicted and looked for."""
    remember_cut: float = Field(10.0, ge=0)
    """The same for people of an earlier shot, who return by their appearance alone."""

    birth_hits: int = Field(3, ge=1)
    """Detections that confirm a new person. Earlier ones are then reported too."""
    birth_share: float = Field(0.6, gt=0, le=1)
    """Share of the frames since the first detection that must have one: 3 of 5 by default."""
    birth_seconds: float = Field(0.1, ge=0)
    """Seconds between the first and the last of them, at least."""

    gate: float = Field(6.0, gt=0)
    """Speed, in metres per second, by which a person may differ from the prediction since last seen."""
    gate_deviations: float = Field(4.0, gt=0)
    """Standard deviations of the position noise by which the gate is widened."""
    noise_floor: float = Field(0.03, gt=0)
    """Standard deviation of detected positions close to the camera, in metres."""
    noise_lateral: float = Field(0.01, ge=0)
    """Standard deviation across the line of sight, in metres per metre of distance."""
    noise_depth: float = Field(0.05, ge=0)
    """The same along the line of sight."""
    speed: float = Field(2.0, gt=0)
    """Standard deviation of the velocity of a new person, in metres per second."""
    speed_drift: float = Field(3.0, ge=0)
    """Growth of the standard deviation of velocity, in metres per second per square root of a second."""
    slowing: float = Field(2.0, gt=0)
    """Seconds after which the velocity of a lost person has fallen to 37 %."""

    position_weight: float = Field(1.0, ge=0)
    """Weight of the position: its Mahalanobis distance in the camera frame."""
    position_seconds: float = Field(0.5, gt=0)
    """Seconds unseen after which that weight has fallen to 37 %, because predictions become uncertain."""
    position_scale: float = Field(3.0, gt=0)
    """Its scale, in standard deviations."""
    joints_weight: float = Field(1.0, ge=0)
    """Weight of 1 - object keypoint similarity of the 14 LSP joints in the picture."""
    joints_seconds: float = Field(0.25, gt=0)
    """Seconds unseen after which that weight has fallen to 37 %, because poses change."""
    feature_weight: float = Field(0.5, ge=0)
    """Weight of the cosine distance of features."""
    feature_scale: float = Field(0.2, gt=0)
    """Its scale; distances are between 0 and 2."""
    shape_weight: float = Field(0.5, ge=0)
    """Weight of the Euclidean distance of shape coefficients (betas)."""
    shape_scale: float = Field(2.0, gt=0)
    """Its scale, in coefficients."""
    appearance_seconds: float = Field(1.0, gt=0)
    """Seconds over which features and shapes are averaged."""
    lost_cost: float = Field(0.2, ge=0)
    """Cost added for a person lost for `remember` seconds, less for shorter times, so that those in view win."""
    match_cost: float = Field(0.6, gt=0)
    """Cost from which track and detection are not matched."""

    return_speed: float = Field(12.0, gt=0)
    """Re-identification: the gate of a lost person, in metres per second."""
    return_cost: float = Field(0.3, ge=0)
    """Re-identification: mean of the terms of feature and shape from which a new person is not the lost one. 0: off."""
    return_margin: float = Field(0.1, ge=0)
    """Re-identification: by how much the next best lost or new person must be worse."""

    published: PublishedTrackerConfig = PublishedTrackerConfig()

    @model_validator(mode="after")
    def _has_a_cost(self) -> TrackerConfig:
        if self.position_weight + self.joints_weight + self.feature_weight + self.shape_weight == 0:
            raise ValueError("all weights are 0: tracks and detections cannot be compared")
        if self.keep_score > self.score:
            raise ValueError(f"keep_score {self.keep_score:g} is above score {self.score:g}")
        if not isinstance(self.people, str) and self.people < 1:
            raise ValueError(f"people is {self.people}, expected all, largest or a number from 1")
        return self
