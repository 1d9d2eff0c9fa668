"""What a page shows: T frames with their cameras, and people in a world whose Y axis points up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from trace_data.drawing import Colour
from trace_data.export.mesh import BodyMesh

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ShownBody:
    """A person of R rows as a body: its joints turned about each other."""

    pose: Floats
    """(R, 24, 3) axis-angle; the root in the world, the rest relative to the parent."""
    rest: Floats
    """(24, 3) m: the person's joints in the T-pose."""
    mesh: BodyMesh | None
    """None where there is no surface to show: then it is a skeleton."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Points:
    """A person of R rows of whom only places of joints are known."""

    joints: Floats
    """(R, 24, 3) m, world; NaN where unknown."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ShownPerson:
    """One person of R rows, in the order of frames."""

    label: str
    colour: Colour
    frame: npt.NDArray[np.int32]
    """(R,) index of the frame."""
    state: npt.NDArray[np.uint8]
    """(R,) as in a result: 0 is seen, or annotated."""
    pelvis: Floats
    """(R, 3) m, world."""
    shape: ShownBody | Points


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ShownVideo:
    """A video, that the page names or holds."""

    source: str
    """Relative address, or a data URI."""
    name: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stills:
    """Pictures of frames, inside the page."""

    jpegs: Sequence[bytes]
    frame: npt.NDArray[np.int64]
    """(T,) which of `jpegs` is shown in each frame."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ShownScene:
    """Everything on the page."""

    title: str
    time: Floats
    """(T,) s, strictly increasing."""
    number: npt.NDArray[np.int64]
    """(T,) frame numbers of the source."""
    size: tuple[int, int]
    """Width and height of the picture, px."""
    intrinsics: Floats
    """(1 or T, 3, 3) px; the centre of the top-left pixel is (0, 0)."""
    camera_from_world: Floats
    """(T, 4, 4) rigid, m; camera axes x right, y down, z forward."""
    observed: npt.NDArray[np.bool_]
    """(T,) whether the camera's motion to the frame is known."""
    people: tuple[ShownPerson, ...]
    picture: ShownVideo | Stills | None
    facts: Sequence[tuple[str, str]]
    """What the table says: name and value."""
    lead: str
    """The scene in a sentence."""
    notes: Sequence[str] = ()
    """What the reader should know, such as warnings."""
    badge: str = ""
    """A word beside the title."""
    links: Sequence[tuple[str, str]] = field(default_factory=tuple)
    """Files beside the page: words and relative address."""
