"""Memory for the frames of batches, used again and again: 47 MB a batch at the published size, which the system would
otherwise hand out, clear and take back at every step."""

from __future__ import annotations

import math
import weakref

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


class FrameBuffers:
    """Uint8 tensors whose memory returns here when the last tensor that shows it is gone."""

    def __init__(self, *, pinned: bool = False) -> None:
        """`pinned`: page-locked memory, from which a GPU copies while the CPU goes on; torch itself reuses that, and
        knows when a copy is over."""
        self._pinned = pinned
        self._free: dict[int, list[npt.NDArray[np.uint8]]] = {}

    def take(self, shape: tuple[int, ...]) -> Tensor:
        """A tensor of `shape` with undefined values."""
        if self._pinned:
            return torch.empty(shape, dtype=torch.uint8, pin_memory=True)
        size = math.prod(shape)
        free = self._free.setdefault(size, [])
        memory = free.pop() if free else np.empty(size, np.uint8)
        shown = memory.view()  # the tensor keeps this view alive, and the view's end gives the memory back
        weakref.finalize(shown, free.append, memory).atexit = False
        return torch.from_numpy(shown).view(shape)
