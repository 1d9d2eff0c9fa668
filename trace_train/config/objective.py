"""What is optimised, and how: loss weights, optimiser, stages."""

from __future__ import annotations

from pydantic import Field

from trace_train.config.part import Part


class Stage(Part):
    """A stretch of training with its own batch shape."""

    share: float = Field(1.0, gt=0, le=1)
    """Share of all steps."""
    clips: int = Field(6, ge=1)
    """Clips in a step, those of all processes together."""
    frames: int = Field(10, ge=1)
    """Frames of a clip."""


class LossConfig(Part):
    """Weights of the loss terms (training.md 1.3); 0 switches a term off."""

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


class OptimConfig(Part):
    """The optimiser and its schedule: linear warm-up, then a cosine to `final_lr`."""

    lr: float = Field(1e-4, gt=0)
    """Peak learning rate."""
    final_lr: float = Field(0.05, ge=0, le=1)
    """Learning rate at the last step, as a share of the peak."""
    warmup: int = Field(500, ge=0)
    """Steps of linear warm-up."""
    weight_decay: float = Field(0.01, ge=0)
    """Decoupled weight decay of matrices and kernels."""
    clip_norm: float = Field(10.0, gt=0)
    """Largest norm of the whole gradient."""
    ema: float = Field(0.0, ge=0, lt=1)
    """Decay of the averaged weights that are evaluated; 0 evaluates the raw ones."""
    frozen: tuple[str, ...] | None = None
    """Patterns of names of parameters that are not trained, as `backbone.*`. None chooses: the backbone, where imported
    weights filled it; a run keeps what was chosen."""
