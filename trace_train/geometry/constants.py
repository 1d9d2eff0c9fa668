"""Tables of numbers on a device, copied there once: a copy in every step would let the CPU wait for a GPU."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor


def constant(values: tuple[float, ...], like: Tensor) -> Tensor:
    """The numbers (n,) in the dtype and on the device of `like`. The tensor is shared: nobody writes into it."""
    return _made(values, like.dtype, like.device)


@lru_cache(maxsize=64)
def _made(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    with torch.inference_mode(False):  # else a first use in an evaluation would make it useless for gradients
        return torch.tensor(values, dtype=dtype, device=device)
