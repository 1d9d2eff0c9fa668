"""The colours of people and of their sides.

Left limbs are warm, right limbs cool. Annotations are pale and thin, predictions saturated and broad, so that both can
be overlaid. Whoever has an identity has the colour of that identity in every picture, video, page and file.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.uint8]
Colour = tuple[int, int, int]

PREDICTED: dict[str, Colour] = {"L": (235, 94, 40), "R": (0, 122, 204), "middle": (120, 190, 80)}
"""Warm left, cool right, green spine."""
ANNOTATED: dict[str, Colour] = {"L": (255, 214, 190), "R": (190, 226, 255), "middle": (245, 245, 245)}
MESH: tuple[Colour, ...] = ((150, 185, 225), (235, 190, 140), (165, 205, 155), (205, 165, 215))
"""Surface colours of people without an identity, none of them skin; people take them in turn."""
_IDENTITIES: tuple[Colour, ...] = (
    (52, 120, 246), (46, 184, 76), (214, 62, 214), (0, 196, 214), (250, 214, 20), (122, 72, 222),
    (150, 226, 62), (255, 70, 140), (14, 128, 118), (0, 84, 140), (128, 134, 24), (120, 30, 110),
)  # fmt: skip
"""Hues of skin, from red over orange to brown, are left out."""


def colour_of(identity: int) -> Colour:
    """The colour of a person by identity, from 1; the same one again after twelve."""
    return _IDENTITIES[(identity - 1) % len(_IDENTITIES)]


def pale(colour: Colour) -> Colour:
    """The colour of somebody who was not seen."""
    red, green, blue = ((value + 255) // 2 for value in colour)
    return red, green, blue
