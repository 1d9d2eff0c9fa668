"""Callbacks of the training loop: logging, evaluation, previews.

`train.py: standard_hooks` defines those of an ordinary run. With several processes only rank 0 calls them while the
others wait; `on_not_finite` is called by the process that found the non-finite values. Hooks must not draw from
torch's random generators, so that a run ends with bit-identical weights with and without them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from trace_train.config import Config
from trace_train.losses.objective import LossReport
from trace_train.network.model import TraceNetwork
from trace_train.streaming.batch import Batch
from trace_train.streaming.stream import TrainStream
from trace_train.training.loss_module import LossModule


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RunSnapshot:
    """State of a run when a hook is called."""

    run: Path
    step: int
    """Number of steps taken."""
    config: Config
    loss_module: LossModule
    """Network, body layer and losses, in their training state."""
    averaged: Mapping[str, Tensor] | None
    """The averaged weights (`optim.ema`), if any."""
    stream: TrainStream
    """The training batches; `stream.reader` reads all splits."""
    packs: Path

    @contextmanager
    def scored_network(self) -> Iterator[TraceNetwork]:
        """The network in evaluation mode, with the averaged weights if there are any.

        Afterwards weights and the mode of every module are restored exactly.
        """
        network = self.loss_module.network
        modes = {module: module.training for module in network.modules()}
        state = network.state_dict()
        kept = {name: value.clone() for name, value in state.items()} if self.averaged is not None else {}
        try:
            if self.averaged is not None:
                network.load_state_dict(self.averaged)
            yield network.eval()
        finally:
            if kept:
                network.load_state_dict(kept)
            for module, training in modes.items():
                module.training = training


def _nothing(*args: object) -> None:
    """Do nothing."""


def _no_advice(snapshot: RunSnapshot, batch: Batch, report: LossReport) -> str:
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """Callback functions; by default they do nothing."""

    on_line: Callable[[RunSnapshot, Mapping[str, Any]], None] = _nothing
    """Called after each log line, with the line (docs/training.md#the-log)."""
    on_not_finite: Callable[[RunSnapshot, Batch, LossReport], str] = _no_advice
    """Called before the run ends because a batch's loss or gradient is not finite; the weights are still those of
    `step`. Returns text for the error's hint, such as the command that replays the saved batch."""
    evaluate: Callable[[RunSnapshot], Mapping[str, float | None]] | None = None
    """Called every `evaluation.every` steps and after the last; returns scores by name. They are stored in checkpoints,
    and the best are chosen by `mpjpe_with_misses`, and by `wa_mpjpe` and `world_coverage`
    (`checkpoint_writer.best_steps`)."""
    draw: Callable[[RunSnapshot], None] | None = None
    """Called every `pictures_every` steps; draws predictions into the run folder."""
    close: Callable[[], None] = _nothing
    """Called when the loop has ended, normally or not."""
