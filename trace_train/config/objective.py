"""Training objective: loss weights, optimiser, stages."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field, create_model, field_validator

from trace_data.errors import nearest
from trace_train.config.part import ConfigPart
from trace_train.losses.table import LOSSES

if TYPE_CHECKING:

    class LossConfig(ConfigPart):
        def __getattr__(self, name: str) -> float: ...

else:
    LossConfig = create_model(
        "LossConfig",
        __base__=ConfigPart,
        __module__=__name__,
        __doc__="Weights of the loss terms (docs/losses.md); a term of weight 0 is not computed.",
        **{name: (float, Field(loss.weight, ge=0, description=loss.doc)) for name, loss in LOSSES.items()},
    )
"""One key per entry of `LOSSES`; new losses are added in `trace_train/losses/table.py`."""


class Stage(ConfigPart):
    """A part of training with its own batch shape and, optionally, its own settings."""

    name: str | None = None
    """Name in the log; None: its number."""
    share: float = Field(1.0, gt=0, le=1)
    """Share of all steps."""
    clips: int = Field(6, ge=1)
    """Clips per step, over all processes."""
    frames: int = Field(10, ge=1)
    """Frames per clip."""
    lr: float | None = Field(None, gt=0)
    """As `optim.lr`, which holds where this is None."""
    frozen: tuple[str, ...] | None = None
    """As `optim.frozen`, which holds where this is None."""
    loss: dict[str, float] = Field(default_factory=dict)
    """Loss weights that override those in `loss`, by term or pattern, for example `{"world_*": 0}`."""
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
    """Optimiser settings for some parameters; the first rule that matches a parameter applies."""

    pattern: str
    """Name of a module or parameter, or a pattern, for example `backbone`, `*_head`, `det_head.*.bias`."""
    lr_factor: float = Field(1.0, gt=0)
    """Their learning rate as a multiple of the stage's."""
    weight_decay: float | None = Field(None, ge=0)
    """As `optim.weight_decay`, which holds where this is None."""


class OptimConfig(ConfigPart):
    """The optimiser, its learning-rate schedule and the parameters it trains (docs/training.md#what-is-trained)."""

    optimizer: Literal["adamw", "adam"] = "adamw"
    """`adam` adds weight decay to the gradient; the published training used it without decay."""
    lr: float = Field(1e-4, gt=0)
    """Peak learning rate."""
    betas: tuple[float, float] = (0.9, 0.99)
    """Decay rates of the running averages of the gradient and its square."""
    schedule: Literal["cosine", "steps", "constant"] = "cosine"
    """Learning rate after the warm-up: cosine decay to `final_lr`, drops at `milestones`, or constant."""
    warmup: int = Field(500, ge=0)
    """Steps of linear warm-up."""
    final_lr: float = Field(0.05, ge=0, le=1)
    """Learning rate at the end of the cosine, as a share of the peak."""
    milestones: tuple[float, ...] = (0.75,)
    """Shares of all steps at which `steps` multiplies the learning rate by `factor`."""
    factor: float = Field(0.1, gt=0, le=1)
    """Factor applied to the learning rate at each milestone."""
    weight_decay: float = Field(0.01, ge=0)
    """Weight decay of weight matrices and kernels; biases and normalisation layers have none."""
    clip_norm: float = Field(10.0, gt=0)
    """Maximum norm of the whole gradient."""
    accumulate: int = Field(1, ge=1)
    """Number of micro-batches a step is split into to save memory. The gradient equals that of the whole batch, except
    that batch normalisation sees one micro-batch at a time."""
    max_skipped: int = Field(20, ge=1)
    """Maximum number of consecutive steps skipped because the fp16 gradient overflowed."""
    ema: float = Field(0.0, ge=0, lt=1)
    """Decay of the moving average of the weights used for evaluation; 0: evaluate the weights themselves."""
    groups: tuple[GroupRule, ...] = ()
    """Settings for some of the parameters."""
    frozen: tuple[str, ...] | None = None
    """Modules or parameters that are not trained, by name or pattern: they get no gradient and are not in the
    optimiser, and their batch-normalisation statistics stay fixed. None: the backbone if its weights were imported.
    The value is fixed when a run starts."""

    @field_validator("milestones")
    @classmethod
    def _in_order(cls, milestones: tuple[float, ...]) -> tuple[float, ...]:
        if list(milestones) != sorted(milestones) or not all(0 < share <= 1 for share in milestones):
            raise ValueError(f"{milestones}, expected rising shares between 0 and 1")
        return milestones


class SupervisionConfig(ConfigPart):
    """Where people are sampled from the maps in training, how errors of pose count, and the pose prior
    (docs/losses.md)."""

    center_jitter: int = Field(0, ge=0, le=3)
    """Maximum offset, in map cells, between the annotated centre and the cell that is sampled; detected centres are
    about one cell off. Determined by the clip, the same each time."""
    joints_huber: float = Field(0.0, ge=0)
    """Error of a 3D joint, m, below which it counts quadratically (`joints3d`, `pa_joints3d`); 0: never, as published.
    A distance keeps an unsure network at the most common pose, a square moves it to the mean of what is likely."""
    pose_huber: float = Field(0.0, ge=0)
    """The same for joint rotations (`body_pose`), Frobenius norm."""
    pose_prior_file: Path | None = None
    """What `trace fit-pose-prior` writes, or SMPLify's `gmm_08.pkl`, needed by `loss.pose_prior`; read only if that
    loss has a weight."""
