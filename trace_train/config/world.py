"""Camera and world of a prediction."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from trace_train.config.part import ConfigPart


class WorldConfig(ConfigPart):
    """Where the camera is in each frame (docs/camera.md)."""

    camera: Literal["auto", "moving", "static", "background"] = "auto"
    """Source of the camera path. `moving`: the motion on which the people of a frame agree. `static`: the camera stands
    still. `background`: its rotation from the picture outside the people, the rest from people. `auto`: `static` if the
    background stands still all the time, else `background`."""
    camera_file: Path | None = None
    """Camera path of another tool: TUM, COLMAP text, nerfstudio or a result of ours. It replaces `camera`."""
    camera_scale: Literal["solve", "file"] = "solve"
    """Unit of the path in `camera_file`. `file`: metres. `solve`: unknown; the scale at which people move steadily."""
    outlier_factor: float = Field(3.0, gt=1)
    """People whose rotation of the camera is farther from the most central one than this many medians are left out."""
    decay_seconds: float = Field(0.5, gt=0)
    """While nobody is seen the camera goes on, and its speed falls to 37 % in this time, s."""
    still_pixels: float = Field(0.2, ge=0)
    """A camera stands still if the background moves less between frames, px at a picture width of 640 (median), and was
    seen in at least half of them. What people say of the camera does not count: the picture is the better witness."""
    spread_degrees: float = Field(5.0, ge=0)
    """A median disagreement of people about the camera's rotation between frames above this is warned of, degrees."""
    spread_metres: float = Field(0.2, ge=0)
    """A median disagreement of people about the camera's path between frames above this is warned of, m."""
    still_drift: float = Field(10.0, ge=0)
    """A camera stands still only if its background never gets farther than this from where it began, px at a width
    of 640."""
