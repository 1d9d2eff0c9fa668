"""Frames of a split with what is annotated and what a checkpoint predicts drawn over them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from trace_data.drawing import MESH, contact_sheet, draw_mesh, draw_skeleton
from trace_data.schema.clip import ClipAnnotations, ClipRef
from trace_data.shards.reader import ShardReader
from trace_data.shards.store import Store
from trace_train.body_layer import BodyLayer
from trace_train.camera import FOCAL
from trace_train.checkpoint import open_checkpoint
from trace_train.decode import Detections, detect
from trace_train.evaluate import frames_of, load
from trace_train.network.model import TraceNetwork
from trace_train.streaming.augment import full_frame
from trace_train.streaming.batch import collate
from trace_train.streaming.stream import load_clip

Picture = npt.NDArray[np.uint8]
CAPTION = (
    "Left of each pair: annotated joints (pale, thin) and predicted joints (saturated), left side warm, right side "
    "cool. Right: the predicted bodies."
)
SIZE = 320
"""Side of the square in which a frame is drawn, px."""


@torch.inference_mode()
def comparison_sheet(
    run: Path, *, shards: Path | str | Store, packs: Path, split: str, count: int = 8, threshold: float = 0.2
) -> Picture:
    """A contact sheet of `count` frames of a split, from different sequences spread evenly over it.

    Frames are chosen by their place alone, never by how well the prediction fits. Raises as `evaluate` does.
    """
    checkpoint = open_checkpoint(run)
    network, layers, device = load(checkpoint, packs)
    reader = ShardReader(shards)
    middle = {ref.sequence: ref for ref in frames_of(reader, split, 1) if 2 * ref.start <= _last(reader, ref)}
    refs = list(middle.values())
    chosen = [refs[i] for i in np.unique(np.linspace(0, len(refs) - 1, count).astype(int)).tolist()]
    batch = collate([load_clip(reader, ref, network_size(network)) for ref in chosen]).to(device)
    maps = network(batch.images[:, 0])
    found = detect(network, maps, layers["neutral"], threshold=threshold, vertices=True)
    tiles = [_tile(reader, ref, found, frame, layers["neutral"]) for frame, ref in enumerate(chosen)]
    return contact_sheet(tiles, columns=2, tile_width=2 * SIZE)


def network_size(network: TraceNetwork) -> int:
    """Side of the square input, px: four times that of the maps (fact sheet network.md)."""
    return 4 * network.map_size


def _last(reader: ShardReader, ref: ClipRef) -> int:
    return reader.index.sequences[ref.sequence].frames - 1


def _tile(reader: ShardReader, ref: ClipRef, found: Detections, frame: int, layer: BodyLayer) -> tuple[str, Picture]:
    known = reader.annotations(ref)
    window = full_frame(known.width, known.height)
    (plain,), (crop_from_frame,) = reader.frames(ref, [window], SIZE)
    people = (found.frame == frame).nonzero()[:, 0].tolist()
    skeletons, bodies = plain.copy(), plain.copy()
    _draw_annotated(skeletons, known, crop_from_frame)
    for k in people:
        # normalised places have their edges at -1 and 1, pixels their first centre at 0
        draw_skeleton(skeletons, ((found.joints2d[k] + 1) * (SIZE / 2) - 0.5).cpu().numpy())
    _draw_bodies(bodies, found, people, layer.faces.cpu().numpy())
    top, bottom = (round((edge - window.top) * SIZE / window.side) for edge in (0, known.height))
    left, right = (round((edge - window.left) * SIZE / window.side) for edge in (0, known.width))
    entry = reader.index.sequences[ref.sequence]
    caption = f"{entry.key}  frame {known.frame_ids[0]}  {len(people)} found"
    return caption, np.concatenate([view[top:bottom, left:right] for view in (skeletons, bodies)], axis=1)


def _draw_annotated(image: Picture, known: ClipAnnotations, crop: npt.NDArray[np.float64]) -> None:
    for points in known.kp2d[known.present[:, 0], 0]:
        placed = points.astype(np.float64)
        placed[:, :2] = points[:, :2] @ crop[:2, :2].T + crop[:2, 2]
        draw_skeleton(image, placed, annotated=True)


def _draw_bodies(image: Picture, found: Detections, people: list[int], faces: npt.NDArray[np.int64]) -> None:
    assert found.body.vertices is not None
    centre = (SIZE - 1) / 2
    intrinsics = np.array([[FOCAL * SIZE / 2, 0, centre], [0, FOCAL * SIZE / 2, centre], [0, 0, 1]])
    far_first = sorted(people, key=lambda k: -float(found.translation[k, 2]))
    for k in far_first:
        vertices = (found.body.vertices[k] + found.translation[k]).cpu().numpy()
        draw_mesh(image, vertices, faces, intrinsics, colour=MESH[people.index(k) % len(MESH)])
