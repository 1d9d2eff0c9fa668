"""How long `trace verify-datasets bedlam --depth layout` takes for 10,000 videos. Prints one JSON line.

    python benchmarks/verify_bedlam.py [--videos 10000] [--people 3] [--rounds 3]

The sample world writes one scene of BEDLAM with a single sequence. Its files are repeated under other names: 30 scenes
with as many videos each (one file with many names), a camera for each video, and as many people in it as asked for,
each with a motion of their own, of 296 subjects. The command runs in a process of its own, start of Python included;
the fastest and the slowest of `--rounds` are told, the mean of what all processes used, and the largest memory of any.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from trace_data.sample_world.bedlam import FOLDER, write_bedlam
from trace_data.sample_world.people import Role

SCENES, SUBJECTS = 30, 296
"""Of the release."""
TWIN_SCENE, TWIN_SEQUENCE = "20221013_3_250_batch01hand_orbit_bigOffice", "seq_000000"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=10_000)
    parser.add_argument("--people", type=int, default=3, help="in each video")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        began = time.perf_counter()
        write_bedlam(Path(name, "twin", FOLDER), 0, [(0, Role("train", (0,)))], 4, 64)
        bodies = repeat(Path(name, "twin", FOLDER), Path(name, FOLDER), options.videos, options.people)
        made = time.perf_counter() - began
        rounds = [verify(Path(name), options.videos) for _ in range(options.rounds)]
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    line = {
        "bench": "verify_bedlam",
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
        "videos": options.videos,
        "bodies": bodies,
        "made_tree_s": round(made, 1),
        "layout_s": round(min(rounds), 2),
        "slowest_s": round(max(rounds), 2),
        "cpu_s": round((usage.ru_utime + usage.ru_stime) / options.rounds, 2),
        "videos_per_s": round(options.videos / min(rounds)),
        "largest_mb": round(usage.ru_maxrss / 1000),
        "busy": os.getloadavg()[0] > (os.cpu_count() or 1),
    }
    print(json.dumps(line))


def verify(root: Path, videos: int) -> float:
    """Seconds of one run of the command."""
    command = [sys.executable, "-m", "trace_cli", "verify-datasets", "bedlam", "--depth", "layout", "--json"]
    began = time.perf_counter()
    done = subprocess.run([*command, "--root", str(root)], check=True, capture_output=True, text=True)
    seconds = time.perf_counter() - began
    [found] = json.loads(done.stdout)["datasets"]
    assert sum(found["sequences"].values()) == videos and not found["problems"], found
    return seconds


def repeat(twin: Path, folder: Path, videos: int, people: int) -> int:
    """Write the tree, from the only sequence of the twin; returns the number of bodies."""
    scene = twin / TWIN_SCENE
    camera = (scene / "ground_truth" / "camera" / f"{TWIN_SEQUENCE}_camera.csv").read_text()
    [motion] = (twin / "smpl_ground_truth").glob("*/*/motion_seq.npz")
    with (scene / "be_seq.csv").open(newline="") as stream:
        columns, comment, group, body = csv.reader(stream)
    bodies = 0
    for number in range(SCENES):
        place = folder / f"20221013_3_250_batch{number:02d}hand_orbit_bigOffice"
        (place / "mp4").mkdir(parents=True)
        (place / "ground_truth" / "camera").mkdir(parents=True)
        rows = [comment]
        for count in range(number, videos, SCENES):
            sequence = f"seq_{count // SCENES:06d}"
            os.link(scene / "mp4" / f"{TWIN_SEQUENCE}.mp4", place / "mp4" / f"{sequence}.mp4")
            text = camera.replace(TWIN_SEQUENCE, sequence)
            (place / "ground_truth" / "camera" / f"{sequence}_camera.csv").write_text(text)
            rows.append([cell.replace(TWIN_SEQUENCE, sequence) for cell in group])
            for subject, animation in motions(bodies, people):
                file = folder / "smpl_ground_truth" / subject / animation / motion.name
                file.parent.mkdir(parents=True, exist_ok=True)
                os.link(motion, file)
                rows.append([*body[:2], f"{subject}_{animation}", *body[3:]])
            bodies += people
        with (place / "be_seq.csv").open("w", newline="") as stream:
            csv.writer(stream).writerows([columns, *([str(index), *row[1:]] for index, row in enumerate(rows))])
    return bodies


def motions(first: int, count: int) -> Iterator[tuple[str, str]]:
    """Subject and animation of the bodies from number `first` on."""
    for number in range(first, first + count):
        yield f"rp_synthetic_posed_{number % SUBJECTS:03d}", f"{1000 + number // SUBJECTS}"


if __name__ == "__main__":
    main()
