"""COCO keypoint results: 17 points of everybody in pixels; the centre of the first pixel is (0, 0).

Source: docs/reference/export.md#coco-keypoints. Times are lost; `image_id` is the frame's index in the source.
"""

from __future__ import annotations

import json

import numpy as np

from trace_data.results.result import Result
from trace_data.schema.keypoints import ALL_44, COCO_17

_PICKED = [ALL_44.index(name) for name in COCO_17]


def coco_text(result: Result) -> str:
    """One entry a person and frame. Points without a place in the picture are zero, with score 0."""
    found = []
    for row, frame in enumerate(result.row_frame):
        score = round(float(result.score[row]), 4)
        points = result.joints_2d[row, _PICKED].astype(np.float64)
        known = np.isfinite(points).all(axis=1)
        keypoints = np.concatenate([np.round(points, 2), np.full((len(points), 1), score)], axis=1)
        keypoints[~known] = 0
        found.append(
            {
                "image_id": int(result.frame_id[frame]),
                "category_id": 1,
                "person_id": int(result.person[result.row_person[row]]),
                "keypoints": keypoints.reshape(-1).tolist(),
                "score": score,
            }
        )
    return json.dumps(found, allow_nan=False) + "\n"
