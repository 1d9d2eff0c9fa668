"""An exponential moving average of a network's weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class AveragedWeights:
    """An exponential moving average of all floating-point state, normalisation statistics included."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.state = {name: value.detach().clone() for name, value in network.state_dict().items()}

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Update the average; early steps weigh more, so that the initial weights are forgotten."""
        decay = min(self.decay, (1 + step) / (10 + step))
        pairs: list[tuple[Tensor, Tensor]] = []
        for name, value in network.state_dict().items():
            if value.is_floating_point():
                pairs.append((self.state[name], value))
            else:
                self.state[name].copy_(value)
        torch._foreach_lerp_([a for a, _ in pairs], [b for _, b in pairs], 1 - decay)
