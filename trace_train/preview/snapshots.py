"""Pictures of predictions during training, always of the same few frames, to show learning progress.

`pictures/step-00000500.jpg` has a column per frame and the rows of `ROWS`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np
import numpy.typing as npt

from trace_data.assets.pack_files import write_file
from trace_data.assets.pack_picture import encoded
from trace_data.drawing import contact_sheet
from trace_data.errors import in_one_line
from trace_data.schema.body import GENDERS
from trace_data.schema.clip import ClipRef
from trace_data.shards.entries import ShardIndex
from trace_train.body.layer import BodyLayer
from trace_train.build import body_layers
from trace_train.evaluation.clip import evaluate_clip
from trace_train.preview.choose import Wanted, choose_clips
from trace_train.preview.predictions import Artist, Panels
from trace_train.training.hooks import RunSnapshot

FOLDER = "pictures"
COLUMNS = 6
ROWS = ("frame", "annotated", "heat", "predicted")
"""Fields of `Panels`, from top to bottom."""
TILE = 220
"""Width of a column, px."""
GAP = 6
Picture = npt.NDArray[np.uint8]


class Snapshots:
    """Draws the sheets of a run, reading their inputs once. Failures never interrupt training."""

    def __init__(self, log: Callable[[str], None]) -> None:
        """`log` receives a message when a sheet cannot be drawn."""
        self._say = log
        self._layers: dict[str, BodyLayer] | None = None
        self._artist: Artist | None = None

    def draw(self, snapshot: RunSnapshot) -> None:
        """Write the sheet of a step, or log why that failed."""
        try:
            self._draw(snapshot)
        except Exception as error:  # noqa: BLE001  a failed picture must not end days of training
            self._say(f"step {snapshot.step:,}: no pictures of predictions: {in_one_line(error)}")

    def _draw(self, snapshot: RunSnapshot) -> None:
        reader = snapshot.stream.reader
        if self._layers is None:
            self._layers = body_layers(snapshot.packs, GENDERS, snapshot.loss_module.layer.weights.device)
        flow, threshold = snapshot.loss_module.flow, snapshot.config.evaluation.threshold
        if self._artist is None:
            self._artist = Artist(reader, snapshot.packs, longest=TILE)
        refs = fixed_clips(reader.index, snapshot.config.network.temporal)
        columns: list[tuple[str, Panels]] = []
        with snapshot.scored_network() as network:
            for ref in refs:
                seen = evaluate_clip(network, flow, self._layers, reader, ref, threshold=threshold, vertices=True)
                entry = reader.index.sequences[ref.sequence]
                ids = entry.clip_ids(ref).tolist()
                names = [f"{entry.name}  {number}{'  synthetic' * reader.synthetic}" for number in ids]
                columns += zip(names, self._artist.panels(seen))
        file = snapshot.run / FOLDER / f"step-{snapshot.step:08d}.jpg"
        file.parent.mkdir(exist_ok=True)
        write_file(file, encoded(sheet(columns), file), option="--out")


def fixed_clips(index: ShardIndex, temporal: bool) -> list[ClipRef]:
    """The frames drawn: from different sequences, or one clip for a temporal network.

    From the validation split if there is one, else from the training split.
    """
    split = "val" if "val" in index.splits else "train"
    clips, frames = (1, COLUMNS) if temporal else (COLUMNS, 1)
    return choose_clips(index, Wanted(clips=clips, frames=frames, splits=(split,)))


def sheet(columns: Sequence[tuple[str, Panels]]) -> Picture:
    """All columns side by side with rows of equal height; names are below the first row."""
    pictures = [[getattr(panels, row) for _, panels in columns] for row in ROWS]
    ratio = max(picture.shape[0] / picture.shape[1] for picture in pictures[0])
    size = (max(1, round(ratio * TILE)), TILE)
    tiles = [
        (name if number == 0 else "", padded(picture, size))
        for number, row in enumerate(pictures)
        for (name, _), picture in zip(columns, row)
    ]
    return contact_sheet(tiles, columns=len(columns), tile_width=TILE, gap=GAP)


def row_of(picture: Picture, row: str) -> Picture:
    """One row of a sheet, without the names."""
    height = (len(picture) - GAP) // len(ROWS)
    top = GAP + ROWS.index(row) * height
    return picture[top : top + height - GAP - 18, GAP:-GAP]


def padded(picture: Picture, size: tuple[int, int]) -> Picture:
    """The picture centred on a black one of `size` (H, W), with its aspect ratio kept."""
    scale = min(size[0] / picture.shape[0], size[1] / picture.shape[1])
    height, width = (max(1, min(limit, round(scale * side))) for limit, side in zip(size, picture.shape))
    placed = np.zeros((*size, 3), np.uint8)
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    placed[top : top + height, left : left + width] = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
    return placed
