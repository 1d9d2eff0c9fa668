"""How well the camera path is known, and whether the camera stood still."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from trace_train.config.world import WorldConfig
from trace_train.inference.camera.background import BackgroundStep
from trace_train.inference.camera.fusion import CameraStep

MOSTLY = 0.5
"""Share of a video's steps above which its background speaks for the whole."""


@dataclass(slots=True)
class Evidence:
    """What the steps of a video said, one number each; NaN where a step did not say it."""

    people: list[int] = field(default_factory=list)
    """People who were fused."""
    spread_degrees: list[float] = field(default_factory=list)
    spread_metres: list[float] = field(default_factory=list)
    flow: list[float] = field(default_factory=list)
    """Median motion of the background, px at a width of 640."""
    turned: int = 0
    """Steps in which the background gave the rotation."""
    drift: list[float] = field(default_factory=lambda: [0.0, 0.0])
    """Sum of the background's motion since the last cut."""
    farthest: float = 0.0
    """The longest such sum."""
    cuts: int = 0

    def add(self, seen: CameraStep | None, background: BackgroundStep | None, *, cut: bool = False) -> None:
        """Count a frame: what people say of the camera's motion to it, and what the background says."""
        nan = float("nan")
        spread = (nan, nan) if seen is None or seen.spread is None else seen.spread
        self.people.append(0 if seen is None else seen.people)
        self.spread_degrees.append(spread[0])
        self.spread_metres.append(spread[1])
        self.flow.append(nan if background is None else background.flow)
        self.cuts += cut
        if cut:
            self.drift = [0.0, 0.0]
        if background is not None:
            self.turned += background.rotation is not None
            self.drift = [a + float(b) for a, b in zip(self.drift, background.drift)]
            self.farthest = max(self.farthest, float(np.linalg.norm(self.drift)))

    def state_dict(self) -> dict[str, Any]:
        """Numbers and lists of them."""
        return asdict(self)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict()`."""
        for name, value in state.items():
            setattr(self, name, list(value) if isinstance(value, list) else value)


def stands_still(evidence: Evidence, config: WorldConfig) -> str:
    """Why the camera is taken to stand still; empty if it moves, or if the background does not show it."""
    flow = _median(evidence.flow)
    unseen = np.isnan(evidence.flow[1:]).mean() if len(evidence.flow) > 1 else 1.0
    if flow is None or unseen > 1 - MOSTLY or flow >= config.still_pixels or evidence.farthest >= config.still_drift:
        return ""
    return f"detected: between frames the background moves {flow:.2f} px"


def quality(
    evidence: Evidence, observed: npt.NDArray[np.bool_], config: WorldConfig
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Figures of a path that is estimated from people or the background, and what the user should be warned of."""
    degrees, metres = _median(evidence.spread_degrees), _median(evidence.spread_metres)
    turned = evidence.turned / max(len(observed) - 1, 1) if config.camera != "moving" else 0.0
    fused = [count for count in evidence.people if count]
    disagree = (degrees or 0) > config.spread_degrees or (metres or 0) > config.spread_metres
    told: str | None = None
    if len(observed) > 1 and not observed[1:].any():
        judged = told = "a guess: nothing shows how the camera moves, so it is taken to stand still"
    elif disagree:
        judged = told = f"a guess: between frames people disagree by {degrees:.1f} degrees and {metres:.2f} m about it"
    elif degrees is None and fused and turned > MOSTLY:
        judged = "turns are measured on the background; steps are a guess: there is one person at a time"
    elif degrees is None and fused:
        judged = "a guess: there is one person at a time, so nothing shows how well it is known"
    elif degrees is None:
        judged = "from the background alone: turns are measured, steps are not"
    else:
        judged = f"estimated: between frames people agree to {degrees:.2f} degrees and {metres:.3f} m"
    facts = {
        "source": "background" if turned > MOSTLY else "fused",
        "judged": judged,
        "people_fused": round(float(np.mean(fused)), 2) if fused else 0,
        "spread_degrees": None if degrees is None else round(degrees, 3),
        "spread_metres": None if metres is None else round(metres, 4),
    }
    if config.camera != "moving":
        facts["turns_from_background"] = round(turned, 4)
    return facts, () if told is None else (f"the camera's path is {told}",)


def _median(values: list[float]) -> float | None:
    known = [value for value in values if not np.isnan(value)]
    return float(np.median(known)) if known else None
