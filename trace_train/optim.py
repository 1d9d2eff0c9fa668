"""The optimiser, its learning-rate schedule, and averaged weights."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from trace_train.config import OptimConfig


def build_optimizer(network: nn.Module, config: OptimConfig) -> torch.optim.AdamW:
    """AdamW over the trainable parameters; biases and normalisation are not decayed."""
    trained = [p for p in network.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.dim() > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in trained if p.dim() <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.lr, betas=(0.9, 0.99))


def learning_rate(config: OptimConfig, step: int, steps: int) -> float:
    """Linear warm-up, then a cosine from `lr` to `final_lr` of it; a pure function of the step."""
    if step < config.warmup:
        return config.lr * (step + 1) / config.warmup
    through = (step - config.warmup) / max(1, steps - config.warmup)
    return config.lr * (config.final_lr + (1 - config.final_lr) * 0.5 * (1 + math.cos(math.pi * min(1.0, through))))


class AveragedWeights:
    """An exponential moving average of all floating-point state, normalisation statistics included."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.state = {name: value.detach().clone() for name, value in network.state_dict().items()}

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Take the step into the average; early steps weigh more, so the start is forgotten."""
        decay = min(self.decay, (1 + step) / (10 + step))
        pairs: list[tuple[Tensor, Tensor]] = []
        for name, value in network.state_dict().items():
            if value.is_floating_point():
                pairs.append((self.state[name], value))
            else:
                self.state[name].copy_(value)
        torch._foreach_lerp_([a for a, _ in pairs], [b for _, b in pairs], 1 - decay)
