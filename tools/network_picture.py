"""Draws the picture of README.md: held-out synthetic frames, and the bodies that a network finds in them.

    python tools/network_picture.py SHARDS PACKS docs/bodies-of-the-demo-network.jpg [WEIGHTS]

The last frames of clips of the split `test`, chosen by position: frame, annotated bodies, predicted bodies. Weights: a
run or a network to share, by default the one that ships.
"""

from __future__ import annotations

import sys
from pathlib import Path

from trace_data.assets.pack_files import write_file
from trace_data.assets.pack_picture import encoded
from trace_data.drawing import contact_sheet
from trace_data.schema.body import GENDERS
from trace_data.shards.reader import ShardReader
from trace_data.shards.storage.store import as_store
from trace_train.build import body_layers
from trace_train.evaluation.clip import evaluate_clip
from trace_train.inference.source import open_source
from trace_train.preview.choose import Wanted, choose_clips
from trace_train.preview.predictions import Artist
from trace_train.preview.snapshots import padded

CLIPS, FRAMES = 6, 8
TILE = 220
ROWS = ("frame", "annotated", "predicted")


def main(shards: Path, packs: Path, out: Path, weights: Path = Path("demo")) -> None:
    """Write the picture."""
    reader, source = ShardReader(as_store(shards)), open_source(weights)
    layers, artist = body_layers(packs, GENDERS, source.device), Artist(reader, packs, longest=TILE)
    columns = []
    for ref in choose_clips(reader.index, Wanted(clips=CLIPS, frames=FRAMES, splits=("test",))):
        seen = evaluate_clip(source.network, source.flow, layers, reader, ref, threshold=0.2, vertices=True)
        columns.append((f"{reader.index.sequences[ref.sequence].name}  synthetic", artist.panels(seen)[-1]))
    tiles = [
        (name if row == ROWS[0] else "", padded(getattr(panels, row), (TILE, TILE)))
        for row in ROWS
        for name, panels in columns
    ]
    write_file(out, encoded(contact_sheet(tiles, columns=CLIPS, tile_width=TILE, gap=6), out))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
