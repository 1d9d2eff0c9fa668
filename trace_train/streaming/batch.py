"""A training batch: named tensors and masks, padded to the largest number of people in a clip."""

from __future__ import annotations

import math
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from trace_data.schema.clip import FRAME_MASKS, PERSON_MASKS, ClipAnnotations, ClipRef


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LoadedClip:
    """One clip as loaded by a worker."""

    ref: ClipRef
    frames: Tensor
    """(T, S, S, 3) uint8 RGB, before the colour changes and occluder below."""
    crop_from_frame: npt.NDArray[np.float64]
    """(T, 3, 3) maps from px of the frame to px of the crop."""
    annotations: ClipAnnotations
    color: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Factors for brightness, contrast and saturation."""
    camera_moves: bool = False
    """Whether a synthetic camera moves over the clip."""
    flow: Tensor | None = None
    """(T, 2, S / 4, S / 4) stored flow as providers give it; None: to be computed from the frames."""
    occluder: tuple[npt.NDArray[np.uint8], npt.NDArray[np.float64]] | None = None
    """The occluder's (N, N, 4) RGBA picture, and (T, 2, 3) maps from px of the crop to the picture, whose edges are at
    -1 and 1."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Batch:
    """B clips of T frames with up to P people; padding people are absent in every mask."""

    refs: tuple[ClipRef, ...]
    images: Tensor
    """(B, T, S, S, 3) uint8 RGB; `pixels.finish` applies the colours and occluders below."""
    color: Tensor
    """(B, 3) pending factors for brightness, contrast and saturation; stays on the CPU, where they are tested."""
    occluded: tuple[int, ...]
    """The R clips into which an occluder is still to be drawn."""
    occluders: Tensor
    """(R, N, N, 4) uint8 RGBA pictures of these occluders."""
    occluder_places: Tensor
    """(R, T, 2, 3) maps from px of the crop to these pictures, whose edges are at -1 and 1."""
    crop_from_frame: Tensor
    """(B, T, 3, 3) maps from px of the frame to px of the crop, pixel centres."""
    seconds: Tensor
    """(B, T) time of each frame since the clip's first."""
    frame_size: Tensor
    """(B, 2) width and height of the frame, px."""
    moving: Tensor
    """(B,) bool: the sequence's own camera moves. If not, the crop of frame 0 is the fixed view."""
    camera_moves: Tensor
    """(B,) bool: a synthetic camera moves, so later crops differ from the fixed view."""
    camera_from_world: Tensor
    """(B, T, 4, 4) metres."""
    intrinsics: Tensor
    """(B, T, 3, 3) px of the frame."""
    identity: Tensor
    """(B, P) person ids of the index; -1 is padding."""
    gender: Tensor
    """(B, P) uint8, codes of `trace_data.schema.body.GENDERS`."""
    present: Tensor
    """(B, P, T) bool."""
    pose: Tensor
    """(B, P, T, 24, 3) axis-angle, world root."""
    betas: Tensor
    """(B, P, T, 10) betas of the gendered model."""
    betas_neutral: Tensor
    """(B, P, T, 10) betas of the neutral model."""
    translation: Tensor
    """(B, P, T, 3) metres, world."""
    kp2d: Tensor
    """(B, P, T, 44, 3) px of the frame and confidence."""
    kp3d: Tensor
    """(B, P, T, 44, 4) metres, world, and confidence."""
    center: Tensor
    """(B, P, T, 2) x, y px of the frame; mask `center`."""
    box: Tensor
    """(B, P, T, 4) left, top, right, bottom px of the frame; mask `center`."""
    masks: Mapping[str, Tensor]
    """`PERSON_MASKS` (B, P, T) and `FRAME_MASKS` (B, T), bool."""
    flow: Tensor | None = None
    """(B, T, 2, S / 4, S / 4) float32, stored flow as providers give it, which knows no occluders; None: to be computed
    from the frames."""

    def split(self, parts: int) -> list[Batch]:
        """Split into `parts` batches of equal size. Call it after `pixels.finish`: pending occluders are not split."""
        if parts == 1:
            return [self]
        size = len(self.refs) // parts
        assert size * parts == len(self.refs) and not self.occluded

        def part(begin: int) -> Batch:
            end = begin + size
            cut: dict[str, Any] = {
                f.name: None if (value := getattr(self, f.name)) is None else value[begin:end]
                for f in fields(self)
                if f.name not in {"masks", "occluded", "occluders", "occluder_places"}
            }
            return replace(self, **cut, masks={k: v[begin:end] for k, v in self.masks.items()})

        return [part(begin) for begin in range(0, len(self.refs), size)]

    def to(self, device: torch.device | str) -> Batch:
        """Move the batch to a device."""
        moved: dict[str, Tensor] = {
            f.name: to_device(value, device)
            for f in fields(self)
            if f.name not in {"refs", "masks", "color", "occluded"} and (value := getattr(self, f.name)) is not None
        }
        return replace(self, **moved, masks={k: to_device(v, device) for k, v in self.masks.items()})  # type: ignore[arg-type]


def to_device(value: Tensor, device: torch.device | str) -> Tensor:
    """Move a tensor to a device, asynchronously through page-locked memory for a GPU."""
    if torch.device(device).type == "cuda" and value.device.type == "cpu":
        value = value.pin_memory()
    return value.to(device, non_blocking=True)


def collate(clips: Sequence[LoadedClip], images: Tensor | None = None) -> Batch:
    """Stack clips of equal length and size, padding people to the largest number in any clip (at least one).

    `images` (B, T, S, S, 3): the frames if they already share one tensor; otherwise they are stacked here.
    """
    people = max(1, *(len(c.annotations.identity) for c in clips))

    def stack(name: str) -> Tensor:
        return torch.from_numpy(np.stack([np.asarray(getattr(c.annotations, name), np.float32) for c in clips]))

    def pad(arrays: Sequence[np.ndarray], fill: int = 0) -> Tensor:
        out = np.full((len(arrays), people, *arrays[0].shape[1:]), fill, dtype=arrays[0].dtype)
        for row, array in zip(out, arrays):
            row[: len(array)] = array
        return torch.from_numpy(out)

    def people_of(name: str, fill: int = 0) -> Tensor:
        return pad([getattr(c.annotations, name) for c in clips], fill)

    flows = [c.flow for c in clips]
    pictures = [c.occluder[0] for c in clips if c.occluder is not None]
    places = [c.occluder[1] for c in clips if c.occluder is not None]
    masks = {name: pad([c.annotations.masks[name] for c in clips]) for name in PERSON_MASKS}
    masks |= {name: torch.from_numpy(np.stack([c.annotations.masks[name] for c in clips])) for name in FRAME_MASKS}
    return Batch(
        refs=tuple(c.ref for c in clips),
        images=torch.stack([c.frames for c in clips]) if images is None else images,
        color=torch.tensor([c.color for c in clips]),
        occluded=tuple(i for i, c in enumerate(clips) if c.occluder is not None),
        occluders=torch.from_numpy(np.stack(pictures)) if pictures else torch.empty(0, 1, 1, 4, dtype=torch.uint8),
        occluder_places=torch.from_numpy(np.stack(places).astype(np.float32)) if places else torch.empty(0, 1, 2, 3),
        crop_from_frame=torch.from_numpy(np.stack([c.crop_from_frame for c in clips]).astype(np.float32)),
        seconds=torch.from_numpy(np.stack([_seconds(c.annotations) for c in clips])),
        frame_size=torch.tensor([(c.annotations.width, c.annotations.height) for c in clips]),
        moving=torch.tensor([c.annotations.moving for c in clips]),
        camera_moves=torch.tensor([c.camera_moves for c in clips]),
        camera_from_world=stack("camera_from_world"),
        intrinsics=stack("intrinsics"),
        identity=people_of("identity", -1),
        gender=people_of("gender"),
        present=people_of("present"),
        pose=people_of("pose"),
        betas=people_of("betas"),
        betas_neutral=people_of("betas_neutral"),
        translation=people_of("translation"),
        kp2d=people_of("kp2d"),
        kp3d=people_of("kp3d"),
        center=people_of("center"),
        box=people_of("box"),
        masks=masks,
        flow=torch.stack([flow for flow in flows if flow is not None]) if None not in flows else None,
    )


def _seconds(annotations: ClipAnnotations) -> npt.NDArray[np.float32]:
    passed = annotations.frame_ids - annotations.frame_ids[0]
    return np.asarray(passed / annotations.fps, np.float32)


class FrameBuffers:
    """A pool of uint8 tensors: memory returns to it when the last tensor that uses it is gone."""

    def __init__(self, *, pinned: bool = False) -> None:
        """`pinned`: page-locked memory for asynchronous copies to a GPU; torch recycles it itself and knows when a copy
        has finished."""
        self._pinned = pinned
        self._free: dict[int, list[npt.NDArray[np.uint8]]] = {}

    def take(self, shape: tuple[int, ...]) -> Tensor:
        """A tensor of `shape` with undefined values."""
        if self._pinned:
            return torch.empty(shape, dtype=torch.uint8, pin_memory=True)
        size = math.prod(shape)
        free = self._free.setdefault(size, [])
        memory = free.pop() if free else np.empty(size, np.uint8)
        shown = memory.view()  # kept alive by the tensor; when the view dies, its memory returns to the pool
        weakref.finalize(shown, free.append, memory).atexit = False
        return torch.from_numpy(shown).view(shape)
