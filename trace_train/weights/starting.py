"""Initial weights of a new run (`init.*`): imported weights, or those of a run with another configuration.

Each module is loaded completely if present in the weights; it keeps its initialisation, as shown in the table, if
absent; a mismatch is an error. Settings for interpreting outputs are taken from the weights into the configuration.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import torch
from torch import Tensor

from trace_data.errors import CheckpointError, ConfigError
from trace_data.files import check_regular
from trace_train.build import build_network
from trace_train.config import Config, NetworkConfig
from trace_train.network.model import TraceNetwork
from trace_train.weights.checkpoint import first_line, load_tensors
from trace_train.weights.checks import some
from trace_train.weights.published import dispensable

AGAIN = "get or write the weights again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """How one module of the network is initialised."""

    module: str
    names: tuple[str, ...]
    """Its loaded tensors."""
    of: int
    """Number of its tensors."""
    source: str
    """Source file; empty if nothing is loaded."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Start:
    """A folder of imported weights or a checkpoint, with the parts to load."""

    where: Path
    files: Mapping[str, Path]
    """safetensors files of `image` (the backbone) and `head` (the rest of the network)."""
    flow: Path | None
    """Folder with RAFT's weights."""
    form: Mapping[str, Any]
    """Keys of `network` determined by the head."""
    sizes: NetworkConfig
    """Sizes of the network that the weights belong to."""
    frozen: tuple[str, ...]
    """Modules frozen by default."""
    facts: Mapping[str, Any]
    """Provenance and hashes, recorded in the checkpoints of the new run."""
    partial: bool
    """Whether the head consists of matching BEV tensors, so that modules may be loaded in part."""

    def follow(self, config: Config) -> tuple[Config, list[str]]:
        """The configuration with the settings required by the weights, and log lines about them.

        Raises ConfigError if the configuration contradicts them, CheckpointError if sizes do not match.
        """
        said = config.network.model_fields_set
        other = {key: value for key, value in self.form.items() if getattr(config.network, key) != value}
        wrong = [
            f"network.{key}: {getattr(config.network, key)!r}, the weights need {other[key]!r}"
            for key in sorted(other.keys() & said)
        ]
        if wrong:
            raise ConfigError(
                "the configuration reads the weights' outputs as what they are not:\n    " + "\n    ".join(wrong),
                where=self.where,
                hint="leave these keys out and they follow the weights; init.parts=[image,flow] starts the head anew",
            )
        lines = [f"network.{key} is {value!r}, as {self.where} needs it" for key, value in other.items()]
        config = config.model_copy(update={"network": config.network.model_copy(update=other)})
        if config.optim.frozen is None:
            config = config.model_copy(update={"optim": config.optim.model_copy(update={"frozen": self.frozen})})
        with torch.device("meta"):
            self.plan(build_network(config.network), config.network)
        return config, lines

    def plan(self, network: TraceNetwork, sizes: NetworkConfig) -> tuple[Filled, ...]:
        """How each module of a network will be initialised. Raises CheckpointError on a mismatch."""
        wanted = {name: tuple(value.shape) for name, value in network.state_dict().items()}
        shapes: dict[str, tuple[int, ...]] = {}
        source: dict[str, str] = {}
        for part, file in self.files.items():
            own = {name: shape for name, shape in _shapes(file).items() if _belongs(name, part)}
            shapes |= own
            source |= dict.fromkeys(own, file.name)
        rows, wrong = [], []
        for module in dict.fromkeys(name.split(".")[0] for name in wanted):
            names = [name for name in wanted if name.split(".")[0] == module]
            there = [name for name in names if name in shapes]
            fitting = tuple(name for name in there if shapes[name] == wanted[name])
            if there and not self.partial:
                wrong += [name for name in there if name not in fitting]
                wrong += [name for name in names if name not in shapes and not dispensable(name)]
            rows.append(
                Filled(module=module, names=fitting, of=len(names), source=source[fitting[0]] if fitting else "")
            )
        finding = ""
        if wrong:
            finding = f"{len(wrong):,} tensors do not fit the network, first {some(wrong)}{self._differences(sizes)}"
        elif self.files and not any(row.names for row in rows):
            finding = "has no tensor that this network has a place for"
        if finding:
            raise CheckpointError(
                finding,
                where=self.where,
                hint="take a network of the same sizes (imported weights: --config trace), or fewer init.parts",
            )
        return tuple(rows)

    def fill(self, network: TraceNetwork, sizes: NetworkConfig) -> tuple[Filled, ...]:
        """Load the weights into a network. Raises CheckpointError on a mismatch, leaving the network unchanged."""
        rows = self.plan(network, sizes)
        names = {name for row in rows for name in row.names}
        state: dict[str, Tensor] = {}
        for part, file in self.files.items():
            tensors = load_tensors(file, hint=AGAIN)
            state |= {name: value for name, value in tensors.items() if name in names and _belongs(name, part)}
        network.load_state_dict({**network.state_dict(), **state})
        return rows

    def _differences(self, sizes: NetworkConfig) -> str:
        theirs, ours = self.sizes.model_dump(), sizes.model_dump()
        keys = [key for key in ours if key not in self.form and theirs[key] != ours[key] and not key.startswith("flow")]
        shown = ", ".join(f"network.{key} {theirs[key]} there, {ours[key]} here" for key in keys)
        return f"; {shown}" if shown else ""


def table(rows: Sequence[Filled], start: Start) -> list[str]:
    """Table of how every module is initialised."""
    wide = max(len(row.module) for row in rows)
    lines = [f"starts from {start.where}"]
    for row in rows:
        begins = f"from {row.source}" if row.names else "begins anew"
        lines.append(f"  {row.module:<{wide}}  {len(row.names):>5,} of {row.of:>5,} tensors  {begins}")
    return lines


def _belongs(name: str, part: str) -> bool:
    return name.startswith("backbone.") == (part == "image")


def _shapes(file: Path) -> dict[str, tuple[int, ...]]:
    try:
        check_regular(file)
        with safetensors.safe_open(file, "pt") as tensors:
            return {name: tuple(tensors.get_slice(name).get_shape()) for name in tensors.keys()}  # noqa: SIM118
    except (OSError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"holds no weights: {first_line(error)}", where=file, hint=AGAIN) from error
