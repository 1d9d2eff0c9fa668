"""What a run learnt when: pictures of the same frames, drawn while it trained."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from trace_train.preview.snapshots import row_of
from trace_train.report.folder import RunFolder
from trace_train.report.html import Html, element, figure, image, joined, note
from trace_train.report.page import Section


def learning_section(run: RunFolder) -> Section:
    """The first, middle and last of the pictures drawn while it trained."""
    last = len(run.pictures) - 1
    chosen = [run.pictures[i] for i in sorted({0, last // 2, last})] if run.pictures else []
    read = [(step, sheet) for step, file in chosen if (sheet := _read(file)) is not None]
    if not read:
        return Section(title="What it learnt when", body=Html())
    parts = [_strip("annotated", row_of(read[-1][1], "annotated"))]
    for step, sheet in read:
        both = np.concatenate([row_of(sheet, "heat"), row_of(sheet, "predicted")])
        parts.append(_strip(f"step {step:,}", both))
    words = "The same frames over the steps: where the network sees the middle of a person, and the bodies it predicts."
    return Section(title="What it learnt when", body=joined([note(words), element("div", *parts, style="wide")]))


def _strip(name: str, picture: npt.NDArray[np.uint8]) -> Html:
    return figure(element("b", name), image(picture, f"predictions, {name}"))


def _read(file: Path) -> npt.NDArray[np.uint8] | None:
    """RGB; None where it is damaged."""
    picture = cv2.imread(str(file))
    return None if picture is None else np.ascontiguousarray(picture[..., ::-1]).astype(np.uint8)
