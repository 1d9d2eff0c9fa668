"""What is optimised, and how: loss weights, optimiser, stages."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from trace_data.errors import nearest
from trace_train.config.part import ConfigPart


class LossConfig(ConfigPart):
    """Weights of the loss terms (docs/losses.md); a term of weight 0 is not computed."""

    center_map: float = Field(200.0, ge=0)
    """Focal loss of the front-view centre map."""
    center_map_3d: float = Field(300.0 / 64, ge=0)
    """Focal loss of the 3D centre map; published as 300 on a mean over 64 depths."""
    joints2d: float = Field(600.0, ge=0)
    """Projected joints, normalised crop coordinates."""
    joints3d: float = Field(300.0, ge=0)
    """Joints relative to the hip midpoint, metres."""
    pa_joints3d: float = Field(260.0, ge=0)
    """The same after similarity alignment, metres."""
    root_rotation: float = Field(80.0, ge=0)
    """Root rotation in the camera frame, Frobenius norm."""
    body_pose: float = Field(80.0, ge=0)
    """Body-joint rotations, Frobenius norm."""
    shape: float = Field(60.0, ge=0)
    """Shape coefficients, with a pull to the mean where they are unknown."""
    camera: float = Field(100.0, ge=0)
    """Camera triple."""
    shape_consistency: float = Field(5.0, ge=0)
    """Shape coefficients against their mean along a track."""
    motion_offsets: float = Field(300.0, ge=0)
    """Change of the camera triple from frame to frame."""
    world_rotation: float = Field(40.0, ge=0)
    """How the root turned in the world from each frame of a track to each other one, rad."""
    world_root: float = Field(80.0, ge=0)
    """Root rotation in the world, Frobenius norm."""
    world_translation: float = Field(400.0, ge=0)
    """How the hips moved in the world from each frame of a track to each other one, metres."""
    world_scale: float = Field(0.0, ge=0)
    """Logarithm of the ratio between a predicted and a true trajectory's spread; a weak pull where one is wanted."""
    world_joints2d: float = Field(80.0, ge=0)
    """Joints projected into the fixed view of a track's first frame, its normalised coordinates."""
    world_velocity: float = Field(6.0, ge=0)
    """Velocity of the hips in the world, m/s. Not in the published training."""
    foot_velocity: float = Field(6.0, ge=0)
    """Velocity of ankles and toes in the world, m/s. Not in the published training."""
    foot_contact: float = Field(6.0, ge=0)
    """Speed beyond 0.3 m/s of feet that stand, m/s. Not in the published training."""
    camera_consistency: float = Field(0.0, ge=0)
    """First and second differences of the camera triple along time."""
    root_consistency: float = Field(0.0, ge=0)
    """First and second differences of the root rotation along time."""
    pose_prior: float = Field(0.0, ge=0)
    """How unlikely a pose is by SMPLify's mixture (1.6 there); needs `supervision.pose_prior_file`."""


class Stage(ConfigPart):
    """A stretch of training with its own batch shape, and with what else differs in it."""

    name: str | None = None
    """What the log calls it; None: its number."""
    share: float = Field(1.0, gt=0, le=1)
    """Share of all steps."""
    clips: int = Field(6, ge=1)
    """Clips in a step, those of all processes together."""
    frames: int = Field(10, ge=1)
    """Frames of a clip."""
    lr: float | None = Field(None, gt=0)
    """As `optim.lr`, which holds where this is None."""
    frozen: tuple[str, ...] | None = None
    """As `optim.frozen`, which holds where this is None."""
    loss: dict[str, float] = Field(default_factory=dict)
    """Weights that differ from those in `loss`, by the name of the term or a pattern, as in `{"world_*": 0}`."""
    camera_probability: float | None = Field(None, ge=0, le=1)
    """As `data.camera_probability`, which holds where this is None."""

    @field_validator("loss")
    @classmethod
    def _terms_exist(cls, loss: dict[str, float]) -> dict[str, float]:
        for pattern, weight in loss.items():
            if not any(fnmatchcase(name, pattern) for name in LossConfig.model_fields):
                near = nearest(pattern, LossConfig.model_fields)
                raise ValueError(f"no term is called {pattern!r}" + (f", did you mean {near!r}?" if near else ""))
            if not weight >= 0:
                raise ValueError(f"the weight of {pattern} is {weight}, expected 0 or more")
        return loss


class GroupRule(ConfigPart):
    """Parameters that are trained otherwise than the rest; of several rules that fit one, the first holds."""

    pattern: str
    """Name of a module or parameter, or a pattern, as in `backbone`, `*_head`, `det_head.*.bias`."""
    lr_factor: float = Field(1.0, gt=0)
    """Their learning rate as a multiple of the stage's."""
    weight_decay: float | None = Field(None, ge=0)
    """As `optim.weight_decay`, which holds where this is None."""


class OptimConfig(ConfigPart):
    """The optimiser, its schedule, and which parameters it is given (docs/training.md#what-is-trained)."""

    optimizer: Literal["adamw", "adam"] = "adamw"
    """`adam` adds weight decay to the gradient; published training used it, without decay."""
    lr: float = Field(1e-4, gt=0)
    """Peak learning rate."""
    betas: tuple[float, float] = (0.9, 0.99)
    """Decay of the averages of the gradient and of its square."""
    schedule: Literal["cosine", "steps", "constant"] = "cosine"
    """After the warm-up: a cosine to `final_lr`, drops at `milestones`, or nothing."""
    warmup: int = Field(500, ge=0)
    """Steps of linear warm-up."""
    final_lr: float = Field(0.05, ge=0, le=1)
    """Learning rate at the end of the cosine, as a share of the peak."""
    milestones: tuple[float, ...] = (0.75,)
    """Shares of all steps at which `steps` multiplies the learning rate by `factor`."""
    factor: float = Field(0.1, gt=0, le=1)
    """What a milestone multiplies the learning rate by."""
    weight_decay: float = Field(0.01, ge=0)
    """Weight decay of matrices and kernels; biases and normalisation have none."""
    clip_norm: float = Field(10.0, gt=0)
    """Largest norm of the whole gradient."""
    accumulate: int = Field(1, ge=1)
    """Parts in which the clips of a step are computed one after the other, where memory is short. The gradient is that
    of the whole, apart from batch normalisation, which sees the parts."""
    max_skipped: int = Field(20, ge=1)
    """Steps in a row that fp16 may skip because their gradient overflowed."""
    ema: float = Field(0.0, ge=0, lt=1)
    """Decay of the averaged weights that are evaluated; 0 evaluates the raw ones."""
    groups: tuple[GroupRule, ...] = ()
    """Parameters that are trained otherwise than the rest."""
    frozen: tuple[str, ...] | None = None
    """Modules or parameters that are not trained, by name or pattern: no gradient, no place in the optimiser, and their
    normalisation stays as it is. None chooses: the backbone, where imported weights filled it; a run keeps what was
    chosen."""

    @field_validator("milestones")
    @classmethod
    def _in_order(cls, milestones: tuple[float, ...]) -> tuple[float, ...]:
        if list(milestones) != sorted(milestones) or not all(0 < share <= 1 for share in milestones):
            raise ValueError(f"{milestones}, expected rising shares between 0 and 1")
        return milestones


class SupervisionConfig(ConfigPart):
    """How people are read in training, and what else is known of them (docs/losses.md)."""

    center_jitter: int = Field(0, ge=0, le=3)
    """How far from annotated centres people are read, at most, in cells of the maps: detected ones are a cell off.
    Drawn by the clip, the same each time."""
    pose_prior_file: Path | None = None
    """`gmm_08.pkl` of SMPLify, which `loss.pose_prior` needs; read only when that has a weight."""
