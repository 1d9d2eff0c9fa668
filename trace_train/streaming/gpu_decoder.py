"""Decoding JPEGs on the GPU, through torchvision's nvJPEG.

The call of nvJPEG has never been run: no GPU was at hand when this was written. What stands around it is tested: the
probe, the fall back to the CPU decoder image by image, and the cropping (`pixels.crop_pictures`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import cv2
import numpy as np
import torch
from torch import Tensor

from trace_data.errors import ConfigError
from trace_data.frames.image import decode

Decoder = Callable[[list[bytes]], list[Tensor]]
"""Encoded images to (H, W, 3) uint8 RGB on a device; raises RuntimeError, and returns none, when it refuses one."""


def choose_decoder(wanted: Literal["auto", "cpu", "gpu"], device: torch.device) -> Decoder | None:
    """The GPU decoder to use; None decodes on the CPU, as `auto` does until nvJPEG was run.

    Raises ConfigError where `gpu` is wanted and cannot be had.
    """
    decoder = nvjpeg_decoder(device) if wanted == "gpu" and device.type == "cuda" else None
    if wanted == "gpu" and decoder is None:
        raise ConfigError(
            f"data.decode is gpu, but {device.type} is used without CUDA or torchvision without nvJPEG",
            hint="--set data.decode=cpu, or install the torchvision that belongs to this torch and its CUDA",
        )
    return decoder


def nvjpeg_decoder(device: torch.device) -> Decoder | None:
    """torchvision's decoder on a CUDA device, tried on a small image; None where anything that it needs is missing."""
    try:
        # not at module level: beside a torch of another build the import itself fails, with any of these errors
        from torchvision.io import ImageReadMode, decode_jpeg
    except (ImportError, RuntimeError, OSError, AttributeError):
        return None

    def decoder(images: list[bytes]) -> list[Tensor]:
        encoded = [torch.from_numpy(np.frombuffer(image, np.uint8).copy()) for image in images]
        decoded: Any = decode_jpeg(encoded, mode=ImageReadMode.RGB, device=device)
        return [picture.permute(1, 2, 0) for picture in decoded]

    try:
        decoder([cv2.imencode(".jpg", np.zeros((16, 16, 3), np.uint8))[1].tobytes()])
    except RuntimeError:
        return None
    return decoder


@contextmanager
def own_stream(device: torch.device) -> Iterator[Callable[[], None]]:
    """A CUDA stream of this thread's own, so that its work does not queue up behind the training's, nor before it.

    Gives a function to call before memory is written that was made outside: it may still be in use there. When the
    block ends, all is done. On a CPU nothing of this happens.
    """
    if device.type != "cuda":
        yield lambda: None
        return
    if (stream := getattr(_of_thread, "stream", None)) is None:
        stream = _of_thread.stream = torch.cuda.Stream(device)
    with torch.cuda.stream(stream):
        yield lambda: stream.wait_stream(torch.cuda.default_stream(device))
    stream.synchronize()


_of_thread = threading.local()


def decode_on_device(images: Sequence[bytes], device: torch.device, decoder: Decoder) -> list[Tensor]:
    """(H, W, 3) uint8 RGB on the device for each encoded image.

    What the decoder refuses (a rare colour space, a PNG) is decoded on the CPU. Raises AnnotationError for what does
    not decode there either.
    """
    try:
        return decoder(list(images))
    except torch.OutOfMemoryError:
        raise
    except RuntimeError:
        return [_one(image, device, decoder) for image in images]  # it names no image, so each is tried


def _one(image: bytes, device: torch.device, decoder: Decoder) -> Tensor:
    try:
        return decoder([image])[0]
    except torch.OutOfMemoryError:
        raise
    except RuntimeError:
        return torch.from_numpy(np.ascontiguousarray(decode(image, "frame")[..., ::-1])).to(device)
