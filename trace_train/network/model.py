"""The TRACE network: frames to maps, and maps at given centres to per-person parameters.

Two steps, because training samples the maps at annotated centres and inference at detected ones:

    maps = network(images, flow)                    # centres, cameras, mesh features, motion
    people = network.regress(maps, frames, cells)   # parameters of people at given cells
    tracked = network.follow(maps, tracks)          # parameters along tracks, and trajectories in the world

Module names are those of the published checkpoints (`checkpoint_keys.tsv`), so weights are imported and exported by
name. docs/network.md follows one person through the network.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trace_train.network.backbone import HRNet
from trace_train.network.deform import DeformWarper
from trace_train.network.heads import (
    CAMERA,
    LOCAL,
    BirdEye,
    CenterHeads,
    TemporalEncoder,
    bird_eye_features,
    map_head,
    motion_volume,
    refiner,
)
from trace_train.network.outputs import Maps, People, TrackedPeople, Tracks, WorldStart
from trace_train.network.sizes import PUBLISHED, NetworkSizes
from trace_train.network.temporal import (
    ConvGRU,
    StreamState,
    feature_differences,
    offset_features,
    offset_predictor,
)
from trace_train.network.trace_tensors import TensorRecorder, parameter_stages
from trace_train.network.world_trajectory import (
    WorldMotionHead,
    compose_world_camera,
    compose_world_rotation,
    world_rotation_head,
)

POSE_6D = 21 * 6
SHAPE = 21
"""Ten adult coefficients, the kid offset, ten infant coefficients (docs/reference/network.md#parameter-vector)."""


class TraceNetwork(nn.Module):
    """All trainable parts from frames to people, built according to `sizes`."""

    coordmap_3d: Tensor

    def __init__(self, sizes: NetworkSizes = PUBLISHED) -> None:
        super().__init__()
        self.backbone = HRNet(sizes)
        features, size = self.backbone.out_channels, sizes.input_size // 4
        moving = features + sizes.motion_channels
        channels, depth, hidden = sizes.head_channels, sizes.depth_levels, sizes.bird_eye_hidden
        self.map_size, self.depth_levels, self.motion_channels = size, depth, sizes.motion_channels
        self.mesh_channels, self.temporal = channels, sizes.temporal
        # interpretation of the outputs: differs between released weights and training from scratch
        self.center_logits = sizes.center_maps == "logits"
        self.world_rotation, self.world_motion_gain = sizes.world_rotation, sizes.world_motion_gain
        self.count_first_motion = sizes.first_motion == "counted"
        self.published_camera = sizes.camera_constants == "published"
        self.det_head = map_head(features, channels, sizes.detection_blocks, 1 + CAMERA + LOCAL)
        self.param_head = map_head(moving, channels, sizes.mesh_blocks, None)
        self.bv_pre_layers = bird_eye_features(features, sizes.bird_eye_channels)
        # the last third of the bird's-eye output is unused in the published network and kept for its weights
        self.bv_out_layers = BirdEye(1 + CAMERA + LOCAL + sizes.bird_eye_channels, size, hidden, 3 * depth)
        self.center_map_refiner2, self.cam_map_refiner = refiner(1), refiner(CAMERA)
        self.compose = CenterHeads(depth=depth, size=size)
        self.temp_trans_regressor = TemporalEncoder(CAMERA + channels, sizes.regressor_hidden, [3])
        # the first six outputs are unused in the published network
        self.temp_globalrot_regressor = TemporalEncoder(channels, sizes.regressor_hidden, [6, 6])
        self.temp_smplpose_regressor = TemporalEncoder(channels, sizes.regressor_hidden, [POSE_6D])
        self.temp_smplshape_regressor = TemporalEncoder(channels, sizes.regressor_hidden, [SHAPE])
        if not sizes.temporal:
            return
        self.temp_model = ConvGRU(features, sizes.gru_layers)
        self.offset_feature_convert = offset_features(features, sizes.offset_blocks)
        self.feature_offset_predictor = offset_predictor(features, sizes.deform_groups)
        self.deform_warper = DeformWarper(features)
        self.motion_head = map_head(moving, channels, sizes.motion_blocks, CAMERA)
        self.bv_motion_pre_layers = bird_eye_features(moving, sizes.bird_eye_channels)
        self.bv_motion_out_layers = BirdEye(CAMERA + sizes.bird_eye_channels, size, hidden, depth)
        self.motion_map_refiner = refiner(CAMERA)
        self.cam_motion_head = WorldMotionHead(moving, channels, sizes.world_blocks)
        self.cam_rot_head = world_rotation_head(channels, sizes.world_rotation_blocks)
        # two tensors that the published network stores although it never uses them or could compute them: kept so
        # that published checkpoints and ours have the same keys
        self.position_embeddings = nn.Embedding(size, channels).requires_grad_(False)
        self.register_buffer("coordmap_3d", self.compose.coordinates())

    def forward(
        self,
        images: Tensor,
        flow: Tensor | None = None,
        *,
        state: StreamState | None = None,
        tracks: Tracks | None = None,
        unrelated: bool = False,
        return_stages: bool = False,
    ) -> Maps:
        """Clips (B, T, S, S, 3), or N clips of one frame (N, S, S, 3), RGB, uint8 or float in 0..255, to maps.

        `flow` (N, 2, M, M): optical flow from the previous frame to each frame, x and y, in units of 8 px of the input;
        None: zeros. `state`: that of the previous chunk. `unrelated`: the frames are single pictures of different
        scenes, to train on; temporal features and motion are left out. `return_stages` fills `Maps.stages`, including
        parameters along `tracks` if given. Non-finite pixels and flow are replaced by zero. Raises ValueError for other
        shapes.
        """
        pixels, frames = self._pixels(images)
        stages, after = TensorRecorder(return_stages), None
        features = self.backbone(pixels, stages)
        stages.record(image_feature_maps=features)
        temporal = self.temporal and not unrelated
        if temporal:
            features, after = self.propagate(features.unflatten(0, (-1, frames)), state, stages)
        moving = self._with_flow(features, flow, stages)
        center, center_3d, camera = self.localise(features, stages)
        mesh = self.param_head(moving)
        stages.record(mesh_feature_map=mesh)
        motion_map = world_motion = world_rotation = None
        if temporal:
            motion_map, world_motion, world_rotation = self.move(moving, stages)
        maps = Maps(
            center=center,
            center_3d=center_3d,
            camera=camera,
            mesh=mesh,
            motion=motion_map,
            world_motion=world_motion,
            world_rotation=world_rotation,
            state=after,
            stages=stages.tensors,
        )
        if tracks is not None and return_stages:
            stages.record(**parameter_stages(self.follow(maps, tracks)))
        return maps

    def _pixels(self, images: Tensor) -> tuple[Tensor, int]:
        """Images (N, 3, S, S), float32, channels last, and the frames of a clip."""
        side = 4 * self.map_size
        if images.dim() not in (4, 5) or images.shape[-3:] != (side, side, 3):
            raise ValueError(
                f"images of shape {tuple(images.shape)}, expected (clips, frames, {side}, {side}, 3) or "
                f"(frames, {side}, {side}, 3); frames that are not square are letter-boxed before"
            )
        frames = images.shape[1] if images.dim() == 5 else 1
        x = images.reshape(-1, side, side, 3).permute(0, 3, 1, 2)
        if x.is_floating_point():  # one non-finite pixel would corrupt the rest of its clip
            x = x.nan_to_num(nan=0.0, posinf=255.0, neginf=0.0)
        return x.float().contiguous(memory_format=torch.channels_last), frames

    def propagate(
        self, frames: Tensor, state: StreamState | None, stages: TensorRecorder
    ) -> tuple[Tensor, StreamState]:
        """Image features (B, T, C, M, M) to temporal features (N, C, M, M) and what the next chunk needs."""
        if state is not None and state.features.shape != frames[:, 0].shape:
            raise ValueError(f"a state of {len(state.features)} videos for a chunk of {len(frames)}")
        memory, hidden = self.temp_model(frames, None if state is None else state.hidden)
        change = feature_differences(frames, None if state is None else state.features)
        differences = self.offset_feature_convert(change.flatten(0, 1))
        offsets = self.feature_offset_predictor(differences)
        features = frames.flatten(0, 1)
        warped = self.deform_warper(features, offsets)
        temporal = (memory.flatten(0, 1) + warped + features).contiguous(memory_format=torch.channels_last)
        stages.record(
            gru_features=memory.flatten(0, 1),
            offset_features=differences,
            feature_offsets=offsets,
            warped_features=warped,
            temporal_features=temporal,
        )
        return temporal, StreamState(hidden=hidden, features=frames[:, -1])

    def _with_flow(self, features: Tensor, flow: Tensor | None, stages: TensorRecorder) -> Tensor:
        """[flow; features], the input of the heads that see motion."""
        shape = (len(features), self.motion_channels, *features.shape[2:])
        if flow is None:
            flow = features.new_zeros(shape)
        elif flow.shape != shape:
            raise ValueError(f"flow of shape {tuple(flow.shape)}, expected {shape}")
        flow = flow.to(features.dtype).nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
        stages.record(optical_flows=flow)
        if not self.motion_channels:
            return features
        return torch.cat([flow.contiguous(memory_format=torch.channels_last), features], dim=1)

    def localise(self, features: Tensor, stages: TensorRecorder) -> tuple[Tensor, Tensor, Tensor]:
        """Localisation: front centre map, 3D centre map, camera volume."""
        front = self.det_head(features)
        bird = self.bv_pre_layers(features)
        above = self.bv_out_layers(torch.cat([front[:, :1].detach(), front[:, 1:], bird], dim=1))
        with torch.autocast(features.device.type, enabled=False):  # small volumes: half precision saves nothing
            front, above = front.float(), above.float()
            center_3d, camera = self.compose(
                front, above, self.center_map_refiner2, self.cam_map_refiner, logits=self.center_logits
            )
        stages.record(bv_features=bird)
        stages.record(
            center_map=front[:, :1], center_map_3d=center_3d, cam_map_3d=camera, front_map=front, bv_map=above
        )
        return front[:, 0], center_3d, camera

    def move(self, moving: Tensor, stages: TensorRecorder) -> tuple[Tensor, Tensor, Tensor]:
        """Motion: camera-space motion volume, world motion map, world rotation map."""
        front = self.motion_head(moving)
        bird = self.bv_motion_pre_layers(moving)
        above = self.bv_motion_out_layers(torch.cat([front, bird], dim=1))
        with torch.autocast(moving.device.type, enabled=False):
            motion = motion_volume(front.float(), above.float(), self.motion_map_refiner)
        world_motion, shared = self.cam_motion_head(moving)
        world_motion, world_rotation = world_motion.float(), self.cam_rot_head(shared).float()
        stages.record(
            motion_map=front,
            bv_motion_features=bird,
            bv_motion_map=above,
            motion_map_3d=motion,
            cam_motion_map=world_motion,
            cam_rot_map=world_rotation,
        )
        return motion, world_motion, world_rotation

    def depth_at(self, maps: Maps, frame: Tensor, yx: Tensor) -> Tensor:
        """Depth level (...,) with the highest 3D centre heat in the column over cell yx (..., 2) of frame (...,)."""
        return maps.center_3d[frame, :, yx[..., 0], yx[..., 1]].argmax(-1)

    def regress(self, maps: Maps, frame: Tensor, zyx: Tensor) -> People:
        """Parameters at voxels zyx (..., 3) of frames (...,)."""
        z, y, x = zyx.unbind(-1)
        mesh = maps.mesh[frame, :, y, x].float()
        coarse = maps.camera[frame, :, z, y, x]
        with torch.autocast(mesh.device.type, enabled=False):
            return People(
                camera=self.temp_trans_regressor(torch.cat([coarse, mesh], dim=-1)),
                camera_coarse=coarse,
                root_6d=self.temp_globalrot_regressor(mesh)[..., 6:],
                pose_6d=self.temp_smplpose_regressor(mesh).unflatten(-1, (21, 6)),
                shape=self.temp_smplshape_regressor(mesh),
                motion=None if maps.motion is None else maps.motion[frame, :, z, y, x],
                world_motion=None if maps.world_motion is None else maps.world_motion[frame, :, y, x],
                world_rotation_6d=None if maps.world_rotation is None else maps.world_rotation[frame, :, y, x],
            )

    def follow(self, maps: Maps, tracks: Tracks, start: WorldStart | None = None) -> TrackedPeople:
        """Parameters along tracks, and their trajectories in the world, which continue from `start` where it is known.

        Raises ValueError for a network without temporal parts.
        """
        people = self.regress(maps, *tracks.within_bounds())
        if people.world_motion is None or people.world_rotation_6d is None:
            raise ValueError("this network sees single frames (temporal=False): there are no trajectories in it")
        with torch.autocast(people.camera.device.type, enabled=False):
            return TrackedPeople(
                people=people,
                mask=tracks.mask,
                world_camera=compose_world_camera(
                    people.camera,
                    people.world_motion,
                    tracks.mask,
                    start,
                    gain=self.world_motion_gain,
                    count_first=self.count_first_motion,
                ),
                world_root=compose_world_rotation(people.root_6d, people.world_rotation_6d, self.world_rotation),
            )

    def channels_last(self) -> TraceNetwork:
        """Lay out the 2D convolutions for fast kernels; the volumes' 3D weights keep their layout."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return self
