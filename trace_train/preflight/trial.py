"""Training steps for measuring memory: a separate network on real clips, without touching the run."""

from __future__ import annotations

from pathlib import Path

import torch

from trace_train.body.layer import BodyLayer
from trace_train.build import build_network
from trace_train.config import Config, at_stage
from trace_train.network.flow import FlowProvider
from trace_train.streaming.batch import LoadedClip, collate
from trace_train.streaming.stream import TrainStream, load_clip
from trace_train.training.loss_module import LossModule
from trace_train.training.optimizer import build_optimizer
from trace_train.training.parameter_groups import NetworkParameters
from trace_train.weights.averaged import AveragedWeights
from trace_train.weights.flow import build_flow, raft_flow
from trace_train.weights.folder import open_weights
from trace_train.weights.starting import Start

LOOKED_AT = 16
"""Number of first clips of a stage among which the one with the most people is used, as people need memory too."""


class Trial:
    """Runs steps of any size: forward, backward, optimiser, averaged weights. Results are discarded."""

    def __init__(
        self,
        config: Config,
        stream: TrainStream,
        layer: BodyLayer,
        start: Start | None,
        run: Path,
        device: torch.device,
    ) -> None:
        self._config, self._stream, self._device = config, stream, device
        self._layer = layer.to(device)
        self._flow = _flow(config, start, run, device)
        self._clips: dict[int, LoadedClip] = {}

    def __call__(self, clips: int, frames: int) -> None:
        """Run one step of `clips` clips of `frames` frames, leaving torch's random states unchanged."""
        devices = [self._device] if self._device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            config = at_stage(self._config, self._stage(frames))
            network = build_network(config.network).to(self._device)
            loss_module = LossModule(network, self._layer, config, self._flow).train()
            parts = NetworkParameters(network)
            groups = parts.groups(config.optim)
            parts.apply(groups)
            optimizer = build_optimizer(groups, config.optim)
            averaged = AveragedWeights(network, config.optim.ema) if config.optim.ema else None
            together = -(-clips // config.optim.accumulate)  # the other micro-batches reuse the same memory
            batch = collate([self._clip(frames)] * together).to(self._device)
            loss_module(batch).total.backward()
            optimizer.step()
            if averaged is not None:
                averaged.update(network, 0)

    def _clip(self, frames: int) -> LoadedClip:
        if frames not in self._clips:
            stream = self._stream
            sampler, sequences = stream.samplers[self._stage(frames)], stream.reader.index.sequences
            refs = [sampler.clip(0, position) for position in range(min(LOOKED_AT, len(sampler)))]
            most = max(refs, key=lambda ref: len(sequences[ref.sequence].people))
            self._clips[frames] = load_clip(stream.reader, most, self._config.network.input_size, flow=stream.flow)
        return self._clips[frames]

    def _stage(self, frames: int) -> int:
        return next(number for number, stage in enumerate(self._config.stages) if stage.frames == frames)


def _flow(config: Config, start: Start | None, run: Path, device: torch.device) -> FlowProvider:
    """The run's flow provider; for a new run, from its initial weights."""
    if config.network.computed_flow == "raft" and start is not None and start.flow is not None:
        return raft_flow(open_weights(start.flow), config.network, device)
    return build_flow(config, run, device)
