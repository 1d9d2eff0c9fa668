"""CSV for spreadsheets and R: one line a person and frame, joints in metres in the world, true times in seconds.

Source: docs/reference/export.md#csv. The world's axes are those of the result.
"""

from __future__ import annotations

import csv
import io

from trace_data.export.skeleton import NAMES, person_label
from trace_data.results.result import Result

STATES = ("seen", "inherited", "predicted")


def csv_text(result: Result) -> str:
    """One line a person and frame: seconds, frame, id, name, state, score, then x, y, z of the 24 joints, m."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    axes = [f"{name}_{axis}" for name in NAMES["smpl"] for axis in "xyz"]
    writer.writerow(["time", "frame", "person", "name", "state", "score", *axes])
    for row in range(len(result.row_frame)):
        frame, person = result.row_frame[row], result.row_person[row]
        writer.writerow(
            [
                f"{result.time[frame]:.6f}",
                int(result.frame_id[frame]),
                int(result.person[person]),
                person_label(result, person),
                STATES[result.state[row]],
                f"{result.score[row]:.4f}",
                *(f"{value:.5f}" for value in result.joints[row].reshape(-1)),
            ]
        )
    return text.getvalue()
