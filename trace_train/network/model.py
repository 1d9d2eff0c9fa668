"""The TRACE network: from frames to maps, and from maps at given centres to per-person parameters.

Two steps, because training reads the maps at annotated centres and inference at detected ones:

    maps = network(images)                  # what is where
    people = network.regress(maps, cells)   # who is there, how posed, how far away

Module names are those of the published checkpoints (`checkpoint_keys.tsv`), so weights move in and out by name.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from trace_train.network.backbone import HRNet
from trace_train.network.heads import (
    CAMERA,
    LOCAL,
    BirdEye,
    CenterHeads,
    TemporalEncoder,
    bird_eye_features,
    map_head,
    refiner,
)

POSE_6D = 21 * 6
SHAPE = 21
"""Ten adult coefficients, the kid offset, ten infant coefficients (network.md 5)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Maps:
    """Dense outputs for N = B T frames; M is the map side, D the number of depth levels."""

    center: Tensor
    """(N, M, M) front-view centre heat: logits when trained from scratch."""
    center_3d: Tensor
    """(N, D, M, M) centre heat over depth level, y, x."""
    camera: Tensor
    """(N, 3, D, M, M) camera triples s, y, x."""
    mesh: Tensor
    """(N, C, M, M) features that hold pose and shape."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class People:
    """Parameters regressed at K cells."""

    camera: Tensor
    """(K, 3) camera triple s, y, x of the root in the 50-degree view."""
    camera_coarse: Tensor
    """(K, 3) the triple read from the camera volume, before refinement."""
    root_6d: Tensor
    """(K, 6) root rotation in the camera frame, interleaved 6D."""
    pose_6d: Tensor
    """(K, 21, 6) rotations of joints 1 to 21."""
    shape: Tensor
    """(K, 21); the first ten are SMPL betas."""


class TraceNetwork(nn.Module):
    """Sizes are arguments; the defaults are the published ones."""

    def __init__(
        self,
        backbone: HRNet | None = None,
        *,
        input_size: int = 512,
        depth_levels: int = 64,
        head_channels: int = 128,
        detection_blocks: int = 1,
        mesh_blocks: int = 2,
        motion_channels: int = 2,
        bird_eye_channels: int = 16,
        bird_eye_hidden: int = 512,
        regressor_hidden: int = 256,
        center_logits: bool = True,
    ) -> None:
        """`motion_channels` is room for optical flow beside the features; it holds zeros while there is no flow.

        `center_logits`: centre maps are logits (trained from scratch) or raw values (released weights).
        """
        super().__init__()
        self.backbone = backbone or HRNet()
        features, size = self.backbone.out_channels, input_size // 4
        self.map_size, self.depth_levels, self.motion_channels = size, depth_levels, motion_channels
        self.center_logits = center_logits
        self.det_head = map_head(features, head_channels, detection_blocks, 1 + CAMERA + LOCAL)
        self.param_head = map_head(features + motion_channels, head_channels, mesh_blocks, None)
        self.bv_pre_layers = bird_eye_features(features, bird_eye_channels)
        # the last third of the bird's-eye output is unused in the published network and kept for its weights
        self.bv_out_layers = BirdEye(1 + CAMERA + LOCAL + bird_eye_channels, size, bird_eye_hidden, 3 * depth_levels)
        self.center_map_refiner2, self.cam_map_refiner = refiner(1), refiner(CAMERA)
        self.compose = CenterHeads(depth=depth_levels, size=size)
        self.temp_trans_regressor = TemporalEncoder(CAMERA + head_channels, regressor_hidden, [3])
        # the first six outputs are unused in the published network
        self.temp_globalrot_regressor = TemporalEncoder(head_channels, regressor_hidden, [6, 6])
        self.temp_smplpose_regressor = TemporalEncoder(head_channels, regressor_hidden, [POSE_6D])
        self.temp_smplshape_regressor = TemporalEncoder(head_channels, regressor_hidden, [SHAPE])

    def forward(self, images: Tensor) -> Maps:
        """Frames (N, S, S, 3) RGB, uint8 or float in 0..255, to maps."""
        x = images.permute(0, 3, 1, 2).float()
        x = x.contiguous(memory_format=torch.channels_last)
        features = self.backbone(x)
        front = self.det_head(features)
        bird = self.bv_pre_layers(features)
        above = self.bv_out_layers(torch.cat([front[:, :1].detach(), front[:, 1:], bird], dim=1))
        with torch.autocast(x.device.type, enabled=False):  # small volumes; half precision only loses here
            center_3d, camera = self.compose(
                front.float(), above.float(), self.center_map_refiner2, self.cam_map_refiner, logits=self.center_logits
            )
        if self.motion_channels:
            motion = features.new_zeros(len(features), self.motion_channels, *features.shape[2:])
            features = torch.cat([motion, features], dim=1)
        return Maps(center=front[:, 0].float(), center_3d=center_3d, camera=camera, mesh=self.param_head(features))

    def depth_at(self, maps: Maps, frame: Tensor, yx: Tensor) -> Tensor:
        """Depth level (K,) with the highest 3D centre heat in the column over cell yx (K, 2) of frame (K,)."""
        return maps.center_3d[frame, :, yx[:, 0], yx[:, 1]].argmax(-1)

    def regress(self, maps: Maps, frame: Tensor, zyx: Tensor) -> People:
        """Parameters at voxels zyx (K, 3) of frames (K,)."""
        z, y, x = zyx.unbind(-1)
        mesh = maps.mesh[frame, :, y, x].float()
        coarse = maps.camera[frame, :, z, y, x]
        with torch.autocast(mesh.device.type, enabled=False):
            return People(
                camera=self.temp_trans_regressor(torch.cat([coarse, mesh], dim=-1)),
                camera_coarse=coarse,
                root_6d=self.temp_globalrot_regressor(mesh)[:, 6:],
                pose_6d=self.temp_smplpose_regressor(mesh).unflatten(-1, (21, 6)),
                shape=self.temp_smplshape_regressor(mesh),
            )

    def channels_last(self) -> TraceNetwork:
        """Lay out the 2D convolutions for fast kernels; the volumes' 3D weights keep their layout."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return self
