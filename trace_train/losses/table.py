"""Declares every loss by name: formula, weight, unit and normal range.

The table defines `loss.*` of the configuration, the terms of the objective, the columns of a run's progress table, the
groups and units of reports, and health warnings. docs/losses.md gives the formulas; docs/extending.md shows how to add
a loss.

Normal ranges follow from units and hold for any configuration. Values in brackets were measured on synthetic people,
with preset debug or with a temporal network of that size. For preset trace on real people they are estimates: no such
run has been made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from trace_train.losses import terms
from trace_train.losses.loss_inputs import LossInputs
from trace_train.losses.reduce import Term

Group = Literal["detection", "location", "pose", "shape", "motion", "world"]
"""Kind of loss, in the order of detecting, locating, posing and tracking a body."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Normal:
    """Normal values of a loss, in its own unit."""

    range: tuple[float, float]
    """Minimum and maximum at steps 1, 100 and 1000: plausible values given the unit."""
    fall: tuple[float, float] | None = None
    """Maximum ratio to the value of step 1 at steps 100 and 1000, for losses that fall early. Not checked for runs from
    loaded weights, nor at step 100 if learning rates were too low until then."""
    rise: float
    """Maximum ratio to the value of step 1 at steps 100 and 1000 for any run."""
    why: str
    """Reason for the numbers."""
    above: str
    """Usual causes of values that are too large."""
    below: str
    """Usual causes of values that are too small."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """One loss."""

    formula: Callable[[LossInputs], Term]
    scope: Literal["frame", "track", "world"]
    """Clips it applies to: all (`frame`), those of several frames (`track`), those of several frames in a network with
    temporal parts (`world`)."""
    weight: float
    """Default of `loss.NAME`; 0 is not computed."""
    doc: str
    """Description of `loss.NAME` for docs/configuration.md."""
    group: Group
    """Group in reports."""
    heading: str
    """Column of the progress table; losses with the same heading share a column."""
    unit: str
    """Unit of its value."""
    normal: Normal


LOSSES: Mapping[str, Loss] = {
    "center_map": Loss(
        formula=terms.center_map,
        scope="frame",
        weight=200.0,
        doc="Focal loss of the front-view centre map.",
        group="detection",
        heading="centre",
        unit="per centre",
        normal=Normal(
            range=(0.001, 60),
            fall=(0.9, 0.7),
            rise=2,
            why=(
                "focal loss of logits that start at -4: a missed centre costs ln(1 + e^4) = 4, and the 1,024 to 16,384 "
                "background cells together cost about as much. Learning the bias removes most of this within the first "
                "few hundred steps (debug: at step 100, 0.28 of the first ten steps)"
            ),
            above="centres outside their maps, centre maps of another size, or a learning rate that is too high",
            below="frames without people that count as annotated",
        ),
    ),
    "center_map_3d": Loss(
        formula=terms.center_map_3d,
        scope="frame",
        weight=300.0 / 64,
        doc="Focal loss of the 3D centre map; published as 300 on a mean over 64 depths.",
        group="detection",
        heading="centre",
        unit="per centre",
        normal=Normal(
            range=(0.001, 120),
            fall=(0.9, 0.7),
            rise=2,
            why="as center_map, over 8 to 64 depths (debug: 0.26 at step 100)",
            above=(
                "depths outside the camera's range, translations in the wrong unit, or a learning rate that is too high"
            ),
            below="frames without people that count as annotated",
        ),
    ),
    "joints2d": Loss(
        formula=terms.joints2d,
        scope="frame",
        weight=600.0,
        doc="Projected joints, normalised crop coordinates.",
        group="location",
        heading="2D",
        unit="half widths of the crop",
        normal=Normal(
            range=(0.001, 1.2),
            rise=2,
            why=(
                "joints that count lie inside the crop, which is two half widths wide; the mean camera places people "
                "in the middle, 0.3 to 0.5 from where they are (debug: 0.33, and 0.16 at step 100)"
            ),
            above="frame pixels in place of crop pixels, translations in the wrong unit, or a diverging camera",
            below="predictions used as their own targets",
        ),
    ),
    "joints3d": Loss(
        formula=terms.joints3d,
        scope="frame",
        weight=300.0,
        doc="Joints relative to the hip midpoint, metres.",
        group="pose",
        heading="joints",
        unit="m",
        normal=Normal(
            range=(0.002, 0.7),
            rise=2,
            why=(
                "joints lie within a metre of the hips, on average at 0.4 m: two bodies that face different ways "
                "differ by 0.3 to 0.5 m, the mean body in the camera frame by 0.2 to 0.3 (debug: 0.25, and 0.15 at "
                "step 100)"
            ),
            above=(
                "joints in millimetres or centimetres, left and right exchanged, or an axis that points the other way"
            ),
            below="joints in kilometres, or joints at zero that count as annotated",
        ),
    ),
    "pa_joints3d": Loss(
        formula=terms.pa_joints3d,
        scope="frame",
        weight=260.0,
        doc="Joints after similarity alignment, metres.",
        group="pose",
        heading="joints",
        unit="m",
        normal=Normal(
            range=(0.001, 0.25),
            rise=2,
            why=(
                "after similarity alignment, the mean pose is 0.08 to 0.12 m away from people in motion (debug: "
                "0.095); random points spread over the size of a body would be 0.3 m away"
            ),
            above="joints in another order, in millimetres, or left and right exchanged",
            below="the same pose for everybody, or joints at zero that count as annotated",
        ),
    ),
    "root_rotation": Loss(
        formula=terms.root_rotation,
        scope="frame",
        weight=80.0,
        doc="Root rotation in the camera frame, Frobenius norm.",
        group="pose",
        heading="pose",
        unit="Frobenius norm",
        normal=Normal(
            range=(0.005, 2.4),
            rise=1.5,
            why=(
                "at most 2.83, which is half a turn; random rotations are 2.2 apart on average, and people seen from "
                "all sides 1.8 from their mean (debug: 1.8, and 0.55 at step 100)"
            ),
            above=(
                "the wrong frame (world instead of camera), an axis that points the other way, or 6D numbers in "
                "another order"
            ),
            below="rotations that are all the same",
        ),
    ),
    "body_pose": Loss(
        formula=terms.body_pose,
        scope="frame",
        weight=80.0,
        doc="Body-joint rotations, Frobenius norm.",
        group="pose",
        heading="pose",
        unit="Frobenius norm",
        normal=Normal(
            range=(0.005, 1.2),
            rise=2,
            why=(
                "joints are 0.1 to 0.3 rad away from the mean pose, times the square root of two (debug: 0.25, then "
                "0.22)"
            ),
            above="joints or 6D numbers in another order, or axis-angle in degrees",
            below="the same pose for everybody",
        ),
    ),
    "shape": Loss(
        formula=terms.shape,
        scope="frame",
        weight=60.0,
        doc="Shape coefficients, pulled towards the mean where they are unknown.",
        group="shape",
        heading="shape",
        unit="weighted betas / 20",
        normal=Normal(
            range=(0.0005, 0.6),
            rise=4,
            why=(
                "betas are normally distributed, so ten of them have a norm of about 3, or 2 when weighted (debug: "
                "0.08 to 0.1)"
            ),
            above="betas of another model (SMPL 1.0.0 scales them differently)",
            below="betas that are all zero",
        ),
    ),
    "camera": Loss(
        formula=terms.camera,
        scope="frame",
        weight=100.0,
        doc="Camera triple.",
        group="location",
        heading="camera",
        unit="camera triple",
        normal=Normal(
            range=(0.002, 3),
            rise=2,
            why=(
                "scales from 0 to 4 and positions from -1 to 1, compared with their means (debug: 0.31, and 0.18 at "
                "step 100)"
            ),
            above="translations in millimetres, or another camera constant",
            below="the same camera triple for everybody",
        ),
    ),
    "shape_consistency": Loss(
        formula=terms.shape_consistency,
        scope="track",
        weight=5.0,
        doc="Shape coefficients against their mean along a track.",
        group="shape",
        heading="shape",
        unit="betas",
        normal=Normal(
            range=(0, 3),
            rise=30,
            why=(
                "ten betas of one person from frame to frame; an untrained network gives everybody the same shape, so "
                "the loss starts near zero and rises while shapes are learnt (temporal: 0.02, then up to 0.15)"
            ),
            above="different people in one track, or a diverging network",
            below="a small value is normal",
        ),
    ),
    "motion_offsets": Loss(
        formula=terms.motion_offsets,
        scope="world",
        weight=300.0,
        doc="Change of the camera triple from frame to frame.",
        group="motion",
        heading="world",
        unit="camera triple per frame",
        normal=Normal(
            range=(0, 1),
            rise=5,
            why=(
                "a walker at 5 m moves by a few hundredths of a triple per frame; an untrained network predicts almost "
                "no motion (temporal: 0.29, and 0.04 at step 50)"
            ),
            above="frames in another order, different people in one track, or translations in millimetres",
            below="a small value is normal",
        ),
    ),
    "world_rotation": Loss(
        formula=terms.world_rotation,
        scope="world",
        weight=40.0,
        doc="Rotation of the root in the world between any two frames of a track, rad.",
        group="world",
        heading="world",
        unit="rad",
        normal=Normal(
            range=(0.0005, 1.8),
            rise=5,
            why=(
                "within the second or two of a clip, people turn by less than half a circle (temporal: 0.46, then 0.2 "
                "to 0.4)"
            ),
            above="frames in another order, or the camera's rotation applied twice or backwards",
            below="people and cameras that do not turn at all",
        ),
    ),
    "world_root": Loss(
        formula=terms.world_root,
        scope="world",
        weight=80.0,
        doc="Root rotation in the world, Frobenius norm.",
        group="world",
        heading="world",
        unit="Frobenius norm",
        normal=Normal(
            range=(0.005, 2.4),
            rise=1.5,
            why=(
                "as root_rotation; the world is the camera frame of the track's first frame (temporal: 1.6, and 1.3 at "
                "step 50)"
            ),
            above="the wrong frame, an axis that points the other way, or the camera's rotation applied backwards",
            below="rotations that are all the same",
        ),
    ),
    "world_translation": Loss(
        formula=terms.world_translation,
        scope="world",
        weight=400.0,
        doc="Movement of the hips in the world between any two frames of a track, metres.",
        group="world",
        heading="world",
        unit="m",
        normal=Normal(
            range=(0.0005, 5),
            rise=5,
            why=(
                "within the second or two of a clip, even runners move by less than 5 m (temporal: 0.44, and 0.09 at "
                "step 50)"
            ),
            above="translations in millimetres, or extrinsics of another sequence",
            below="people who stand still",
        ),
    ),
    "world_scale": Loss(
        formula=terms.world_scale,
        scope="world",
        weight=0.0,
        doc=(
            "Logarithm of the ratio between the spread of the predicted and of the true trajectory; for a weak pull, "
            "if one is wanted."
        ),
        group="world",
        heading="world",
        unit="logarithm of a ratio",
        normal=Normal(
            range=(0, 5),
            rise=5,
            why=(
                "5 is a trajectory 150 times too large or too small; 1 cm is added to both spreads, so that people at "
                "rest have a scale"
            ),
            above="translations in the wrong unit",
            below="a small value is normal",
        ),
    ),
    "world_joints2d": Loss(
        formula=terms.world_joints2d,
        scope="world",
        weight=80.0,
        doc="Joints projected into the fixed view of a track's first frame, normalised coordinates of that view.",
        group="world",
        heading="world",
        unit="half widths of the crop",
        normal=Normal(
            range=(0.001, 4),
            rise=3,
            why=(
                "as joints2d, for people who may have left the first frame's view (temporal: 0.43, and 0.26 at step 50)"
            ),
            above="extrinsics of another sequence, or crops that do not belong to the frames",
            below="predictions used as their own targets",
        ),
    ),
    "world_velocity": Loss(
        formula=terms.world_velocity,
        scope="world",
        weight=6.0,
        doc="Velocity of the hips in the world, m/s. Not in the published training.",
        group="world",
        heading="world",
        unit="m/s",
        normal=Normal(
            range=(0.005, 30),
            rise=5,
            why=(
                "people walk at 1.4 m/s and run at 5; a depth that jitters by 10 cm per frame gives 2.5 (temporal: "
                "3.5, and 0.7 at step 50)"
            ),
            above="translations in millimetres, or a wrong frame rate",
            below="people who stand still",
        ),
    ),
    "foot_velocity": Loss(
        formula=terms.foot_velocity,
        scope="world",
        weight=6.0,
        doc="Velocity of ankles and toes in the world, m/s. Not in the published training.",
        group="world",
        heading="feet",
        unit="m/s",
        normal=Normal(
            range=(0.005, 40),
            rise=5,
            why="feet swing at twice the walker's speed (temporal: 5, and 1.8 at step 50)",
            above="translations or joints in millimetres, or a wrong frame rate",
            below="people who stand still",
        ),
    ),
    "foot_contact": Loss(
        formula=terms.foot_contact,
        scope="world",
        weight=6.0,
        doc="Speed above 0.3 m/s of feet that stand, m/s. Not in the published training.",
        group="world",
        heading="feet",
        unit="m/s",
        normal=Normal(
            range=(0, 40),
            rise=5,
            why="how fast standing feet slide (temporal: 4.7, and 0.8 at step 50)",
            above="translations or joints in millimetres, or a wrong frame rate",
            below="a small value is normal",
        ),
    ),
    "camera_consistency": Loss(
        formula=terms.camera_consistency,
        scope="track",
        weight=0.0,
        doc="First and second differences of the camera triple along time.",
        group="location",
        heading="camera",
        unit="camera triple per frame",
        normal=Normal(
            range=(0, 2),
            rise=5,
            why="as motion_offsets, together with their differences",
            above="frames in another order, or different people in one track",
            below="a small value is normal",
        ),
    ),
    "root_consistency": Loss(
        formula=terms.root_consistency,
        scope="track",
        weight=0.0,
        doc="First and second differences of the root rotation along time.",
        group="pose",
        heading="pose",
        unit="Frobenius norm per frame",
        normal=Normal(
            range=(0, 3),
            rise=5,
            why="nobody makes half a turn from one frame to the next",
            above="frames in another order, or different people in one track",
            below="a small value is normal",
        ),
    ),
    "pose_prior": Loss(
        formula=terms.pose_prior,
        scope="frame",
        weight=0.0,
        doc="How unlikely a pose is under a mixture (SMPLify's weight: 1.6); needs `supervision.pose_prior_file`.",
        group="pose",
        heading="pose",
        unit="hundredths of the energy",
        normal=Normal(
            range=(0, 200),
            rise=20,
            why=(
                "SMPLify's mixture; the first 8 hundredths cost nothing, real poses stay below that, and joints turned "
                "at random by up to half a circle reach tens to hundreds (reasoned, not measured: the file is "
                "licensed)"
            ),
            above="joints or 6D numbers in another order, or a diverging network",
            below="a small value is normal",
        ),
    ),
}
"""In the order of the configuration."""


def losses_of(frames: int, temporal: bool) -> dict[str, Loss]:
    """The losses that apply to clips of `frames` frames, those of single frames first. `temporal`: the network has
    temporal parts."""
    scopes = ("frame", *(("track",) if frames > 1 else ()), *(("world",) if frames > 1 and temporal else ()))
    return {name: loss for scope in scopes for name, loss in LOSSES.items() if loss.scope == scope}
