"""An HTML page that plays clips: pictures are inlined, joints and paths drawn by its script."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from importlib import resources
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from trace_data.drawing import ANNOTATED, MESH, data_uri
from trace_data.pages.document import document
from trace_data.pages.html import Html, element, joined, text
from trace_data.schema.clip import FRAME_MASKS, PERSON_MASKS
from trace_data.schema.keypoints import ALL_44, SKELETON
from trace_train.preview.clips import PreviewClip
from trace_train.preview.plan import Plan, plan_of

QUALITY = 82
"""Quality of the JPEGs on the page."""
EXACT = 256
"""Frames with a longer side up to this many px, the input of small networks, are shown pixel by pixel."""
LOSSLESS = 101
"""OpenCV's quality value for lossless WebP."""


def page_clip(clip: PreviewClip, overlays: Sequence[npt.NDArray[np.uint8] | None]) -> dict[str, Any]:
    """One clip as plain values for the page's script."""
    entry = clip.entry
    joints, present = clip.joints(), clip.present
    masks = {name: clip.mask(name) for name in PERSON_MASKS}
    plan = plan_of(clip)
    return {
        "dataset": entry.dataset,
        "split": entry.split,
        "name": entry.name,
        "synthetic": entry.synthetic,
        "fps": entry.fps,
        "ids": clip.frame_ids.tolist(),
        "size": list(clip.images.shape[2:0:-1]),
        "original": [entry.width, entry.height],
        "images": [_image(image) for image in clip.images],
        "bodies": [None if overlay is None else webp_uri(overlay) for overlay in overlays],
        "everyone": clip.batch.masks[FRAME_MASKS[0]][0].tolist(),
        "people": [
            {
                "name": name,
                "gender": gender,
                "joints": [_joints(joints[p, t]) if present[p, t] else None for t in range(len(clip.images))],
                "masks": [
                    [int(masks[mask][p, t]) for mask in PERSON_MASKS] if present[p, t] else None
                    for t in range(len(clip.images))
                ],
            }
            for p, (name, gender) in enumerate(zip(clip.people, clip.genders))
        ],
        "plan": None if plan is None else _plan(plan),
        "world": entry.world_reason or "nobody here has a valid place in the world",
        "camera": "synthetic moving" if bool(clip.batch.camera_moves[0]) else "moving" if entry.moving else "static",
    }


def _image(image: npt.NDArray[np.uint8]) -> str:
    if max(image.shape) > EXACT:
        return data_uri(image, quality=QUALITY)
    return webp_uri(np.dstack([image, np.full(image.shape[:2], 255, np.uint8)]), quality=LOSSLESS)


def _joints(points: npt.NDArray[np.float64]) -> list[list[float] | None]:
    """x, y of each of the 44 joints, px; None if unknown."""
    return [[round(float(x), 1), round(float(y), 1)] if c > 0 else None for x, y, c in points]


def _plan(plan: Plan) -> dict[str, Any]:
    def places(values: npt.NDArray[np.float64]) -> list[Any]:
        return [[round(float(v), 3) for v in place] if np.isfinite(place).all() else None for place in values]

    return {"people": [places(path) for path in plan.people], "camera": places(plan.camera), "view": places(plan.view)}


def webp_uri(picture: npt.NDArray[np.uint8], *, quality: int = 80) -> str:
    """An RGBA picture as a `data:image/webp` URI, which keeps transparency."""
    ok, encoded = cv2.imencode(".webp", picture[..., (2, 1, 0, 3)], [cv2.IMWRITE_WEBP_QUALITY, quality])
    if not ok:
        raise ValueError(f"not a picture: {picture.dtype} {picture.shape}")
    return "data:image/webp;base64," + base64.b64encode(encoded.tobytes()).decode("ascii")


def page_text(*, title: str, notes: Sequence[str], clips: Sequence[dict[str, Any]]) -> str:
    """The self-contained HTML page."""
    content = {
        "clips": clips,
        "masks": PERSON_MASKS,
        "skeleton": SKELETON,
        "sides": [name[0] if name[:2] in ("L_", "R_") else "middle" for name in ALL_44],
        "colours": {side: _css(colour) for side, colour in ANNOTATED.items()},
        "surfaces": [_css(colour) for colour in MESH],
    }
    # only these could end a script element or open a comment in it
    data = json.dumps(content, separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c")
    synthetic = any(clip["synthetic"] for clip in clips)
    body = _read("page.html")
    for name, part in {
        "TITLE": text(title),
        "BADGE": element("span", "synthetic data", style="badge synthetic") if synthetic else "",
        "NOTES": joined(element("p", note) for note in notes),
        "DATA": data,
    }.items():
        body = body.replace(f"<!--{name}-->", part)
    return document(title, Html(body), style=_read("page.css"))


def _read(name: str) -> str:
    return resources.files("trace_train.preview").joinpath(name).read_text(encoding="utf-8")


def _css(colour: Sequence[int]) -> str:
    return f"rgb({', '.join(map(str, colour))})"
