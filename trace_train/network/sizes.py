"""Sizes of the network, and how its outputs are interpreted.

Plain values, independent of torch and presets. The configuration includes them as its part `network`; the network's
modules receive the whole object.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

RotationRule = Literal["composed", "additive"]
"""How the world root rotation is obtained: as a product of rotations or, for released weights, a sum in 6D."""


class NetworkSizes(BaseModel):
    """Sizes of the network, and how its outputs are interpreted.

    The defaults are the published ones (docs/reference/network.md#live-configuration).

    Raises pydantic's ValidationError for unknown names and values out of range.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    input_size: int = Field(512, ge=64, multiple_of=32)
    """Side of the square input, px."""
    width: int = Field(32, ge=4)
    """Channels of the finest HRNet branch; the others have 2, 4 and 8 times as many."""
    stem: int = Field(64, ge=4)
    """Channels of the two stem convolutions."""
    bottleneck: int = Field(64, ge=4)
    """Inner channels of the first stage's bottleneck blocks."""
    bottleneck_blocks: int = Field(4, ge=1)
    """Bottleneck blocks of the first stage."""
    stage_modules: tuple[PositiveInt, PositiveInt, PositiveInt] = (1, 4, 3)
    """Fusion modules in stages 2, 3 and 4."""
    stage_blocks: int = Field(4, ge=1)
    """Residual blocks per branch of a fusion module."""
    depth_levels: int = Field(64, ge=8)
    """Levels of the 3D centre map along depth."""
    head_channels: int = Field(128, ge=8)
    """Channels inside the map heads and of the mesh features."""
    detection_blocks: int = Field(1, ge=1)
    """Residual blocks of the head for centres, cameras and coarse positions."""
    mesh_blocks: int = Field(2, ge=1)
    """Residual blocks of the mesh-feature head."""
    motion_channels: int = Field(2, ge=0)
    """Input channels for optical flow: 2, or 0 for a network without flow."""
    bird_eye_channels: int = Field(16, ge=4)
    """Channels of the features folded into the bird's-eye view."""
    bird_eye_hidden: int = Field(512, ge=16)
    """Channels inside the bird's-eye layers."""
    regressor_hidden: int = Field(256, ge=16)
    """Hidden units of the per-person regressors."""
    temporal: bool = True
    """Whether the network has temporal features and motion and world heads. Without them every frame is processed
    independently."""
    gru_layers: int = Field(2, ge=1)
    """Layers of the convolutional GRU."""
    offset_blocks: int = Field(3, ge=0)
    """Residual blocks between feature differences and the offsets of the deformable convolution."""
    deform_groups: int = Field(8, ge=1)
    """Channel groups with separate offsets; must divide `width`."""
    motion_blocks: int = Field(2, ge=1)
    """Residual blocks of the motion head."""
    world_blocks: int = Field(6, ge=2)
    """Residual blocks of the world-motion head; the world-rotation head starts before the last one."""
    world_rotation_blocks: int = Field(1, ge=1)
    """Residual blocks of the world-rotation head: 1 in the released weights, 3 in the published training."""
    center_maps: Literal["logits", "raw"] = "logits"
    """Content of the centre maps; `raw` is for released weights, as are the values mentioned in the next four lines."""
    world_rotation: RotationRule = "composed"
    """How world-rotation offsets and root rotations are combined: as rotations, or by a sum in 6D (`additive`)."""
    world_motion_gain: float = Field(1.0, gt=0)
    """Factor of world motion in y and x; 2 for released weights."""
    first_motion: Literal["ignored", "counted"] = "ignored"
    """Whether the motion predicted at a track's first frame is added to its trajectory; `counted` for released
    weights."""
    camera_constants: Literal["exact", "published"] = "exact"
    """Focal length and guards of decoding and projection; `published` differs by 0.2 %."""

    @model_validator(mode="after")
    def _groups_divide_width(self) -> NetworkSizes:
        if self.temporal and self.width % self.deform_groups:
            raise ValueError(f"deform_groups {self.deform_groups} does not divide width {self.width}")
        return self


PUBLISHED = NetworkSizes()
"""Sizes of the published network."""
