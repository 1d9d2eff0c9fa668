"""Identities by the default and the published tracker from the same simulated detections, and the time that they take.

    python benchmarks/tracking.py [--seeds 3] [--json]

People walk, cross, hide, enter and leave before a still or moving camera; the simulation is that of the tests
(tests/support/walking_people.py). Detections are exact, or noisy with misses, false alarms and low scores. Scores are
those of trace_train/metrics/tracking.py, summed over seeds. Time is CPU time of one thread, each frame's best of five
passes. The published tracker is told how many people there are; it is run as its defaults are (forget 0) and with the
`--time2forget 40` of its users.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
from walking_people import NOISY, PERFECT, Noise, Scene, Walker, detections, person, track

from trace_train.config.tracker import PublishedTrackerConfig, TrackerConfig
from trace_train.inference.frame_detections import Tracker
from trace_train.inference.tracking.build import build_tracker
from trace_train.metrics.tracking import TrackedBoxes, TrackingCounts, count_tracking, no_counts

Frames = list[tuple[float, Any, list[int]]]


def configurations(people: int) -> dict[str, TrackerConfig]:
    """The trackers compared, for a scene of so many people."""
    return {
        "default": TrackerConfig(),
        "default, motion of the network": TrackerConfig(motion="network"),
        "default, without feature and shape": TrackerConfig(feature_weight=0, shape_weight=0),
        "published": TrackerConfig(kind="published", published=PublishedTrackerConfig(people=people)),
        "published, forget 40": TrackerConfig(
            kind="published", published=PublishedTrackerConfig(people=people, forget=40)
        ),
    }


def scenes(seed: int) -> dict[str, Scene]:
    """Scenes by name, of a few seconds each."""
    random = np.random.default_rng(seed)

    def straight(x: float, z: float, across: float, away: float = 0.0) -> Callable[[float], tuple[float, float, float]]:
        return lambda time: (x + across * time, 0.0, z + away * time)

    def wandering() -> Callable[[float], tuple[float, float, float]]:
        phase, x, z = random.uniform(0, 2 * np.pi, 3), random.uniform(-3, 3), random.uniform(5, 12)
        return lambda time: (
            x + 1.5 * np.sin(0.7 * time + phase[0]) + 0.8 * np.sin(1.3 * time + phase[1]),
            0.0,
            z + 1.5 * np.sin(0.6 * time + phase[2]),
        )

    pair = [Walker(path=straight(-2, 5, 1.2)), Walker(path=straight(2, 5.5 + random.uniform(0, 1), -1.2))]
    hiding = [
        Walker(path=straight(-2, 5, 0.6), hidden=[(1.5, 3.5)]),
        Walker(path=straight(2.5, 6, -0.3), hidden=[(2.0, 4.0)]),
        Walker(path=straight(0, 8, random.uniform(-0.3, 0.3))),
    ]
    starts = random.uniform(0, 5, 8)
    passing = [
        Walker(
            path=straight(random.uniform(-2, 2), random.uniform(4, 10), random.uniform(-0.8, 0.8)),
            present=(start, start + random.uniform(1, 5)),
        )
        for start in starts
    ]
    crowd = [Walker(path=wandering()) for _ in range(7)]
    swaying = {
        "pan": lambda time: 0.35 * np.sin(1.5 * time),
        "dolly": lambda time: (0.5 * np.sin(time), 0.0, 0.2 * time),
    }
    return {
        "two cross": Scene(people=pair, seconds=3.5),
        "hidden for 2 s": Scene(people=hiding, seconds=6),
        "enter and leave": Scene(people=passing, seconds=9),
        "crowd": Scene(people=crowd, seconds=10),
        "moving camera, 2 cross": Scene(people=pair, seconds=3.5, **swaying),
        "moving camera, hidden": Scene(people=hiding, seconds=6, **swaying),
        "moving camera, crowd": Scene(people=crowd, seconds=10, **swaying),
    }  # fmt: skip


def boxes(rows: list[tuple[int, int, np.ndarray]]) -> TrackedBoxes:
    """Boxes of (frame, identity, joints in the picture)."""
    rows = sorted(rows, key=lambda row: row[:2])
    points = np.stack([row[2] for row in rows]) if rows else np.zeros((0, 1, 2))
    low = points.min(1)
    return TrackedBoxes(
        frame=np.array([row[0] for row in rows], int),
        identity=np.array([row[1] for row in rows], int),
        box=np.concatenate([low, points.max(1) - low], axis=1),
    )


def compare(tracker: Tracker, truth: Frames, frames: Frames) -> TrackingCounts:
    """Scores of a tracker on `frames`, whose people really are where they are in `truth`."""
    real = [
        (number, who, people.joints_2d[at])
        for number, (_, people, names) in enumerate(truth)
        for at, who in enumerate(names)
    ]
    found = [(a.frame, a.identity, frames[a.frame][1].joints_2d[a.detection]) for a in track(tracker, frames)
             if a.detection >= 0]  # fmt: skip
    return count_tracking(boxes(real), boxes(found), np.arange(len(frames)))


def identities(seeds: int) -> list[dict[str, Any]]:
    """A row for each scene, detector, rate and tracker."""
    sums: dict[tuple[str, str, int, str], TrackingCounts] = {}
    noises: dict[str, Noise] = {"exact": PERFECT, "noisy": NOISY}
    for seed in range(seeds):
        for scene_name, scene in scenes(seed).items():
            for rate in (30, 10):
                truth = scene.frames(rate)
                for noise_name, noise in noises.items():
                    frames = scene.frames(rate, noise, seed)
                    for name, config in configurations(len(scene.people)).items():
                        key = scene_name, noise_name, rate, name
                        counts = compare(build_tracker(config), truth, frames)
                        sums[key] = sums.get(key, no_counts()) + counts
    return [
        {
            "scene": scene, "detections": noise, "rate": rate, "tracker": name, "idf1": round(100 * counts.idf1, 1),
            "switches": int(counts.switches), "mota": round(100 * counts.mota, 1), "hota": round(100 * counts.hota, 1),
            "misses": int(counts.misses), "false_alarms": int(counts.false_alarms), "people": int(counts.people),
        }
        for (scene, noise, rate, name), counts in sums.items()
    ]  # fmt: skip


def speed(people: int, frames: int = 100) -> dict[str, Any]:
    """Milliseconds of CPU time for a frame with so many people."""
    random = np.random.default_rng(0)
    starts = [(random.uniform(-12, 12), random.uniform(4, 25), random.uniform(-1, 1)) for _ in range(people)]
    video = [
        detections([person((x + v * t / 30, 0, z), looks=n) for n, (x, z, v) in enumerate(starts)])
        for t in range(frames)
    ]
    row: dict[str, Any] = {"people": people}
    for name, config in configurations(people).items():
        passes = np.zeros((5, frames))
        for times in passes:
            tracker = build_tracker(config)
            for number, seen in enumerate(video):
                began = time.process_time()
                tracker.step(number / 30, seen)
                times[number] = time.process_time() - began
        row[name] = round(float(passes.min(0).mean()) * 1e3, 3)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    options = parser.parse_args()
    rows, times = identities(options.seeds), [speed(people) for people in (3, 10, 50)]
    if options.json:
        machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
        print(json.dumps({"bench": "tracking", "machine": machine, "identities": rows, "ms_per_frame": times}))
        return
    names = list(configurations(1))
    for title, key in (("IDF1, %", "idf1"), ("id switches", "switches")):
        print(f"\n| {title} | detections | frames/s | {' | '.join(names)} |\n{'|---' * (3 + len(names))}|")
        for row in (row for row in rows if row["tracker"] == names[0]):
            same = [other for other in rows if all(other[k] == row[k] for k in ("scene", "detections", "rate"))]
            shown = " | ".join(str(other[key]) for other in same)
            print(f"| {row['scene']} | {row['detections']} | {row['rate']} | {shown} |")
    print(f"\n| ms per frame, people | {' | '.join(names)} |\n{'|---' * (1 + len(names))}|")
    for line in times:
        print(f"| {line['people']} | {' | '.join(str(line[name]) for name in names)} |")


if __name__ == "__main__":
    main()
