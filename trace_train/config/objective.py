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

    def weights(self) -> dict[str, float]:
        """The weight of each term by its name."""
        return self.model_dump()


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
