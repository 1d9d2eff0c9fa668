"""JPEG decoding on the GPU with torchvision's nvJPEG.

The nvJPEG call itself is untested, for lack of a GPU. The code around it is tested: the probe, the fallback to the CPU
decoder for single images, and cropping (`pixels.crop_pictures`).
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
"""Decodes images to (H, W, 3) uint8 RGB on a device; raises RuntimeError if it cannot decode one of them."""


def choose_decoder(wanted: Literal["auto", "cpu", "gpu"], device: torch.device) -> Decoder | None:
    """The GPU decoder, or None for the CPU decoder, which `auto` selects until nvJPEG is tested.

    Raises ConfigError if `gpu` is requested but not available.
    """
    decoder = nvjpeg_decoder(device) if wanted == "gpu" and device.type == "cuda" else None
    if wanted == "gpu" and decoder is None:
        raise ConfigError(
            f"data.decode is gpu, but {device.type} is used without CUDA or torchvision without nvJPEG",
            hint="--set data.decode=cpu, or install the torchvision that belongs to this torch and its CUDA",
        )
    return decoder


def nvjpeg_decoder(device: torch.device) -> Decoder | None:
    """torchvision's decoder on a CUDA device, probed with a small image; None if it is not available."""
    try:
        # imported here: with a mismatched torch build the import fails with any of these errors
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
    """Run the block on a CUDA stream of its own, so that decoding and training do not block each other.

    Yields a function that must be called before writing to memory allocated outside, which may still be in use. The
    stream is synchronised when the block ends. A no-op on the CPU.
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
    """Decode each image to (H, W, 3) uint8 RGB on the device.

    Images that the decoder rejects (a rare colour space, a PNG) are decoded on the CPU. Raises AnnotationError if that
    fails too.
    """
    try:
        return decoder(list(images))
    except torch.OutOfMemoryError:
        raise
    except RuntimeError:
        return [_one(image, device, decoder) for image in images]  # the error does not say which image failed


def _one(image: bytes, device: torch.device, decoder: Decoder) -> Tensor:
    try:
        return decoder([image])[0]
    except torch.OutOfMemoryError:
        raise
    except RuntimeError:
        return torch.from_numpy(np.ascontiguousarray(decode(image, "frame")[..., ::-1])).to(device)
