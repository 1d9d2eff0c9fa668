"""One of several processes that train: `torchrun … two_processes.py SHARDS PACKS RUN OUT [KEY=VALUE …]`.

Leaves in OUT, for each process, its weights and the clips it saw.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from tiny_runs import tiny
from torch import nn

from trace_data.progress import Progress
from trace_train import train as training
from trace_train.build import build_network
from trace_train.config import Config
from trace_train.training.hooks import Hooks
from trace_train.training.state import RunState


def uncoupled(*more: str) -> Config:
    """A configuration in which normalisation does not let clips see each other: it is frozen as it begins.

    NORMS in a change stands for the names of all normalisation.
    """
    network = build_network(tiny().network)
    norms = [name for name, m in network.named_modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    fixed = ["precision=fp32", "log_every=1", "checkpoint_every=100", "optim.frozen=[NORMS]"]
    return tiny(*(change.replace("NORMS", ", ".join(norms)) for change in [*fixed, *more]))


def clips_of(state: RunState, steps: range) -> list[list[tuple[int, int, int]]]:
    """What a process sees in each step."""
    return [[(r.sequence, r.start, r.stride) for _, _, r in state.stream.positions(step)] for step in steps]


def main(shards: Path, packs: Path, run: Path, out: Path, changes: list[str]) -> None:
    """Train, and write down how it ended here."""
    torch.set_num_threads(1)
    loop = training.loop

    def noting(state: RunState, hooks: Hooks, progress: Progress) -> None:
        seen = clips_of(state, range(state.step, state.config.steps))
        loop(state, hooks, progress)
        torch.save(
            {
                "weights": state.network.state_dict(),
                "clips": seen,
                "has_unused_parameters": state.updater.has_unused_parameters,
            },
            out / f"process{state.processes.rank}.pth",
        )

    training.loop = noting
    training.train(uncoupled(*changes), shards=shards, packs=packs, run=run, resume=run.exists())


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:5]), sys.argv[5:])  # type: ignore[misc, arg-type]
