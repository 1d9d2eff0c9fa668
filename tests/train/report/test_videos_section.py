"""The report's section of predicted videos."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from trace_data.frames.footage import open_footage
from trace_data.overlay.video import drawn_frames, painter_of
from trace_data.results.file import read_result
from trace_data.sample_world.film_files import TRUTH, VIDEO, write_film
from trace_train.report.videos import PredictedVideo, videos_section


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    return folder / f"{write_film(folder, 0, 0, 96, frames=6)}{VIDEO}"


def test_a_section_shows_pictures_scores_and_links(video: Path, packs: Path) -> None:
    scores = {"found": {"mpjpe": 91.4, "idf1": 0.5, "w_mpjpe": None}, "given": {"w_mpjpe": 231.0}}
    one = PredictedVideo(
        video=video,
        result=video.with_suffix(TRUTH),
        scores=scores,
        files={"camera & bodies <glb>": video.parent / "of it" / "scene 1.glb"},
    )
    body = videos_section([one], video.parent / "report.html", packs).body
    assert body.count("<img") == 1 and video.stem in body
    assert all(words in body for words in ("91", "50", "231", "–", "found", "given", "MPJPE"))
    assert 'href="of%20it/scene%201.glb"' in body and "&lt;glb&gt;" in body


def test_no_videos_no_section() -> None:
    assert not videos_section([], Path("report.html"), Path("packs")).body


def test_everybody_is_drawn_where_they_are(video: Path, packs: Path) -> None:
    result, footage = read_result(video.with_suffix(TRUTH)), open_footage([video])
    boxes = result.box[result.rows_in(0)]
    before = next(iter(footage.frames())).pixels
    ((frame, picture),) = drawn_frames(result, footage, painter_of(result, ("overlay",), packs), [0])
    assert before is not None and frame == 0
    y, x = np.nonzero((before != picture).any(-1))
    inside = np.zeros(len(x), bool)
    for left, top, width, height in boxes:
        of = (x > left - 4) & (x < left + width + 4) & (y > top - 4) & (y < top + height + 4)
        inside |= of
        assert width < 5 or np.ptp(x[of]) > 0.8 * min(width, 96)
    assert len(x) and inside.all()
