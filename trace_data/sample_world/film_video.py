"""The pictures of a film as a video: H.264, which pages play, where this machine has an encoder for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from trace_data.frames.video_writer import choose_encoder, video_writer

Image = npt.NDArray[np.uint8]


@contextmanager
def film_video(path: Path, *, size: tuple[int, int], rate: float) -> Iterator[Callable[[Image], None]]:
    """Takes pictures (H, W, 3), BGR, of an even `rate` a second; the file has its name when it is whole.

    Without an encoder OpenCV writes MPEG-4 Part 2, of which pages show pictures. One machine makes equal files of equal
    pictures. Raises OutputError.
    """
    encoder = choose_encoder()
    if encoder.is_video:
        with video_writer(path, size=size, rate=rate, encoder=encoder) as writer:
            count = 0

            def add(picture: Image) -> None:
                nonlocal count
                writer.add(np.ascontiguousarray(picture[..., ::-1]), count / rate)
                count += 1

            yield add
        return
    unfinished = path.with_name(f"_{path.name}")
    plain = cv2.VideoWriter(str(unfinished), cv2.VideoWriter.fourcc(*"mp4v"), rate, size)
    yield lambda picture: plain.write(picture)
    plain.release()
    unfinished.replace(path)
