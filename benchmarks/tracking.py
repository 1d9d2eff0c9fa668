"""Identities by the default and the published tracker from the same detections, and the time that they take.

    python benchmarks/tracking.py [--seeds 3] [--json]
    python benchmarks/tracking.py --video world/videos/*.mp4 [--weights demo] [--packs packs] [--json]

With `--video` a network's detections, of videos that `trace make-sample --videos` made; its truth lies beside each. The
network sees a video once, and both trackers its peaks, of which those of one person were removed. People whom the
picture does not show do not count.

Without, simulated ones: people walk, cross, hide, enter and leave before a still or moving camera; the simulation is
that of the tests (tests/support/walking_people.py). Detections are exact, or noisy with misses, false alarms and low
scores. Time is CPU time of one thread, each frame's best of five passes.

Scores are those of trace_train/metrics/tracking.py, summed over seeds. The published tracker is told how many people
there are; it is run as its defaults are (forget 0) and with the `--time2forget 40` of its users.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
from walking_people import NOISY, PERFECT, Noise, Scene, Walker, detections, person, track

from trace_data.results.file import read_result
from trace_data.results.result import PREDICTED
from trace_train.config.tracker import PublishedTrackerConfig, TrackerConfig
from trace_train.inference import Predictor
from trace_train.inference.frame_detections import Assignment, FrameDetections, Tracker
from trace_train.inference.model import PEAK_SCORE
from trace_train.inference.tracking.build import build_tracker
from trace_train.inference.video_prediction import read_ahead
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


def compare(assigned: Sequence[Assignment], truth: Frames, frames: Frames) -> TrackingCounts:
    """Scores of what a tracker made of `frames`, whose people really are where they are in `truth`."""
    real = [
        (number, who, people.joints_2d[at])
        for number, (_, people, names) in enumerate(truth)
        for at, who in enumerate(names)
    ]
    found = [(a.frame, a.identity, frames[a.frame][1].joints_2d[a.detection]) for a in assigned if a.detection >= 0]
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
                        counts = compare(track(build_tracker(config), frames), truth, frames)
                        sums[key] = sums.get(key, no_counts()) + counts
    return [row_of(key, counts) for key, counts in sums.items()]


def row_of(key: tuple[str, str, int, str], counts: TrackingCounts) -> dict[str, Any]:
    """A row of the table, by scene, kind of detections, frames a second and tracker."""
    scene, detector, rate, name = key
    return {
        "scene": scene, "detections": detector, "rate": rate, "tracker": name, "idf1": round(100 * counts.idf1, 1),
        "switches": int(counts.switches), "mota": round(100 * counts.mota, 1), "hota": round(100 * counts.hota, 1),
        "misses": int(counts.misses), "false_alarms": int(counts.false_alarms), "people": int(counts.people),
    }  # fmt: skip


class InView(NamedTuple):
    """People of an annotated frame."""

    joints_2d: np.ndarray
    """(K, 44, 2) px"""


class Recorder:
    """A tracker that keeps what it is shown."""

    def __init__(self) -> None:
        self.frames: Frames = []
        self.cuts: list[bool] = []

    def step(self, time: float, people: FrameDetections, *, cut: bool = False) -> list[Assignment]:
        self.frames.append((time, people, []))
        self.cuts.append(cut)
        return []

    @property
    def settled(self) -> int:
        return len(self.frames)

    def replay(self, tracker: Tracker) -> list[Assignment]:
        """All assignments of a tracker that is shown the same."""
        steps = zip(self.frames, self.cuts)
        found = [one for (time, people, _), cut in steps for one in tracker.step(time, people, cut=cut)]
        return [*found, *tracker.finish()]


def record(predictor: Predictor, video: Path) -> Recorder:
    """What the network says of each frame of a video."""
    prediction, recorder = predictor.prepare(video), Recorder()
    state = predictor.model.state(prediction.footage.facts.size, prediction.lens.matrix)
    state.stream.threshold, state.tracker = PEAK_SCORE, recorder  # type: ignore[assignment]
    for chunk in read_ahead(prediction.footage.frames(), predictor.model.config.chunk):
        state.add([frame.time for frame in chunk], [frame.pixels for frame in chunk])
    return recorder


def truth_of(file: Path) -> tuple[int, Frames]:
    """How many people an exact result has, and those in view in each frame: hips in the picture, and not hidden."""
    truth = read_result(file)
    hips = truth.joints_2d[:, [35, 36]].mean(1)
    shown = ((hips >= -0.5) & (hips < truth.image_size - 0.5)).all(1) & (truth.state != PREDICTED)
    frames = []
    for number, time_ in enumerate(truth.time.tolist()):
        rows = truth.rows_in(number)
        rows = rows[shown[rows]]
        frames.append((time_, InView(truth.joints_2d[rows]), truth.row_person[rows].tolist()))
    return len(truth.person), frames


def identities_in(videos: Sequence[Path], weights: str, packs: Path | None) -> list[dict[str, Any]]:
    """A row for each video and tracker, from the detections of a network."""
    predictor, rows = Predictor(weights, packs=packs, config=["world.camera=static"]), []
    for video in videos:
        seen = record(predictor, video)
        people, truth = truth_of(video.with_suffix(".truth.npz"))
        rate = round((len(truth) - 1) / (truth[-1][0] - truth[0][0]))
        for name, config in configurations(people).items():
            counts = compare(seen.replay(build_tracker(config)), truth, seen.frames)
            rows.append(row_of((video.stem, Path(weights).name, rate, name), counts))
    return rows


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
    parser.add_argument("--video", type=Path, nargs="+", help="videos with NAME.truth.npz beside NAME.mp4")
    parser.add_argument("--weights", default="demo", help="of the network that sees the videos")
    parser.add_argument("--packs", type=Path, help="prepared body models; default: those of the run")
    options = parser.parse_args()
    if options.video:
        rows, times = identities_in(options.video, options.weights, options.packs), []
    else:
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
    if times:
        print(f"\n| ms per frame, people | {' | '.join(names)} |\n{'|---' * (1 + len(names))}|")
    for line in times:
        print(f"| {line['people']} | {' | '.join(str(line[name]) for name in names)} |")


if __name__ == "__main__":
    main()
