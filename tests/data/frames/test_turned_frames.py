"""Image files that lie on their side: decoded upright, verified by their upright size."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from trace_data.errors import AnnotationError
from trace_data.frames.video import TurnedPicture, contents
from trace_data.schema.frame import TurnedFrame, file_of
from trace_data.shards.writer import stored_levels

ROTATIONS = {1: cv2.ROTATE_90_CLOCKWISE, 2: cv2.ROTATE_180, 3: cv2.ROTATE_90_COUNTERCLOCKWISE}


def stored(folder: Path) -> np.ndarray:
    picture = np.random.default_rng(0).integers(0, 255, (48, 80, 3), np.uint8)
    cv2.imwrite(str(folder / "a.png"), picture)
    return picture


@pytest.mark.parametrize("turns", ROTATIONS)
def test_quarter_turns_are_clockwise(tmp_path: Path, turns: int) -> None:
    picture, frame = stored(tmp_path), TurnedFrame(tmp_path / "a.png", turns)
    [content] = contents([frame])
    assert isinstance(content, TurnedPicture) and file_of(frame) == tmp_path / "a.png" and str(frame).endswith("a.png")
    np.testing.assert_array_equal(content.pixels, cv2.rotate(picture, ROTATIONS[turns]))


def test_shards_hold_them_upright_and_name_what_is_broken(tmp_path: Path) -> None:
    stored(tmp_path)
    [content] = contents([TurnedFrame(tmp_path / "a.png", 1)])
    [(_, size)] = stored_levels(content, sides=[48], expected=(48, 80))
    assert size == (48, 80)
    with pytest.raises(AnnotationError) as caught:
        stored_levels(content, sides=[48], expected=(80, 48))
    assert str(caught.value.where).endswith("a.png")
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:500])
    with pytest.raises(AnnotationError, match="too early"):
        _ = next(contents([TurnedFrame(tmp_path / "a.png", 1)])).pixels  # type: ignore[union-attr]
