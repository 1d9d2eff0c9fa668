"""Draws frames with annotations, predicted centre heat and predicted bodies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from trace_data.drawing import MESH, Colour, Surface, draw_skeleton, write_corner
from trace_data.shards.reader import ShardReader
from trace_train.evaluation.clip import ClipResult
from trace_train.geometry.camera import FOCAL
from trace_train.preview.bodies import BodyPainter, blended, painted
from trace_train.preview.clips import PreviewClip, plain_clip
from trace_train.streaming.augment import full_frame

Picture = npt.NDArray[np.uint8]
NOBODY: Colour = (225, 85, 85)
"""Colour of predicted bodies without a match."""
FAINT = 0.02
"""Peak of a centre map up to which its picture stays dark in proportion."""
CAPTION = "A predicted body has the colour of the annotated one it was matched with; it is red if matched with none."


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Panels:
    """Four pictures (H, W, 3) of one frame."""

    frame: Picture
    annotated: Picture
    heat: Picture
    predicted: Picture


class Artist:
    """Draws clips; needs the packs of the annotated genders and of the neutral body."""

    def __init__(self, reader: ShardReader, packs: Path, *, longest: int = 320) -> None:
        """`longest`: the longer side of a picture, px."""
        self.reader, self.longest = reader, longest
        self.painter = BodyPainter(packs, reader.index)

    def panels(self, seen: ClipResult, frames: Sequence[int] | None = None) -> list[Panels]:
        """Pictures of `frames` (default: all of the clip). `seen` must have vertices. Raises ShardError."""
        clip = plain_clip(self.reader, seen.ref, self.longest)
        overlays = self.painter.overlays(clip)
        faces = self.painter.faces
        return [
            Panels(
                frame=clip.images[t],
                annotated=_annotated(clip, t, overlays[t]),
                heat=_warmed(clip, t, seen.heat[t].cpu().numpy()),
                predicted=_predicted(clip, t, seen, faces),
            )
            for t in (range(seen.ref.length) if frames is None else frames)
        ]


def _annotated(clip: PreviewClip, t: int, bodies: Picture | None) -> Picture:
    picture = blended(clip.images[t], bodies)
    known = clip.mask("body_pose")[:, t] & clip.mask("translation")[:, t] & clip.mask("root_rotation")[:, t]
    for points in clip.joints()[clip.present[:, t] & ~known, t]:  # people without a body have joints
        draw_skeleton(picture, points, annotated=True)
    return picture


def _predicted(clip: PreviewClip, t: int, seen: ClipResult, faces: npt.NDArray[np.int64]) -> Picture:
    assert seen.found.body.vertices is not None
    person = {row: int(seen.truth.person[known]) for row, known in seen.pairs}
    bodies = []
    for row in (seen.found.frame == t).nonzero()[:, 0].tolist():
        vertices = (seen.found.body.vertices[row] + seen.found.translation[row]).cpu().numpy()
        colour = MESH[person[row] % len(MESH)] if row in person else NOBODY
        bodies.append(Surface(vertices=vertices, faces=faces, colour=colour))
    half, centre = _square(clip, t)
    camera = np.array([[FOCAL * half, 0, centre[0]], [0, FOCAL * half, centre[1]], [0, 0, 1]])
    return blended(clip.images[t], painted(bodies, camera, clip.images.shape[1:3]))


def _warmed(clip: PreviewClip, t: int, heat: npt.NDArray[np.float32]) -> Picture:
    """The darkened frame with the heat (M, M) over it: bright at the frame's peak (written), dark at its median.

    Peaks below `FAINT` stay dark: an untrained network is no searchlight.
    """
    half, centre = _square(clip, t)
    scale = 2 * half / len(heat)
    place = np.array([[scale, 0, centre[0] - half + scale / 2], [0, scale, centre[1] - half + scale / 2]])
    height, width = clip.images.shape[1:3]
    peak = float(heat.max())
    floor = float(np.median(heat))  # an untrained map is high everywhere: only what stands out glows
    shown = ((heat - floor) / max(peak - floor, FAINT)).clip(0, 1).astype(np.float32)
    spread = cv2.warpAffine(shown, place, (width, height), flags=cv2.INTER_LINEAR)
    colours = cv2.applyColorMap(np.rint(255 * spread).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    mixed = 0.35 * clip.images[t] * (1 - spread[..., None]) + colours
    warmed: Picture = np.clip(np.rint(mixed), 0, 255).astype(np.uint8)
    write_corner(warmed, f"peak {peak:.2g}")
    return warmed


def _square(clip: PreviewClip, t: int) -> tuple[float, npt.NDArray[np.float64]]:
    """Half the side and the centre (2,), px of the picture, of the network's input square."""
    window = full_frame(clip.entry.width, clip.entry.height)
    middle = np.array([window.left + window.side / 2 - 0.5, window.top + window.side / 2 - 0.5, 1.0])
    placed: npt.NDArray[np.float64] = (clip.image_from_frame[t] @ middle)[:2]
    return float(clip.image_from_frame[t][0, 0]) * window.side / 2, placed
