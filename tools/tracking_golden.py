"""Golden values of the tracking metrics, by motmetrics and TrackEval, for tests/train/metrics/test_tracking_metrics.py.

pip install motmetrics==1.4.0 trackeval==1.3.0     # in an environment of its own: they bring another OpenCV
python tools/tracking_golden.py                    # prints the values
python tools/tracking_golden.py --write            # and writes tests/files/tracking_golden.npz
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import motmetrics
import numpy as np
from trackeval.metrics import HOTA

ROOT = Path(__file__).resolve().parents[1]
GOLDEN = ROOT / "tests" / "files" / "tracking_golden.npz"
sys.path.insert(0, str(ROOT / "tests" / "support"))

np.asfarray = lambda values: np.asarray(values, float)  # motmetrics 1.4.0 needs it, and NumPy 2 dropped it
CLEAR = ("mota", "idf1", "num_switches", "num_misses", "num_false_positives", "idtp", "idfp", "idfn", "num_objects")


def accumulated(rows: dict[str, np.ndarray]) -> motmetrics.MOTAccumulator:
    """The frames that have truth, with IoU as the distance and 0.99 as its limit, as the published evaluation does."""
    accumulator = motmetrics.MOTAccumulator(auto_id=True)
    for frame in np.unique(rows["truth"][:, 0]):
        truth, found = (rows[name][rows[name][:, 0] == frame] for name in ("truth", "found"))
        distances = motmetrics.distances.iou_matrix(truth[:, 2:], found[:, 2:], max_iou=0.99)
        accumulator.update(truth[:, 1].astype(int), found[:, 1].astype(int), distances)
    return accumulator


def hota_data(rows: dict[str, np.ndarray]) -> dict[str, Any]:
    """TrackEval's input, with its own box IoU."""
    from trackeval.datasets._base_dataset import _BaseDataset

    frames = np.unique(rows["truth"][:, 0])
    kept = {name: value[np.isin(value[:, 0], frames)] for name, value in rows.items()}
    numbers = {name: np.unique(value[:, 1], return_inverse=True) for name, value in kept.items()}
    ids: dict[str, list[np.ndarray]] = {"truth": [], "found": []}
    similarity = []
    for frame in frames:
        boxes = []
        for name, value in kept.items():
            here = value[:, 0] == frame
            ids[name].append(numbers[name][1][here])
            boxes.append(value[here, 2:])
        similarity.append(_BaseDataset._calculate_box_ious(*boxes, box_format="xywh"))
    return {
        "num_timesteps": len(frames),
        "num_gt_ids": len(numbers["truth"][0]),
        "num_tracker_ids": len(numbers["found"][0]),
        "num_gt_dets": len(kept["truth"]),
        "num_tracker_dets": len(kept["found"]),
        "gt_ids": ids["truth"],
        "tracker_ids": ids["found"],
        "similarity_scores": similarity,
    }


def main() -> None:
    from tracking_scene import SCENES, scene

    scenes = [scene(number) for number in range(SCENES)]
    names = [str(number) for number in range(SCENES)]
    summary = motmetrics.metrics.create().compute_many(
        [accumulated(rows) for rows in scenes], metrics=list(CLEAR), names=names, generate_overall=True
    )
    metric = HOTA()
    values = {name: metric.eval_sequence(hota_data(rows)) for name, rows in zip(names, scenes)}
    values["OVERALL"] = metric.combine_sequences(values)
    out: dict[str, np.ndarray] = {f"clear_{name}": summary[name].to_numpy(float) for name in CLEAR}
    for name in ("HOTA", "DetA", "AssA"):
        out[f"hota_{name}"] = np.array([values[row][name] for row in [*names, "OVERALL"]])
    for number, rows in enumerate(scenes):
        out |= {f"{name}_{number}": value for name, value in rows.items()}
    print(summary)
    print(out["hota_HOTA"].mean(1))
    if "--write" in sys.argv:
        np.savez_compressed(GOLDEN, **out)


if __name__ == "__main__":
    main()
