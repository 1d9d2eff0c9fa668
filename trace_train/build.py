"""Device, network and body models of a run, from its configuration and files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor

from trace_data.assets.pack_files import load_pack
from trace_data.errors import ConfigError
from trace_train.body.layer import BodyLayer
from trace_train.config import Config
from trace_train.network.model import TraceNetwork
from trace_train.network.sizes import NetworkSizes


def choose_device(config: Config, local_rank: int = 0) -> torch.device:
    """The device used by process `local_rank` of this machine. Raises ConfigError if CUDA is required and no GPU is
    available for this process."""
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
        f"preset {config.preset!r} trains on a GPU; torch {torch.__version__} finds none on this machine",
        hint="trace train --config debug  trains a small network on the CPU; --set device=cpu overrides",
    )


def scoring_device(config: Config) -> torch.device:
    """The device for evaluation and previews: the CPU if the configuration asks for it, else CUDA if available.

    A run trained on a GPU can therefore be evaluated on a machine without one.
    """
    wanted = config.device != "cpu" and torch.cuda.is_available()
    return torch.device("cuda" if wanted else "cpu")


def build_network(sizes: NetworkSizes) -> TraceNetwork:
    """The network with newly initialised weights; seed torch first."""
    return TraceNetwork(sizes).channels_last()


def read_pack(file: Path) -> dict[str, Tensor]:
    """The tensors of a body-model pack. Raises AssetError if the file is missing, damaged or not a pack."""
    return {name: torch.from_numpy(array) for name, array in load_pack(file).items()}


def body_layers(
    packs: Path, genders: Iterable[str] = ("neutral",), device: torch.device | str = "cpu"
) -> dict[str, BodyLayer]:
    """Body layers by gender name, on a device."""
    return {gender: BodyLayer(read_pack(packs / f"SMPL_{gender.upper()}.pth")).to(device) for gender in genders}
