"""People of the sample world: shapes, clothes, and their assignment to splits and sequences."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from trace_data.sample_world.figure import CLOTHES, LIMBS
from trace_data.sample_world.recorded import MotionClip
from trace_data.schema.body import Gender

Array = npt.NDArray[np.float64]
Split = Literal["train", "validation", "test"]

PEOPLE: dict[Split, int] = {"train": 60, "validation": 10, "test": 14}
"""Number of people of each split; no person is in two."""
LARGE, APPEARANCES = 1000, 4
"""Worlds with more training sequences than this have one person to learn from for every four of them."""
SHARES: dict[Split, float] = {"validation": 0.12, "test": 0.18}
"""Share of the sequences; the rest is for training."""
PAIRS = 0.3
"""Share of the sequences with two people."""
_PERSON, _CAST = 1, 2


@dataclass(frozen=True, slots=True)
class CastMember:
    """A person, the same in every sequence."""

    index: int
    gender: Gender
    betas: Array
    """(10,) of the gendered body."""
    colours: Array
    """(len(CLOTHES), 3) BGR, 0 to 255."""


@dataclass(frozen=True, slots=True)
class Role:
    """The people of a sequence."""

    split: Split
    people: tuple[int, ...]
    motions: tuple[MotionClip, ...] = ()
    """How each of them moves; none if that is drawn at random."""


def draw_person(seed: int, index: int) -> CastMember:
    """Person `index` of the world of `seed`."""
    rng = np.random.default_rng([seed, _PERSON, index])
    return CastMember(
        index=index,
        gender="male" if index % 2 == 0 else "female",
        betas=np.clip(rng.normal(0, 1, 10), -2, 2),
        colours=_dress(rng),
    )


def people_of(split: Split) -> list[int]:
    """The people of a split; those of the training split that every world has."""
    first = sum(PEOPLE[before] for before in list(PEOPLE)[: list(PEOPLE).index(split)])
    return list(range(first, first + PEOPLE[split]))


def trained_people(sequences: int) -> list[int]:
    """The people of the training split of a world in which it has this many sequences."""
    further = sequences // APPEARANCES - PEOPLE["train"] if sequences > LARGE else 0
    first = sum(PEOPLE.values())
    return [*people_of("train"), *range(first, first + further)]


def cast(seed: int, sequences: int) -> list[Role]:
    """The people of each sequence. All people of a split appear equally often, in random order."""
    rng = np.random.default_rng([seed, _CAST])
    counts = {split: max(1, round(share * sequences)) for split, share in SHARES.items()}
    counts = {"train": sequences - sum(counts.values()), **counts}
    roles: list[Role] = []
    for split in PEOPLE:
        people = np.array(trained_people(counts[split]) if split == "train" else people_of(split))
        waiting: list[int] = []
        for _ in range(counts[split]):
            if len(waiting) < 2:
                waiting = [p for p in people[rng.permutation(len(people))].tolist() if p not in waiting] + waiting
            number = 2 if rng.uniform() < PAIRS else 1
            roles.append(Role(split, tuple(waiting.pop() for _ in range(number))))
    return roles


def _dress(rng: np.random.Generator) -> Array:
    """Colours of all clothes: warm on the left, cool on the right, so that the sides can be distinguished."""
    skin = np.array(colorsys.hsv_to_rgb(rng.uniform(0.04, 0.09), rng.uniform(0.3, 0.6), rng.uniform(0.45, 0.95)))
    hair = np.array(colorsys.hsv_to_rgb(rng.uniform(0.03, 0.12), rng.uniform(0.2, 0.7), rng.uniform(0.08, 0.3)))
    top_light = rng.uniform() < 0.5
    plain_hue, plain = rng.uniform(), rng.uniform(0.0, 0.15)
    bright, dark = rng.uniform(0.8, 1.0), rng.uniform(0.15, 0.35)
    colour = {
        "skin": skin,
        "hair": hair,
        "top": _hsv(plain_hue, plain, bright if top_light else dark),
        "mark": _hsv(plain_hue, plain, dark if top_light else bright),
        "shorts": _hsv(rng.uniform(0.55, 0.75), rng.uniform(0.05, 0.2), rng.uniform(0.25, 0.55)),
        "left_hand": skin,
        "right_hand": skin,
    }
    gain = rng.uniform(0.85, 1.0)
    for side, arm, leg in (("left", 0.0, 0.11), ("right", 0.6, 0.42)):
        arm, leg = arm + rng.uniform(-0.03, 0.03), leg + rng.uniform(-0.035, 0.035)
        colour[f"{side}_upper_arm"] = _hsv(arm, rng.uniform(0.75, 0.95), 0.85 * gain)
        colour[f"{side}_forearm"] = _hsv(arm, rng.uniform(0.4, 0.55), gain)
        colour[f"{side}_thigh"] = _hsv(leg, rng.uniform(0.8, 1.0), 0.62 * gain)
        colour[f"{side}_shin"] = _hsv(leg, rng.uniform(0.5, 0.65), 0.95 * gain)
        colour[f"{side}_foot"] = _hsv(arm, 0.7, rng.uniform(0.3, 0.45))
    assert set(colour) == set(CLOTHES) and len(LIMBS) == 6
    return 255 * np.array([colour[name][::-1] for name in CLOTHES])


def _hsv(hue: float, saturation: float, value: float) -> Array:
    return np.array(colorsys.hsv_to_rgb(hue % 1.0, saturation, min(value, 1.0)))
