"""Finds cuts: frames in which a video goes on with another shot."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch

from trace_train.config.tracker import CutConfig

LONGER_SIDE = 96
"""Pictures are compared at this size, px."""
FLAT = 0.02
"""Standard deviation of the details, of values in 0..1, below which a picture shows nothing: black, white, fog."""
COLOURS = 8
"""Bins of a colour histogram in each of two dimensions."""
Picture = npt.NDArray[np.float32]


class CutDetector:
    """Compares each picture of one video with the one before.

    A new shot has other details, wherever a pan may have moved them, and other colours. Brightness and contrast play no
    role, so that flashes are no cuts. A picture without details is no cut either: the next one with details is compared
    with the last one before it.
    """

    def __init__(self, config: CutConfig | None = None) -> None:
        self.config = config or CutConfig()
        self._details: Picture | None = None
        self._colours: Picture | None = None

    def step(self, picture: npt.NDArray[np.uint8]) -> bool:
        """Whether a new shot begins with `picture` (H, W, 3) RGB. Pictures of another shape than before begin one."""
        if not self.config.detect:
            return False
        small = _small(picture)
        details, colours = details_of(small), colours_of(small)
        if details.std() < FLAT:
            return False
        before = self._details, self._colours
        self._details, self._colours = details, colours
        if before[0] is None or before[1] is None:
            return False
        if before[0].shape != details.shape:
            return True
        recoloured = float(np.abs(before[1] - colours).sum() / 2)
        return recoloured > self.config.colours and likeness(before[0], details) < self.config.details

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on."""
        known = {"details": self._details, "colours": self._colours}
        return {name: torch.from_numpy(value.copy()) for name, value in known.items() if value is not None}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict()`."""
        self._details, self._colours = (
            state[name].numpy().copy() if name in state else None for name in ("details", "colours")
        )


def likeness(before: Picture, now: Picture) -> float:
    """How well a part of the details (H, W) of one picture is found again in another, at best: a correlation, -1..1."""
    height, width = before.shape
    tall, wide = height // 2, width // 3
    parts = [
        before[top : top + tall, left : left + wide]
        for top in (0, height - tall)
        for left in np.linspace(0, width - wide, 3).astype(int)
    ]
    parts = [part for part in parts if part.std() > FLAT / 2]
    return max(float(cv2.matchTemplate(now, part, cv2.TM_CCOEFF_NORMED).max()) for part in parts)


def details_of(small: Picture) -> Picture:
    """(H, W) what is left of the brightness of a picture (H, W, 3) without its coarse part."""
    grey = small.mean(2)
    details: Picture = cv2.GaussianBlur(grey, (0, 0), 1.0) - cv2.GaussianBlur(grey, (0, 0), 4.0)
    return details


def colours_of(small: Picture) -> Picture:
    """(64,) shares of the pixels of a picture (H, W, 3) by their shares of red and green, which brightness leaves."""
    total = small.sum(2) + 0.05
    bins = [np.minimum(small[:, :, channel] / total * COLOURS * 1.5, COLOURS - 1).astype(int) for channel in (0, 1)]
    count = np.bincount((bins[0] * COLOURS + bins[1]).ravel(), minlength=COLOURS**2)
    shares: Picture = (count / count.sum()).astype(np.float32)
    return shares


def _small(picture: npt.NDArray[np.uint8]) -> Picture:
    scale = LONGER_SIDE / max(picture.shape[:2])
    size = [max(round(side * scale), 8) for side in picture.shape[1::-1]]
    small: Picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    return small / np.float32(255)
