"""Network configuration: sizes and optical-flow source."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from trace_train.config.part import ConfigPart
from trace_train.network.sizes import NetworkSizes


class NetworkConfig(ConfigPart, NetworkSizes):
    """Sizes of the network and its optical flow. The defaults are the published values.

    Source: docs/reference/network.md#live-configuration.
    """

    flow: Literal["none", "dis", "raft", "stored"] = "raft"
    """Source of optical flow: RAFT with weights from `init.weights`, OpenCV's DIS on the CPU, none (zeros), or
    `stored`: read from shards to which `trace add-flow` has added it."""
    flow_provider: Literal["dis", "raft"] | None = None
    """With `flow: stored` the provider of the stored flow, which also computes flow where none is stored, as in
    prediction. None: what the shards say when a run starts; the checkpoint keeps it."""
    flow_iterations: int = Field(20, ge=1)
    """Refinement iterations of RAFT."""
    flow_first_frame: Literal["zero", "self"] = "zero"
    """Flow of a clip's first frame: zero, or RAFT from the frame to itself (`self`), as the released weights expect.
    Stored flow begins with zero either way."""

    @property
    def computed_flow(self) -> Literal["none", "dis", "raft"] | None:
        """The provider of this network's flow, computed or stored; None while only the shards know it."""
        return self.flow_provider if self.flow == "stored" else self.flow

    @model_validator(mode="after")
    def _flow_has_its_place(self) -> NetworkConfig:
        if self.flow != "none" and not self.temporal:
            raise ValueError(f"flow {self.flow!r} in a network of single frames (temporal: false), set flow: none")
        if self.flow != "none" and self.motion_channels != 2:
            raise ValueError(
                f"flow {self.flow!r} has two channels and motion_channels is {self.motion_channels}: set it to 2, or"
                " flow: none"
            )
        return self
