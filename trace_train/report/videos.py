"""Report section with predicted videos: a strip of pictures with people and identities, and scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from os.path import relpath
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from trace_data.drawing import Picture, contact_sheet
from trace_data.frames.footage import open_footage
from trace_data.overlay.video import drawn_frames, painter_of
from trace_data.pages.html import Html, element, figure, image, joined, note, table
from trace_data.results.file import read_result
from trace_train.evaluation.measures import MEASURES
from trace_train.report.page import Section

PICTURES = 8
"""In the strip of one video."""
SCORES = ("mpjpe", "pa_mpjpe", "recall", "idf1", "id_switches", "w_mpjpe")
"""Measures of the table, by `Measure.key`."""
DRAWN = ("overlay", "ids")
WIDTH = 300
"""Of a picture in the strip, px."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictedVideo:
    """A predicted video and how good the prediction is."""

    video: Path
    result: Path
    """The prediction that is drawn."""
    scores: Mapping[str, Mapping[str, Any]]
    """The fields of `Scores` by what is said of the camera, such as "found" and "given"."""
    files: Mapping[str, Path] = field(default_factory=dict)
    """What else was made of it, by the words to link it with."""


def videos_section(videos: Sequence[PredictedVideo], page: Path, packs: Path) -> Section:
    """The videos, in order; links are relative to the folder of `page`. `packs`: the body models of the results.

    Raises FootageError, ResultError, AssetError.
    """
    if not videos:
        return Section(title="Predicted videos", body=Html())
    words = (
        "Videos of people who are in no training sequence: their bodies as predicted, with a box and a number for each "
        "identity. Pale stripes in a dashed box are somebody who was not seen in that frame."
    )
    parts: list[Html] = [note(words)]
    for one in videos:
        parts.append(figure(element("b", one.video.stem), image(_strip(one, packs), f"{one.video.stem}, predicted")))
        links = [_link(name, file, page) for name, file in one.files.items()]
        parts += [element("p", joined(links, ", "))] if links else []
    chosen = [measure for measure in MEASURES if measure.key in SCORES]
    rows = [
        (one.video.stem, camera, *(_value(scores.get(m.key), m.digits, m.factor) for m in chosen))
        for one in videos
        for camera, scores in one.scores.items()
    ]
    head = ("video", "camera", *(f"{m.name} {m.unit}" for m in chosen))
    return Section(title="Predicted videos", body=joined([*parts, table(head, rows)]))


def _strip(one: PredictedVideo, packs: Path) -> Picture:
    """Pictures spread evenly over the frames in which there is anybody; over all where there is nobody."""
    result = read_result(one.result)
    busy = np.unique(result.row_frame) if len(result.row_frame) else np.arange(len(result.time))
    chosen = busy[np.unique(np.linspace(0, len(busy) - 1, PICTURES).round().astype(int))].tolist()
    drawn = drawn_frames(result, open_footage([one.video]), painter_of(result, DRAWN, packs), chosen)
    tiles = [(f"{result.time[frame]:.2f} s", picture) for frame, picture in drawn]
    return contact_sheet(tiles, columns=4, tile_width=WIDTH)


def _value(value: float | None, digits: int, factor: float) -> str:
    return "–" if value is None else f"{factor * value:,.{digits}f}"


def _link(name: str, file: Path, page: Path) -> Html:
    return Html(f'<a href="{quote(Path(relpath(file, page.parent)).as_posix())}">{joined([name])}</a>')
