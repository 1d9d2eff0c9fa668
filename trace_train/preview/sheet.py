"""Contact sheet of clips: one row per clip, with bodies and joints."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from trace_data.drawing import contact_sheet, draw_skeleton
from trace_train.preview.bodies import blended
from trace_train.preview.clips import PreviewClip

COLUMNS = 6
TILE_WIDTH = 220
GROUND = (24, 26, 30)
"""Background colour of a contact sheet."""
Picture = npt.NDArray[np.uint8]


def sheet_row(clip: PreviewClip, overlays: Sequence[Picture | None]) -> list[tuple[str, Picture]]:
    """Pictures of up to `COLUMNS` frames spread over the clip; the first has the caption of the row."""
    frames = np.unique(np.linspace(0, len(clip.images) - 1, COLUMNS).round().astype(int)).tolist()
    joints, present = clip.joints(), clip.present
    pictures = [blended(clip.images[frame], overlays[frame]) for frame in frames]
    for picture, frame in zip(pictures, frames):
        for points in joints[present[:, frame], frame]:
            draw_skeleton(picture, points, annotated=True)
    ids = ", ".join(str(clip.frame_ids[frame]) for frame in frames)
    words = f"{clip.entry.key}{'  (synthetic)' * clip.entry.synthetic}   frames {ids}   people {', '.join(clip.people)}"
    # the caption extends below the other pictures of the row
    return [(words if column == 0 else "", picture) for column, picture in enumerate(pictures)]


def compose(rows: Sequence[list[tuple[str, Picture]]]) -> Picture:
    """Stack the rows, padding shorter ones."""
    columns = max(len(row) for row in rows)
    nothing = ("", np.full((1, TILE_WIDTH, 3), GROUND, np.uint8))
    tiles = [tile for row in rows for tile in (*row, *[nothing] * (columns - len(row)))]
    return contact_sheet(tiles, columns=columns, tile_width=TILE_WIDTH)
