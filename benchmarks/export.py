"""Time and size of exports: 3 people × 1,800 frames of the free body. Prints JSON lines.

    python benchmarks/export.py [--frames 1800] [--rounds 5]

Times are CPU times of the process, the least of some rounds; sizes are bytes, of `smooth` and `arrange` rows. Meshes
are 0.7 MB of the GLB.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
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
from trace_data.results.scene import SceneOptions, arrange
from trace_data.results.smoothing import smooth


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=1800)
    parser.add_argument("--rounds", type=int, default=5)
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
    print(json.dumps({"peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}))


if __name__ == "__main__":
    main()
