"""Declares every loss by name: formula, weight, unit and normal range.

The table defines `loss.*` of the configuration, the terms of the objective, the columns of a run's progress table, the
groups and units of reports, and health warnings. docs/losses.md gives the formulas; docs/extending.md shows how to add
a loss.

Normal ranges follow from units and hold for any configuration. Values in brackets were measured on synthetic people
with preset debug and a temporal network of that size. For preset trace on real people they are estimates: no such run
has been made.
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
                "a focal loss of logits that begin at -4: a missed centre costs ln(1 + e^4) = 4, the background of "
                "1,024 to 16,384 cells about as much again. The bias alone takes most of it away within the first "
                "hundreds of steps (debug: 0.28 of the first ten steps at step 100)"
            ),
            above="centres outside their maps, centre maps in another size, or a learning rate that is too high",
            below="frames without people count as annotated",
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
            why="the same over 8 to 64 depths (debug 0.26 at step 100)",
            above=(
                "depths outside the camera's range, a wrong unit of translations, or a learning rate that is too high"
            ),
            below="frames without people count as annotated",
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
                "joints that count lie inside the crop, which is two half widths wide; the mean camera puts people in "
                "the middle, 0.3 to 0.5 away (debug 0.33, at step 100 0.16)"
            ),
            above=(
                "pixels of the frame where those of the crop belong, a wrong unit of translations, or a diverging "
                "camera"
            ),
            below="targets that are the predictions",
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
                "joints lie within a metre of the hips, on average 0.4 m: two bodies turned against each other differ "
                "by 0.3 to 0.5 m, the mean body in the camera by 0.2 to 0.3 (debug 0.25, at step 100 0.15)"
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
        doc="The same after similarity alignment, metres.",
        group="pose",
        heading="joints",
        unit="m",
        normal=Normal(
            range=(0.001, 0.25),
            rise=2,
            why=(
                "after the best similarity the mean pose is 0.08 to 0.12 m off people who move (debug 0.095); a heap "
                "of random points of a body's size would be 0.3 m off"
            ),
            above="joints in another order, in millimetres, or left and right exchanged",
            below="one pose only, or joints at zero that count as annotated",
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
                "at most 2.83, which is a half turn; random turns are 2.2 apart on average, people seen from all sides "
                "1.8 from their mean (debug 1.8, at step 100 0.55)"
            ),
            above=(
                "another frame (world for camera), an axis that points the other way, or another order of the 6D "
                "numbers"
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
                "joints turn by 0.1 to 0.3 rad from the mean pose, times the square root of two (debug 0.25, then 0.22)"
            ),
            above="another order of the joints or of the 6D numbers, or axis-angle in degrees",
            below="one pose only",
        ),
    ),
    "shape": Loss(
        formula=terms.shape,
        scope="frame",
        weight=60.0,
        doc="Shape coefficients, with a pull to the mean where they are unknown.",
        group="shape",
        heading="shape",
        unit="weighted betas / 20",
        normal=Normal(
            range=(0.0005, 0.6),
            rise=4,
            why="betas are normally distributed, so ten of them are 3 away from zero, weighted 2 (debug 0.08 to 0.1)",
            above="betas of another model (SMPL 1.0.0 scales them otherwise)",
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
            why="scale from 0 to 4 and places from -1 to 1, around their means (debug 0.31, at step 100 0.18)",
            above="translations in millimetres, or another camera constant",
            below="one camera for all",
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
                "ten betas of one person from frame to frame; a fresh network gives everybody the same, so it begins "
                "near zero and rises while shapes are learnt (temporal network in miniature: 0.02, then up to 0.15)"
            ),
            above="people mixed up along a track, or a diverging network",
            below="never unusual",
        ),
    ),
    "motion_offsets": Loss(
        formula=terms.motion_offsets,
        scope="world",
        weight=300.0,
        doc="Change of the camera triple from frame to frame.",
        group="motion",
        heading="world",
        unit="camera triple a frame",
        normal=Normal(
            range=(0, 1),
            rise=5,
            why=(
                "a walker at 5 m moves by some hundredths of a triple from frame to frame; a fresh network is at rest, "
                "give or take its first weights (miniature: 0.29, at step 50 0.04)"
            ),
            above="frames in another order, people mixed up along a track, or translations in millimetres",
            below="never unusual",
        ),
    ),
    "world_rotation": Loss(
        formula=terms.world_rotation,
        scope="world",
        weight=40.0,
        doc="How the root turned in the world from each frame of a track to each other one, rad.",
        group="world",
        heading="world",
        unit="rad",
        normal=Normal(
            range=(0.0005, 1.8),
            rise=5,
            why=(
                "within the second or two of a clip people turn by less than half a circle (miniature 0.46, then 0.2 "
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
                "as root_rotation; the world is the camera frame of the track's first frame (miniature 1.6, at step 50 "
                "1.3)"
            ),
            above="another frame, an axis that points the other way, or the camera's rotation applied backwards",
            below="rotations that are all the same",
        ),
    ),
    "world_translation": Loss(
        formula=terms.world_translation,
        scope="world",
        weight=400.0,
        doc="How the hips moved in the world from each frame of a track to each other one, metres.",
        group="world",
        heading="world",
        unit="m",
        normal=Normal(
            range=(0.0005, 5),
            rise=5,
            why="within the second or two of a clip runners move by less than 5 m (miniature 0.44, at step 50 0.09)",
            above="translations in millimetres, or extrinsics of another sequence",
            below="people who stand still",
        ),
    ),
    "world_scale": Loss(
        formula=terms.world_scale,
        scope="world",
        weight=0.0,
        doc=(
            "Logarithm of the ratio between a predicted and a true trajectory's spread; a weak pull where one is "
            "wanted."
        ),
        group="world",
        heading="world",
        unit="logarithm of a ratio",
        normal=Normal(
            range=(0, 5),
            rise=5,
            why=(
                "5 is a trajectory 150 times too large or too small; 1 cm is added to both, so that people at rest "
                "have a scale"
            ),
            above="translations in another unit",
            below="never unusual",
        ),
    ),
    "world_joints2d": Loss(
        formula=terms.world_joints2d,
        scope="world",
        weight=80.0,
        doc="Joints projected into the fixed view of a track's first frame, its normalised coordinates.",
        group="world",
        heading="world",
        unit="half widths of the crop",
        normal=Normal(
            range=(0.001, 4),
            rise=3,
            why="as joints2d, for people who may have left the first frame's view (miniature 0.43, at step 50 0.26)",
            above="extrinsics of another sequence, or crops that are not those of the frames",
            below="targets that are the predictions",
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
                "walkers make 1.4 m/s, runners 5; a depth that trembles by 10 cm a frame makes 2.5 (miniature 3.5, at "
                "step 50 0.7)"
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
            why="feet swing at twice the walker's speed (miniature 5, at step 50 1.8)",
            above="translations or joints in millimetres, or a wrong frame rate",
            below="people who stand still",
        ),
    ),
    "foot_contact": Loss(
        formula=terms.foot_contact,
        scope="world",
        weight=6.0,
        doc="Speed beyond 0.3 m/s of feet that stand, m/s. Not in the published training.",
        group="world",
        heading="feet",
        unit="m/s",
        normal=Normal(
            range=(0, 40),
            rise=5,
            why="how fast feet slide that stand (miniature 4.7, at step 50 0.8)",
            above="translations or joints in millimetres, or a wrong frame rate",
            below="never unusual",
        ),
    ),
    "camera_consistency": Loss(
        formula=terms.camera_consistency,
        scope="track",
        weight=0.0,
        doc="First and second differences of the camera triple along time.",
        group="location",
        heading="camera",
        unit="camera triple a frame",
        normal=Normal(
            range=(0, 2),
            rise=5,
            why="as motion_offsets, and the differences of these",
            above="frames in another order, or people mixed up along a track",
            below="never unusual",
        ),
    ),
    "root_consistency": Loss(
        formula=terms.root_consistency,
        scope="track",
        weight=0.0,
        doc="First and second differences of the root rotation along time.",
        group="pose",
        heading="pose",
        unit="Frobenius norm a frame",
        normal=Normal(
            range=(0, 3),
            rise=5,
            why="nobody makes half a turn from one frame to the next",
            above="frames in another order, or people mixed up along a track",
            below="never unusual",
        ),
    ),
    "pose_prior": Loss(
        formula=terms.pose_prior,
        scope="frame",
        weight=0.0,
        doc="How unlikely a pose is by SMPLify's mixture (1.6 there); needs `supervision.pose_prior_file`.",
        group="pose",
        heading="pose",
        unit="hundredths of the energy",
        normal=Normal(
            range=(0, 200),
            rise=20,
            why=(
                "SMPLify's mixture; the first 8 hundredths cost nothing, poses of people stay under that, and joints "
                "turned at random by up to half a circle reach some tens to hundreds (argued, not measured: the file "
                "is licensed)"
            ),
            above="another order of the joints or of the 6D numbers, or a diverging network",
            below="never unusual",
        ),
    ),
}
"""In the order of the configuration."""


def losses_of(frames: int, temporal: bool) -> dict[str, Loss]:
    """The losses that apply to clips of `frames` frames, those of single frames first. `temporal`: the network has
    temporal parts."""
    scopes = ("frame", *(("track",) if frames > 1 else ()), *(("world",) if frames > 1 and temporal else ()))
    return {name: loss for scope in scopes for name, loss in LOSSES.items() if loss.scope == scope}
