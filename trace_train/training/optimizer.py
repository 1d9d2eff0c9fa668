"""The optimiser, its learning-rate schedule, and averaged weights."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from trace_train.config import OptimConfig
from trace_train.training.parameter_groups import ParameterGroup


def build_optimizer(groups: Sequence[ParameterGroup], config: OptimConfig) -> torch.optim.Optimizer:
    """The optimiser over the groups that are trained; on a CPU one kernel updates all tensors of a group."""
    kind = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
    given = [
        {"params": list(group.parameters.values()), "weight_decay": group.weight_decay, "lr_factor": group.lr_factor}
        for group in groups
        if not group.frozen
    ]
    on_cpu = all(p.device.type == "cpu" for group in groups for p in group.parameters.values())
    return kind(given, lr=config.lr, betas=config.betas, fused=on_cpu)


def carry_over(before: torch.optim.Optimizer, after: torch.optim.Optimizer) -> None:
    """Copy the optimiser state of the parameters that both optimisers have."""
    for group in after.param_groups:
        for parameter in group["params"]:
            if parameter in before.state:
                after.state[parameter] = before.state[parameter]


def learning_rate(config: OptimConfig, step: int, steps: int) -> float:
    """Linear warm-up to `lr`, then the schedule over all steps of the run; a pure function of the step."""
    if step < config.warmup:
        return config.lr * (step + 1) / config.warmup
    if config.schedule == "constant":
        return config.lr
    if config.schedule == "steps":
        return config.lr * config.factor ** sum(step >= round(share * steps) for share in config.milestones)
    through = (step - config.warmup) / max(1, steps - config.warmup)
    return config.lr * (config.final_lr + (1 - config.final_lr) * 0.5 * (1 + math.cos(math.pi * min(1.0, through))))


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set each group's learning rate to its multiple of `rate`."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["lr_factor"]
