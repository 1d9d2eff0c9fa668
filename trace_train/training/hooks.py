"""What happens beside the steps of a run: functions that the loop calls at their time, so that it stays short.

`train.py: standard_hooks` names those of an ordinary run. Of several processes only the first calls them, while the
others wait; `on_not_finite` is called by the process that met the numbers. Hooks draw no random numbers from torch's
generators: a run with and without them ends in the same bits.
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
    """Where a run stands when a hook is called."""

    run: Path
    step: int
    """Steps done."""
    config: Config
    loss_module: LossModule
    """Network, body layer and losses, as they are trained."""
    averaged: Mapping[str, Tensor] | None
    """The averaged weights, where the run keeps them."""
    stream: TrainStream
    """The training batches; `stream.reader` reads all splits."""
    packs: Path

    @contextmanager
    def scored_network(self) -> Iterator[TraceNetwork]:
        """The network in evaluation mode with the weights that are scored: the averaged ones where there are any.

        Afterwards it is as it was, to the last bit, the mode of each of its modules included.
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
    """Does nothing."""


def _no_advice(snapshot: RunSnapshot, batch: Batch, report: LossReport) -> str:
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """The functions; by default nothing happens."""

    on_line: Callable[[RunSnapshot, Mapping[str, Any]], None] = _nothing
    """A line of the log was written; the mapping is that line (docs/training.md#the-log)."""
    on_not_finite: Callable[[RunSnapshot, Batch, LossReport], str] = _no_advice
    """The batch's loss or gradient is not finite, and the run ends after this; weights are still those of `step`.
    Returns what the error's hint should add, such as the command that runs a saved batch again."""
    evaluate: Callable[[RunSnapshot], Mapping[str, float | None]] | None = None
    """Every `evaluation.every` steps and after the last: scores by name. They are kept in checkpoints, and the best
    are chosen by `mpjpe_with_misses`, and by `wa_mpjpe` and `world_coverage` (`checkpoint_writer.best_steps`)."""
    draw: Callable[[RunSnapshot], None] | None = None
    """Every `pictures_every` steps: pictures of predictions into the run folder."""
    close: Callable[[], None] = _nothing
    """The loop has ended, however it did."""
