"""The table of facts of a result: what was assumed, what was measured, and what may be done with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from trace_data.export.rate import clock
from trace_data.export.skeleton import person_label
from trace_data.export.track import absences
from trace_data.results.result import INHERITED, PREDICTED, Result

GAPS = 3
"""Absences that are named for each person."""


def facts_of(result: Result, model: str | None) -> list[tuple[str, str]]:
    """Name and value. `model`: the body model whose surface is shown, or None."""
    return [(name, value) for name, value in _facts(result, model) if value]


def _facts(result: Result, model: str | None) -> Iterator[tuple[str, str]]:
    about = result.about
    video, scene = _part(about, "video"), _part(about, "scene")
    yield "video", _words(video, "name")
    yield "frames and rate", _rate(result, _words(video, "rate_source"))
    yield "picture", f"{result.image_size[0]} × {result.image_size[1]} px{_hdr(video)}"
    yield "lens", _lens(result)
    yield "camera", _camera(result)
    yield "scale", _words(about, "scale")
    yield "up axis", _up(result, scene)
    yield "floor", _words(scene, "ground").replace("none", "not found")
    yield "smoothing of bodies and camera", _words(scene, "smoothing")
    for person in range(len(result.person)):
        if len(result.rows_of(person)):
            yield person_label(result, person).replace("person_", "person "), _presence(result, person)
    own = _part(about, "body_model")
    yield "body model of the prediction", " ".join(_words(own, key) for key in ("name", "version", "gender")).strip()
    yield "surface shown", model or "none: skeletons from the joints of the result"
    weights = _words(about, "weights_name"), _words(about, "weights")[:12]
    yield "weights", ", ".join(word for word in weights if word)
    yield "licence", _words(about, "licence")


def _part(about: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    part = about.get(key)
    return part if isinstance(part, Mapping) else {}


def _words(part: Mapping[str, Any], key: str) -> str:
    value = part.get(key)
    return "" if value is None or isinstance(value, Mapping | list) else str(value)


def _rate(result: Result, source: str) -> str:
    if len(result.time) == 1:
        return f"one frame, at {result.time[0]:.3f} s"
    even = clock(result)
    spread = "uneven times, about " if even.resampled else ""
    said = f", from {source}" if source else ""
    covered = f"{result.time[0]:.2f} to {result.time[-1]:.2f} s"
    return f"{len(result.time):,} frames, {covered}, {spread}{even.fps:.6g} a second{said}"


def _hdr(video: Mapping[str, Any]) -> str:
    return f", {video['hdr']} (HDR)" if video.get("hdr") else ""


def _lens(result: Result) -> str:
    k, (width, height) = result.intrinsics[0], result.image_size
    angle = 2 * np.degrees(np.arctan(max(width / k[0, 0], height / k[1, 1]) / 2))
    varies = ", changes over the video" if len(result.intrinsics) > 1 else ""
    source = _words(result.about, "intrinsics_source")
    said = f", {source}" if source.startswith("assumed") else f", from: {source}" if source else ""
    return f"focal length {k[0, 0]:.0f} px, {angle:.0f}° across the longer side{said}{varies}"


def _camera(result: Result) -> str:
    source = _words(result.about, "camera_source")
    known = int(result.camera_observed.sum())
    seen = "" if known == len(result.time) else f"; its motion is known in {known:,} of {len(result.time):,} frames"
    return f"{source or 'source not told'}{seen}"


def _up(result: Result, scene: Mapping[str, Any]) -> str:
    level, source = _words(scene, "level"), _words(result.about, "up_source")
    if level == "known":
        return f"Y; from: {source}" if source and source != "known" else "Y; known"
    return "Y" + (f"; {level}" if level else "")


def _presence(result: Result, person: int) -> str:
    rows = result.rows_of(person)
    parts = [f"{len(rows):,} of {len(result.time):,} frames"]
    for state, word in ((INHERITED, "from memory"), (PREDICTED, "predicted")):
        if count := int((result.state[rows] == state).sum()):
            parts.append(f"{count:,} {word}")
    gaps = absences(result, person)
    if gaps:
        start = result.time[0]
        shown = ", ".join(f"{start + a:.2f}–{start + b:.2f}" for a, b in gaps[:GAPS])
        parts.append(f"absent {shown} s" + f" and {len(gaps) - GAPS} more times" * (len(gaps) > GAPS))
    return "; ".join(parts)
