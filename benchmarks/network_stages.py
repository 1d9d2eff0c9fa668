"""The pieces of the network that `network.py` measures one by one. To add one, add a line to `STAGES`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from trace_data.shards.reader import ShardReader
from trace_train.build import body_layers, build_network
from trace_train.config import Config, NetworkConfig
from trace_train.network.flow import NoFlow
from trace_train.network.model import TraceNetwork
from trace_train.network.outputs import Maps, Tracks
from trace_train.network.raft import Raft
from trace_train.network.temporal import feature_differences
from trace_train.network.trace_tensors import TensorRecorder
from trace_train.streaming.batch import Batch
from trace_train.streaming.stream import TrainStream
from trace_train.training.loss_module import LossModule

Outputs = Tensor | tuple[Tensor, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """The batch, and what can be had for it."""

    clips: int
    frames: int
    size: int
    """Side of a frame, px."""
    iterations: int
    """Refinement steps of the flow."""
    people: int
    """In each clip."""
    shards: Path | None = None
    packs: Path | None = None
    """Of what the losses are measured on."""

    @property
    def maps(self) -> tuple[int, int]:
        """Frames in all and the side of a map."""
        return self.clips * self.frames, self.size // 4

    @property
    def config(self) -> Config:
        """The published network for frames of this size, with a batch of this shape."""
        stages = [{"clips": self.clips, "frames": self.frames}]
        network = {"input_size": self.size, "flow": "none"}
        return Config.model_validate({"device": "cpu", "steps": 1, "stages": stages, "network": network})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stage:
    """A part of the network that is measured alone."""

    build: Callable[[Sizes], nn.Module]
    inputs: Callable[[Sizes], tuple[Tensor, ...]]
    trained: bool
    """Whether a training step also goes backward through it; then that is measured too."""
    parts: tuple[str, ...] = ()
    """Submodules that are compiled each for itself; none: the whole is compiled at once."""
    needs_shards: bool = False


class Piece(nn.Module):
    """Some modules of a network and what its forward pass does with them; the others are left out."""

    def __init__(self, network: TraceNetwork, modules: tuple[str, ...], call: Callable[..., Outputs]) -> None:
        super().__init__()
        for name in [name for name, _ in network.named_children() if name not in (*modules, "compose")]:
            delattr(network, name)
        self.network, self.call = network, call

    def forward(self, *given: Tensor) -> Outputs:
        """Whatever the network does with these."""
        return self.call(self.network, *given)


class Losses(nn.Module):
    """All of a step behind the network: targets, people read from maps, bodies, losses."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        assert sizes.shards is not None and sizes.packs is not None
        config = sizes.config
        network = build_network(config.network)
        stream = TrainStream(ShardReader(sizes.shards), config)
        self.batch: Batch = next(iter(stream.batches(0, 1)))
        self.learner = LossModule(network, body_layers(sizes.packs)["neutral"], config, NoFlow())

    def forward(self, *given: Tensor) -> Tensor:
        """The total loss of these maps."""
        maps = Maps(**dict(zip(MAPS, given)))
        total: Tensor = self.learner.compare(maps, self.batch.to(given[0].device)).total
        return total


MAPS = ("center", "center_3d", "camera", "mesh", "motion", "world_motion", "world_rotation")


def maps(sizes: Sizes) -> tuple[Tensor, ...]:
    """Random maps, by the names of `MAPS`."""
    n, side = sizes.maps
    levels, channels = NetworkConfig().depth_levels, NetworkConfig().head_channels
    shapes = (
        *((n, side, side), (n, levels, side, side), (n, 3, levels, side, side), (n, channels, side, side)),
        *((n, 3, levels, side, side), (n, 3, side, side), (n, 6, side, side)),
    )
    return tuple(torch.rand(shape) for shape in shapes)


def piece(call: Callable[..., Outputs], *modules: str) -> Callable[[Sizes], nn.Module]:
    """How a piece with these modules is built."""
    return lambda sizes: Piece(build_network(sizes.config.network), modules, call)


def clips(sizes: Sizes) -> tuple[Tensor, ...]:
    """Features of clips."""
    _, side = sizes.maps
    return (torch.rand(sizes.clips, sizes.frames, 32, side, side),)


def channels(count: int) -> Callable[[Sizes], tuple[Tensor, ...]]:
    """Maps of so many channels."""
    return lambda sizes: (torch.rand(sizes.maps[0], count, sizes.maps[1], sizes.maps[1]),)


def memory(network: TraceNetwork, frames: Tensor) -> Tensor:
    """What is remembered."""
    found: Tensor = network.temp_model(frames)[0]
    return found


def warped(network: TraceNetwork, frames: Tensor) -> Tensor:
    """Features where the offsets point."""
    change = feature_differences(frames).flatten(0, 1)
    offsets = network.feature_offset_predictor(network.offset_feature_convert(change))
    found: Tensor = network.deform_warper(frames.flatten(0, 1), offsets)
    return found


def regressed(network: TraceNetwork, frame: Tensor, zyx: Tensor, *given: Tensor) -> tuple[Tensor, ...]:
    """People along tracks."""
    tracks = Tracks(frame=frame, zyx=zyx, mask=torch.ones_like(frame, dtype=torch.bool))
    tracked = network.follow(Maps(**dict(zip(MAPS, given))), tracks)
    people = tracked.people
    return people.camera, people.root_6d, people.pose_6d, people.shape, tracked.world_camera, tracked.world_root


def tracks(sizes: Sizes) -> tuple[Tensor, ...]:
    """Where people are in every frame of their clip, and random maps."""
    frame = torch.arange(sizes.maps[0]).view(sizes.clips, -1).repeat_interleave(sizes.people, 0)
    return (frame, torch.randint(0, sizes.maps[1], (*frame.shape, 3)).clamp(max=63), *maps(sizes))


STAGES: dict[str, Stage] = {
    "backbone": Stage(
        build=lambda sizes: build_network(sizes.config.network).backbone,
        inputs=lambda sizes: (255 * torch.rand(sizes.maps[0], 3, sizes.size, sizes.size),),
        trained=False,
    ),
    "flow": Stage(
        build=lambda sizes: Raft(iterations=sizes.iterations),
        inputs=lambda sizes: (255 * torch.rand(sizes.clips, sizes.frames, sizes.size, sizes.size, 3),),
        trained=False,
        parts=("fnet", "cnet", "update_block"),
    ),
    "gru": Stage(build=piece(memory, "temp_model"), inputs=clips, trained=True),
    "deform": Stage(
        build=piece(warped, "offset_feature_convert", "feature_offset_predictor", "deform_warper"),
        inputs=clips,
        trained=True,
    ),
    "detection": Stage(
        build=piece(
            lambda network, x: network.localise(x, TensorRecorder(False)),
            *("det_head", "bv_pre_layers", "bv_out_layers", "center_map_refiner2", "cam_map_refiner"),
        ),
        inputs=channels(32),
        trained=True,
    ),
    "mesh": Stage(
        build=piece(lambda network, x: network.param_head(x), "param_head"), inputs=channels(34), trained=True
    ),
    "motion and world": Stage(
        build=piece(
            lambda network, x: network.move(x, TensorRecorder(False)),
            *("motion_head", "bv_motion_pre_layers", "bv_motion_out_layers", "motion_map_refiner"),
            *("cam_motion_head", "cam_rot_head"),
        ),
        inputs=channels(34),
        trained=True,
    ),
    "regressors": Stage(
        build=piece(
            regressed,
            *(
                "temp_trans_regressor",
                "temp_globalrot_regressor",
                "temp_smplpose_regressor",
                "temp_smplshape_regressor",
            ),
        ),
        inputs=tracks,
        trained=True,
    ),
    "losses": Stage(build=Losses, inputs=maps, trained=True, needs_shards=True),
}
"""What can be measured, by name, in the order in which a step does it."""
