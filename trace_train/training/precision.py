"""In what numbers convolutions compute, and what half precision needs so that small gradients are not lost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from trace_train.config import Config

FIRST_SCALE = 64.0
"""What the loss is multiplied by at first. The terms' weights make its gradient large already: torch's own 65,536 costs
the first dozen steps."""


def autocast_dtype(config: Config, device: torch.device) -> torch.dtype | None:
    """The type convolutions compute in; None: as they are, float32."""
    if config.precision == "fp16":
        return torch.float16
    if config.precision == "bf16" or (config.precision == "auto" and _has_bf16(device)):
        return torch.bfloat16
    return None


def set_float32_kernels(config: Config, device: torch.device) -> None:
    """What a GPU's float32 means, which torch leaves to its defaults otherwise: with `fp32` all of it.

    Beside half precision, convolutions (the centre and motion volumes) may use TF32, whose ten bits are those of fp16.
    Matrix products (bodies, cameras, RAFT's correlation) never do.
    """
    torch.backends.cudnn.allow_tf32 = autocast_dtype(config, device) is not None
    torch.backends.cuda.matmul.allow_tf32 = False


@contextmanager
def whole_float32() -> Iterator[None]:
    """Scores are computed in all of float32, in a run and after it; afterwards all is as it was."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


def _has_bf16(device: torch.device) -> bool:
    """Whether the device computes bfloat16 natively."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)())


def gradient_scaler(config: Config, device: torch.device) -> torch.amp.GradScaler:
    """Scales the loss up so that fp16 gradients do not vanish, and down where they overflow; else it does nothing."""
    half = autocast_dtype(config, device) is torch.float16
    return torch.amp.GradScaler(device.type, init_scale=FIRST_SCALE, enabled=half)
