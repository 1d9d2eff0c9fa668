"""MOTChallenge: boxes of everybody in pixels; frames and the picture's corner count from 1.

Source: docs/reference/export.md#motchallenge. Times are lost; a frame's number is its index in the source plus one.
"""

from __future__ import annotations

import numpy as np

from trace_data.results.result import Result


def mot_text(result: Result) -> str:
    """MOTChallenge: frame, id, left, top, width, height, confidence, and -1 for a place in the world.

    Pixels; frames and the box's origin count from 1. A frame's number is its index in the source plus one. Rows
    without a box are left out.
    """
    order = np.lexsort((result.row_person, result.row_frame))
    lines = []
    for row in order:
        box = result.box[row]
        if np.isfinite(box).all():
            frame, person = result.frame_id[result.row_frame[row]] + 1, result.person[result.row_person[row]]
            left, top, width, height = box[0] + 1, box[1] + 1, box[2], box[3]
            lines.append(
                f"{frame},{person},{left:.2f},{top:.2f},{width:.2f},{height:.2f},{result.score[row]:.4f},-1,-1,-1\n"
            )
    return "".join(lines)
