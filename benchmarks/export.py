"""Time and size of exports: 3 people × 1,800 frames of the free body. Prints JSON lines.

    python benchmarks/export.py [--frames 1800] [--rounds 5] [--open]

Times are CPU times of the process, the least of some rounds; sizes are bytes, of `smooth` and `arrange` rows. Meshes
are 0.7 MB of the GLB. With `--open`, Chromium opens the page of `trace view` and an empty one, in turns, with WebGL in
software: seconds by the clock, from start to end, and what the page takes longer.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from turned_results import example, longer

from trace_data.export.amass import amass_arrays, npz_bytes
from trace_data.export.bvh import bvh_text
from trace_data.export.glb import glb_bytes
from trace_data.export.mesh import FreeMeshes
from trace_data.export.rate import clock
from trace_data.export.usd import usda_text
from trace_data.results.result import Result
from trace_data.results.scene import SceneOptions, arrange
from trace_data.results.smoothing import smooth
from trace_data.view.from_result import scene_of
from trace_data.view.page import page_text


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=1800)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--open", action="store_true", help="open the page in Chromium too")
    asked = parser.parse_args()
    result, meshes = longer(example(), asked.frames), FreeMeshes()
    ticks, people = clock(result), range(len(result.person))
    jobs: dict[str, Callable[[], int]] = {
        "glb": lambda: len(glb_bytes(result, meshes)),
        "bvh": lambda: sum(len(bvh_text(result, person, ticks)) for person in people),
        "amass": lambda: sum(
            len(npz_bytes(amass_arrays(result, person, ticks, layout="smplh", gender="neutral"))) for person in people
        ),
        "usd": lambda: len(usda_text(result, meshes, ticks)),
        "smooth": lambda: len(smooth(result, "offline").pose),
        "arrange": lambda: len(arrange(result, SceneOptions()).pose),
    }
    for name, job in jobs.items():
        seconds = []
        for _ in range(asked.rounds):
            began = time.process_time()
            size = job()
            seconds.append(time.process_time() - began)
        print(json.dumps({"what": name, "seconds": round(min(seconds), 3), "size": size}))
    if asked.open:
        print(json.dumps(opening(result, meshes, asked.rounds)))
    print(json.dumps({"peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}))


def opening(result: Result, meshes: FreeMeshes, rounds: int) -> dict[str, str | float]:
    """Seconds that Chromium takes for the page and for an empty one, the least of some rounds each."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        scene = scene_of(arrange(result, SceneOptions(smooth="offline", up="y")), "long", meshes, picture=None)
        (folder / "page.html").write_text(page_text(scene), encoding="utf-8")
        (folder / "empty.html").write_text("<!DOCTYPE html><title>empty</title>", encoding="utf-8")
        browser = ["chromium", "--headless=new", "--no-sandbox", "--use-angle=swiftshader", "--dump-dom"]
        browser += ["--enable-unsafe-swiftshader", f"--user-data-dir={folder / 'browser'}", "--window-size=1200,900"]
        seconds: dict[str, list[float]] = {"page": [], "empty": []}
        for _ in range(rounds):
            for name, found in seconds.items():
                began = time.perf_counter()
                subprocess.run([*browser, (folder / f"{name}.html").as_uri()], capture_output=True, check=True)
                found.append(time.perf_counter() - began)
        page, empty = min(seconds["page"]), min(seconds["empty"])
        return {
            "what": "page in Chromium",
            "seconds": round(page - empty, 3),
            "page": round(page, 3),
            "empty": round(empty, 3),
            "size": (folder / "page.html").stat().st_size,
        }


if __name__ == "__main__":
    main()
