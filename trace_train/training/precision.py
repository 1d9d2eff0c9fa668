"""Numerical precision of training: autocast, TF32 and gradient scaling."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import torch

from trace_train.config import Config

FIRST_SCALE = 64.0
"""Initial loss scale. The loss weights already give large gradients: torch's default of 65,536 overflows in the first
dozen steps."""


class HasPrecision(Protocol):
    """A configuration with the key `precision`."""

    @property
    def precision(self) -> str:
        """`auto`, `fp32`, `bf16` or `fp16`."""


def autocast_dtype(config: HasPrecision, device: torch.device) -> torch.dtype | None:
    """The autocast type of convolutions; None: float32 without autocast."""
    if config.precision == "fp16":
        return torch.float16
    if config.precision == "bf16" or (config.precision == "auto" and _has_bf16(device)):
        return torch.bfloat16
    return None


def set_float32_kernels(config: Config, device: torch.device) -> None:
    """Set whether float32 operations on a GPU may use TF32; with `fp32` none may.

    With half precision, float32 convolutions (the centre and motion volumes) may use TF32, whose ten mantissa bits
    equal those of fp16. Matrix products (bodies, cameras, RAFT's correlation) never do.
    """
    torch.backends.cudnn.allow_tf32 = autocast_dtype(config, device) is not None
    torch.backends.cuda.matmul.allow_tf32 = False


@contextmanager
def whole_float32() -> Iterator[None]:
    """Disable TF32, for evaluation during and after training; afterwards the settings are restored."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


def _has_bf16(device: torch.device) -> bool:
    """Whether the device supports bfloat16 natively."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)())


def gradient_scaler(config: Config, device: torch.device) -> torch.amp.GradScaler:
    """A loss scaler for fp16: raises the scale against underflow, lowers it on overflow. Disabled for other types."""
    enabled = autocast_dtype(config, device) is torch.float16
    return torch.amp.GradScaler(device.type, init_scale=FIRST_SCALE, enabled=enabled)
