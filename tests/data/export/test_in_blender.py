"""Blender poses the exported GLB, looks through its camera, and makes an FBX of it. Nightly:

    TRACE_BLENDER_PYTHON=/path/to/python pytest -m nightly tests/data/export/test_in_blender.py

names a Python that has `bpy` (`pip install bpy==5.0.1 "numpy<2"`, Python 3.11).
"""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from glb_reader import Glb
from repository import ROOT
from turned_results import example

from trace_data.export.fbx import SCRIPT
from trace_data.export.glb import Correctives, glb_bytes
from trace_data.export.mesh import FreeMeshes
from trace_data.export.skeleton import NAMES, person_label
from trace_data.export.track import presence
from trace_data.geometry import project, transform
from trace_data.results.scene import SceneOptions, arrange

PYTHON = os.environ.get("TRACE_BLENDER_PYTHON") or (sys.executable if find_spec("bpy") else "")
pytestmark = [pytest.mark.nightly, pytest.mark.skipif(not PYTHON, reason="TRACE_BLENDER_PYTHON names no Python")]
free = cache(FreeMeshes)


def run(*words: object) -> None:
    done = subprocess.run([PYTHON, *map(str, words)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize(("irregular", "correctives"), [(False, "none"), (True, "none"), (False, "morph")])
def test_blender_poses_it_and_looks_through_the_camera(
    irregular: bool, correctives: Correctives, tmp_path: Path
) -> None:
    result = arrange(example("camera", irregular=irregular), SceneOptions())
    (tmp_path / "größe.glb").write_bytes(data := glb_bytes(result, free(), correctives=correctives))
    frames = np.array([0, 1, 30, 50, 89])
    time = (result.time - result.time[0])[frames]
    people = [person_label(result, person) for person in range(3)]
    points = np.stack([result.joints[result.rows_in(frame)[0], ::6] for frame in frames])
    np.savez(
        tmp_path / "asked.npz",
        fps=30, size=result.image_size, time=time, person=people, joint=NAMES["smpl"], points=points,
    )  # fmt: skip
    run(
        ROOT / "tests/support/pose_in_blender.py",
        tmp_path / "größe.glb",
        tmp_path / "asked.npz",
        tmp_path / "found.npz",
    )
    found = np.load(tmp_path / "found.npz")
    there = np.stack([presence(result, person)[frames] for person in range(3)], axis=1)
    np.testing.assert_array_equal(found["hidden"], ~there)
    glb = Glb(data)
    for k, moment in enumerate(time):
        camera = transform(result.camera_from_world[frames[k]], points[k])
        assert np.abs(found["pixels"][k] - project(result.intrinsics[0], camera) - 0.5).max() < 1e-3
        for person in np.flatnonzero(there[k]):
            node = glb.node(f"{people[person]}_mesh")
            skin = glb.content["skins"][glb.content["nodes"][node]["skin"]]
            joints = np.stack([glb.world(joint, moment)[:3, 3] for joint in skin["joints"]])
            # 4.4 m from the origin float32, in which Blender poses, has steps of half a micrometre
            assert np.abs(found["joints"][k, person] - joints).max() < 1e-6
            assert np.abs(found["vertices"][k, person] - glb.vertices(node, moment)).max() < 3e-6


def test_blender_makes_an_fbx(tmp_path: Path) -> None:
    glb = glb_bytes(arrange(example("camera"), SceneOptions()), free(), absent=1e-3)
    (tmp_path / "a.glb").write_bytes(glb)
    run(SCRIPT, "--", tmp_path / "a.glb", tmp_path / "größe.fbx", 30, 640, 360)
    assert (tmp_path / "größe.fbx").read_bytes()[:18] == b"Kaydara FBX Binary"
