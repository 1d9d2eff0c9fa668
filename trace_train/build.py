"""Assembles what a run needs from a configuration and files: the only module that knows every class."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor

from trace_data.assets.pack_files import load_pack
from trace_data.errors import ConfigError
from trace_train.body.layer import BodyLayer
from trace_train.config import Config, NetworkConfig
from trace_train.network.backbone import HRNet
from trace_train.network.model import TraceNetwork


def choose_device(config: Config, local_rank: int = 0) -> torch.device:
    """The device that process `local_rank` of this machine computes on. Raises ConfigError when it needs CUDA and there
    is none, or none left for it."""
    if config.device == "cpu":
        return torch.device("cpu")
    if torch.cuda.is_available():
        if local_rank >= torch.cuda.device_count():
            raise ConfigError(
                f"process {local_rank} of this machine (counted from 0) has no GPU: there are"
                f" {torch.cuda.device_count()}",
                hint=f"torchrun --nproc-per-node {torch.cuda.device_count()} …",
            )
        return torch.device("cuda", local_rank)
    raise ConfigError(
        f"preset {config.preset!r} trains on a GPU and this machine has none that torch {torch.__version__} can use",
        hint="trace train --config debug  trains a small network on the CPU; --set device=cpu insists",
    )


def scoring_device(config: Config) -> torch.device:
    """The device that a trained network is scored or shown on: the CPU where the configuration says so, else CUDA.

    A run that was trained on a GPU can be scored on a machine without one, on its CPU.
    """
    wanted = config.device != "cpu" and torch.cuda.is_available()
    return torch.device("cuda" if wanted else "cpu")


def build_network(config: NetworkConfig) -> TraceNetwork:
    """The network with fresh weights; seed torch first."""
    backbone = HRNet(
        width=config.width,
        stem=config.stem,
        bottleneck=config.bottleneck,
        bottleneck_blocks=config.bottleneck_blocks,
        stage_modules=config.stage_modules,
        stage_blocks=config.stage_blocks,
    )
    network = TraceNetwork(
        backbone,
        input_size=config.input_size,
        depth_levels=config.depth_levels,
        head_channels=config.head_channels,
        mesh_blocks=config.mesh_blocks,
        motion_channels=config.motion_channels,
        bird_eye_channels=config.bird_eye_channels,
        bird_eye_hidden=config.bird_eye_hidden,
        regressor_hidden=config.regressor_hidden,
        temporal=config.temporal,
        gru_layers=config.gru_layers,
        offset_blocks=config.offset_blocks,
        deform_groups=config.deform_groups,
        motion_blocks=config.motion_blocks,
        world_blocks=config.world_blocks,
        world_rotation_blocks=config.world_rotation_blocks,
        center_logits=config.center_maps == "logits",
        world_rotation=config.world_rotation,
        world_motion_gain=config.world_motion_gain,
        count_first_motion=config.first_motion == "counted",
        published_camera=config.camera_constants == "published",
    )
    return network.channels_last()


def read_pack(file: Path) -> dict[str, Tensor]:
    """The tensors of a body-model pack. Raises AssetError when it is missing, damaged or none."""
    return {name: torch.from_numpy(array) for name, array in load_pack(file).items()}


def body_layers(
    packs: Path, genders: Iterable[str] = ("neutral",), device: torch.device | str = "cpu"
) -> dict[str, BodyLayer]:
    """Body layers by gender name, on a device."""
    return {gender: BodyLayer(read_pack(packs / f"SMPL_{gender.upper()}.pth")).to(device) for gender in genders}
