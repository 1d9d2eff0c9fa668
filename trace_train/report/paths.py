"""Report section with top views of annotated and predicted paths in the world, for temporal networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from trace_data.pages.html import Html, element, figure, joined, note
from trace_data.schema.clip import ClipRef
from trace_data.schema.keypoints import L_HIP, R_HIP
from trace_train.geometry.camera import FOCAL
from trace_train.inference.tracked_bodies import decode_tracks
from trace_train.network.outputs import Tracks
from trace_train.preview.choose import Wanted, choose_clips
from trace_train.report.clips import Gallery
from trace_train.report.page import Section
from trace_train.streaming.batch import Batch, collate
from trace_train.streaming.stream import load_clip
from trace_train.training.loss_module import batch_targets

CLIPS = 6
FRAMES = 48
"""Maximum number of frames of a path."""
COLOURS = (0, 2, 4, 5)
"""Colours of the people in a clip; no more people are drawn."""
WIDTH, HEIGHT, EDGE = 480, 300, 30


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PersonPath:
    """One person's path over T frames, metres, x to the right and z away from the camera of the first frame."""

    known: npt.NDArray[np.float64]
    """(T, 2)."""
    found: npt.NDArray[np.float64]
    """(T, 2)."""


def paths_section(gallery: Gallery) -> Section:
    """Top views of a few clips of the split with known world positions. Raises ShardError."""
    index = gallery.reader.index
    spread = choose_clips(index, Wanted(clips=8 * CLIPS, frames=FRAMES, splits=(gallery.split,)))
    figures: list[Html] = []
    for ref in sorted(spread, key=lambda ref: -_farthest(gallery, ref)):
        if len(figures) < CLIPS and (paths := paths_of(gallery, ref)):
            entry = index.sequences[ref.sequence]
            off = np.mean([np.linalg.norm(path.found - path.known, axis=1).mean() for path in paths])
            length = np.mean([np.linalg.norm(np.diff(path.known, axis=0), axis=1).sum() for path in paths])
            words = f"{ref.length} frames; on average {off:.2f} m off, over a path of {length:.2f} m"
            figures.append(figure(joined([element("b", entry.key), words]), plan(paths), under=True))
    explained = note(
        f"The clips of split {gallery.split} in which people go farthest, seen from above, in the world of the first "
        "frame's camera, which is the triangle: annotated paths solid, predicted ones dashed, each beginning at its "
        "dot. People are read at their annotated centres and nothing is aligned; depth is converted from the "
        "network's 50-degree view to the true focal length."
    )
    return Section(
        title="Paths in the world",
        body=joined([explained, element("div", *figures, style="pictures")])
        if figures
        else note(f"Nobody in split {gallery.split} has a place in the world."),
    )


def _farthest(gallery: Gallery, ref: ClipRef) -> float:
    """Length of the longest annotated path in the world, metres; -1 if there is none."""
    known = gallery.reader.annotations(ref)
    here = known.masks["world"] & known.present
    hips = known.kp3d[:, :, [L_HIP, R_HIP], :3].mean(axis=2)
    lengths = [
        float(np.linalg.norm(np.diff(path[seen], axis=0), axis=1).sum()) for path, seen in zip(hips, here) if seen.any()
    ]
    return max(lengths, default=-1.0)


@torch.inference_mode()
def paths_of(gallery: Gallery, ref: ClipRef) -> list[PersonPath]:
    """Paths of up to four people who are visible, with a known world position, in the first frame of a clip."""
    network, chunk = gallery.network, max(2, gallery.frames)
    device = next(network.parameters()).device
    batch = collate([load_clip(gallery.reader, ref, 4 * network.map_size)]).to(device)
    targets = batch_targets(network, batch)
    seen = targets.center_mask[0]  # (P, T)
    people = (seen[:, 0] & batch.masks["world"][0, :, 0]).nonzero()[: len(COLOURS), 0]
    state, start = None, None
    placed = []
    for first in range(0, ref.length, chunk):
        frames = torch.arange(first, min(first + chunk, ref.length), device=device)
        before = batch.images[:, first - 1] if first else None
        maps = network(batch.images[:, frames], gallery.flow(batch.images[:, frames], before), state=state)
        local = (frames - first).expand(len(people), -1)
        yx = targets.cell[0, people][:, frames]
        zyx = torch.cat([network.depth_at(maps, local, yx)[..., None], yx], dim=-1)
        part = decode_tracks(network, maps, Tracks(frame=local, zyx=zyx, mask=seen[people][:, frames]), start)
        state, start = maps.state, part.end
        placed.append(part.world_translation)
    predicted = torch.cat(placed, dim=1).cpu().double().numpy()
    predicted[..., 2] *= _focal(batch) / FOCAL  # what looks as large through another lens stands as much farther off
    both = (seen & batch.masks["world"][0])[people].cpu().numpy()
    known = _annotated(batch)[people.cpu().numpy()]
    return [
        PersonPath(known=k[use][:, [0, 2]], found=p[use][:, [0, 2]])
        for k, p, use in zip(known, predicted, both)
        if use.sum() > 1
    ]


def _annotated(batch: Batch) -> npt.NDArray[np.float64]:
    """(P, T, 3) hip midpoints, metres, in the camera of the first frame."""
    joints = batch.kp3d[0].cpu().double().numpy()
    hips = joints[:, :, [L_HIP, R_HIP], :3].mean(axis=2)
    camera = batch.camera_from_world[0, 0].cpu().double().numpy()
    placed: npt.NDArray[np.float64] = hips @ camera[:3, :3].T + camera[:3, 3]
    return placed


def _focal(batch: Batch) -> float:
    """True focal length of the first frame, in half sides of the square that the network sees."""
    side = batch.images.shape[2]
    return float(batch.intrinsics[0, 0, 0, 0] * batch.crop_from_frame[0, 0, 0, 0]) / (side / 2)


def plan(paths: Sequence[PersonPath]) -> Html:
    """Draw the paths with a grid in metres, equal scales, and the camera at (0, 0)."""
    known = np.concatenate([np.zeros((1, 2)), *(path.known for path in paths)])
    # outliers are clipped: they would shrink everything else to a dot
    reach = np.ptp(known, axis=0).max() + 0.5
    found = np.concatenate([path.found for path in paths]).clip(known.min(axis=0) - reach, known.max(axis=0) + reach)
    places = np.concatenate([known, found])
    low, high = places.min(axis=0) - 0.3, places.max(axis=0) + 0.3
    scale = float(min((WIDTH - 2 * EDGE) / (high[0] - low[0]), (HEIGHT - 2 * EDGE) / (high[1] - low[1])))
    middle = (low + high) / 2

    def at(place: npt.NDArray[np.float64]) -> tuple[float, float]:
        x, z = ((place - middle) * scale).tolist()
        return round(WIDTH / 2 + x, 1), round(HEIGHT / 2 - z, 1)

    x, y = at(np.zeros(2))
    drawn = [
        _grid(at(np.zeros(2)), scale),
        f'<path class="camera" d="M{x} {y}L{x - 6} {y - 11}H{x + 6}Z"/>',
    ]
    for number, path in enumerate(paths):
        for places, style in ((path.known, "known"), (path.found, "found")):
            points = [at(place) for place in places]
            drawn.append(
                f'<g class="c{COLOURS[number]}"><path class="{style}" d="M{"L".join(f"{a} {b}" for a, b in points)}"/>'
                f'<circle cx="{points[0][0]}" cy="{points[0][1]}" r="3.5"/></g>'
            )
    label = f"paths of {len(paths)} people seen from above"
    return Html(
        f'<svg class="plan" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">{"".join(drawn)}</svg>'
    )


def _grid(origin: tuple[float, float], scale: float) -> str:
    """Grid lines through the camera's position at a round spacing in metres, with a label."""
    step = next((metres for metres in (0.5, 1, 2, 5, 10, 20, 50) if metres * scale > 24), 100)
    apart = step * scale
    across = np.arange(origin[0] % apart, WIDTH, apart).round(1).tolist()
    down = np.arange(origin[1] % apart, HEIGHT, apart).round(1).tolist()
    lines = "".join(f"M{x} 0V{HEIGHT}" for x in across) + "".join(f"M0 {y}H{WIDTH}" for y in down)
    return f'<path class="grid" d="{lines}"/><text x="8" y="{HEIGHT - 8}">grid {step:g} m</text>'
