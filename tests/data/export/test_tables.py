"""Rows as text: MOT, COCO and CSV."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from typing import Any

import numpy as np
from turned_results import example, nobody

from trace_data.errors import TraceError
from trace_data.export.coco import coco_text
from trace_data.export.mot import mot_text
from trace_data.export.spreadsheet import csv_text
from trace_data.export.track import presence
from trace_data.schema.keypoints import ALL_44
from trace_data.text_files import parse_json


def test_mot_counts_from_one_and_has_who_is_there() -> None:
    result = example(irregular=True)
    rows = np.array([line.split(",") for line in mot_text(result).splitlines()], float)
    assert rows[:, 0].min() == 1 and (np.diff(rows[:, 0]) >= 0).all()
    for person in range(len(result.person)):
        frames = rows[rows[:, 1] == result.person[person], 0] - 1
        np.testing.assert_array_equal(frames, result.frame_id[presence(result, person)])
    box = result.box[result.rows_of(0)[0]]
    np.testing.assert_allclose(rows[0, 2:6], [box[0] + 1, box[1] + 1, box[2], box[3]], atol=0.006)
    assert (rows[:, 7:] == -1).all()


def test_rows_without_a_place_in_the_picture() -> None:
    result = example()
    box, points = result.box.copy(), result.joints_2d.copy()
    box[0], points[0] = np.nan, np.nan
    hidden = replace(result, box=box, joints_2d=points)
    assert len(mot_text(hidden).splitlines()) == len(result.row_frame) - 1
    first: Any = parse_json(coco_text(hidden).encode(), where="coco", error=TraceError)[0]  # type: ignore[index]
    assert not any(first["keypoints"])


def test_coco_points_are_the_video_s_pixels() -> None:
    result = example()
    found: Any = parse_json(coco_text(result).encode(), where="coco", error=TraceError)
    assert len(found) == len(result.row_frame)
    for row in (0, 100):
        entry = found[row]
        assert len(entry["keypoints"]) == 51
        assert entry["image_id"] == result.frame_id[result.row_frame[row]]
        nose, ankle = np.reshape(entry["keypoints"], (17, 3))[[0, 16]]
        np.testing.assert_allclose(nose[:2], result.joints_2d[row, ALL_44.index("Nose")], atol=0.01)
        np.testing.assert_allclose(ankle[:2], result.joints_2d[row, ALL_44.index("R_Ankle")], atol=0.01)


def test_csv_has_one_line_a_row() -> None:
    result = example()
    rows = list(csv.DictReader(io.StringIO(csv_text(result))))
    assert len(rows) == len(result.row_frame)
    assert {row["state"] for row in rows} == {"seen", "inherited", "predicted"}
    last = rows[-1]
    assert (last["person"], last["name"]) == ("3", "Größe 2")
    assert abs(float(last["right_hand_z"]) - result.joints[-1, 23, 2]) < 1e-5


def test_nobody_gives_empty_tables() -> None:
    result = nobody(example())
    assert mot_text(result) == ""
    assert coco_text(result) == "[]\n"
    assert len(csv_text(result).splitlines()) == 1
