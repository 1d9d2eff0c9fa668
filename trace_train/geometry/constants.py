"""Constant tensors, copied to a device once: a copy in every step would make the CPU wait for the GPU."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor


def constant(values: tuple[float, ...], like: Tensor) -> Tensor:
    """The values (n,) with the dtype and device of `like`. The tensor is shared and must not be modified."""
    return _made(values, like.dtype, like.device)


@lru_cache(maxsize=64)
def _made(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    with torch.inference_mode(False):  # a tensor created in inference mode could not be used in training
        return torch.tensor(values, dtype=dtype, device=device)
