"""Cuts are found; pans, flashes, fades and people who walk are none."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
import pytest

from trace_train.config.tracker import CutConfig
from trace_train.inference.cuts import CutDetector

WIDTH, HEIGHT = 480, 270


@cache
def wide(number: int) -> np.ndarray:
    """(270, 1440, 3) a place: coarse and fine structure, things of different colours."""
    random = np.random.default_rng(number)
    picture = np.zeros((HEIGHT, 3 * WIDTH, 3)) + random.uniform(0.2, 0.8, 3)
    for size in (3, 8, 20, 50):
        coarse = random.normal(size=(HEIGHT // size + 2, 3 * WIDTH // size + 2))
        picture += cv2.resize(coarse, (3 * WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)[..., None] * 0.03 * size**0.5
    for _ in range(25):
        x, y, width, height = random.integers((0, 0, 15, 15), (3 * WIDTH - 60, HEIGHT - 60, 120, 120))
        picture[y : y + height, x : x + width] = random.uniform(0, 1, 3)
    return np.asarray(picture.clip(0, 1) * 255).astype(np.uint8)


def view(number: int, x: float = 300.0) -> np.ndarray:
    """What a camera that has panned by `x` px sees of a place."""
    return wide(number)[:, int(x) : int(x) + WIDTH].copy()


def cuts(pictures: list[np.ndarray], detector: CutDetector | None = None) -> list[int]:
    detector = detector or CutDetector()
    return [number for number, picture in enumerate(pictures) if detector.step(picture)]


def test_a_new_place_is_a_cut() -> None:
    places = [view(number) for number in range(8) for _ in range(3)]
    assert cuts(places) == list(range(3, 24, 3))
    assert cuts(places, CutDetector(CutConfig(detect=False))) == []


@pytest.mark.parametrize("px", [5, 40, 150])
def test_a_pan_is_none(px: int) -> None:
    for number in range(3):
        pictures = [view(number, x) for x in range(100, 900, px)]
        assert cuts(pictures) == []
        assert cuts([cv2.blur(picture, (px // 2 + 1, 1)) for picture in pictures]) == []


def test_flashes_fades_and_black_frames_are_none() -> None:
    for number in range(3):
        picture = view(number)
        flash = (picture * 1.5 + 60).clip(0, 255).astype(np.uint8)
        white, black = np.full_like(picture, 255), np.zeros_like(picture)
        fading = [(picture * share).astype(np.uint8) for share in np.linspace(1, 0, 12)]
        assert cuts([picture, flash, picture, white, picture, *fading, black, *fading[::-1]]) == []
        assert cuts([picture, black, black, view(number + 1)]) == [3], "another place after black is a cut"


def test_people_who_walk_are_none() -> None:
    pictures = [view(0) for _ in range(20)]
    for step, picture in enumerate(pictures):
        cv2.rectangle(picture, (20 * step, 60), (20 * step + 90, 270), (200, 40, 40), -1)
    assert cuts(pictures) == []


def test_other_sizes_and_plain_pictures() -> None:
    assert cuts([view(0), view(0).transpose(1, 0, 2)]) == [1]
    assert cuts([view(0), cv2.resize(view(0), (960, 540))]) == [], "the same at twice the size"
    assert cuts([np.full((4, 4, 3), 90, np.uint8)] * 3) == []


def test_it_goes_on_from_its_state() -> None:
    first, second = CutDetector(), CutDetector()
    second.load_state_dict(first.state_dict())
    assert not second.step(view(0))
    first.load_state_dict(second.state_dict())
    assert first.step(view(1))
