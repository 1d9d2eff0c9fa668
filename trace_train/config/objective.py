"""What is optimised, and how: loss weights, optimiser, stages."""

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
"""A key for each of `LOSSES`: `trace_train/losses/table.py` is where one is added."""


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
