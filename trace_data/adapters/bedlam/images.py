"""Images of a sequence: `png/seq_000000/seq_000000_0005.png`, numbered as the frames of its video.

Those of portrait scenes are stored lying on their left side; where somebody set them upright they are as they should be
(docs/reference/further-datasets.md#portrait-frames).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from trace_data.adapters.files import frame_size
from trace_data.adapters.listing import numbered, numbered_files
from trace_data.errors import AnnotationError
from trace_data.schema.frame import Frame, TurnedFrame

UPRIGHT = 1
"""Quarter turns, clockwise, that set the stored images of portrait scenes upright."""
AGAIN = "images that were scaled or turned, or numbers of another scene: unpack both again"


def image_numbers(folder: Path, sequence: str) -> npt.NDArray[np.int64]:
    """The numbers of a sequence's images, ascending."""
    return numbered(folder, _pattern(sequence))


def images_in(folder: Path, sequence: str) -> Mapping[int, Path]:
    """Its images by number."""
    return numbered_files(folder, _pattern(sequence))


def _pattern(sequence: str) -> re.Pattern[str]:
    return re.compile(rf"{re.escape(sequence)}_(\d{{4,9}})\.(?:png|jpe?g)", re.IGNORECASE)


def upright(files: Sequence[Path], size: tuple[int, int], *, portrait: bool) -> tuple[Frame, ...]:
    """The frames, whose width and height is `size` when they are upright. Raises AnnotationError when they have
    another one."""
    stored = frame_size(files)
    if stored == size:
        return tuple(files)
    if portrait and stored == size[::-1]:
        return tuple(TurnedFrame(file, UPRIGHT) for file in files)
    what = f"the images have {stored[0]}x{stored[1]} px, expected {size[0]}x{size[1]}"
    raise AnnotationError(what, where=files[0].parent, hint=AGAIN)
