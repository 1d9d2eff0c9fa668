"""Draws the picture of docs/export.md: an exported scene through its camera, and from beside it.

    python tools/export_picture.py docs/export-of-the-synthetic-people.jpg

The people are the free body. Everything is read back from the GLB that `trace export` would write.
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from example_result import example_result
from glb_reader import Glb

from trace_data.drawing import MESH, draw_mesh
from trace_data.export.glb import glb_bytes
from trace_data.export.mesh import FreeMeshes
from trace_data.geometry import project, transform
from trace_data.results.scene import SceneOptions, arrange
from trace_data.results.world_placement import rigid_inverse

Floats = npt.NDArray[np.float64]

WIDTH, HEIGHT = 640, 360
PAPER, LINE, CAMERA = (243, 244, 246), (200, 206, 214), (235, 94, 40)
SECONDS = 0.7
OPENCV = np.diag([1.0, -1.0, -1.0, 1.0])
"""Axes of a glTF camera turned into x right, y down, z forward, and back."""


def main(out: Path) -> None:
    """Write the picture."""
    result = arrange(example_result(frames=60), SceneOptions())
    glb = Glb(glb_bytes(result, FreeMeshes()))
    lens = result.intrinsics[0]
    camera = rigid_inverse(glb.world(glb.node("camera"), SECONDS) @ OPENCV)
    path = np.stack([glb.world(glb.node("camera"), time)[:3, 3] for time in result.time - result.time[0]])
    through = _scene(glb, camera, lens, None)
    people = result.joints[result.rows_in(round(SECONDS * 30)), 0].mean(axis=0)
    between = 0.5 * (people + rigid_inverse(camera)[:3, 3])
    away = np.cross(people - rigid_inverse(camera)[:3, 3], (0.0, 1.0, 0.0))
    beside = _scene(glb, _looking(between + 1.1 * away + (0, 1.6, 0), between), lens, (path, rigid_inverse(camera)))
    sheet = np.concatenate([through, np.full((HEIGHT, 8, 3), 255, np.uint8), beside], axis=1)
    cv2.imwrite(str(out), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 88])


def _scene(
    glb: Glb, camera_from_world: Floats, lens: Floats, camera: tuple[Floats, Floats] | None
) -> npt.NDArray[np.uint8]:
    """The floor, everybody, and the path and frustum of a camera."""
    image = np.full((HEIGHT, WIDTH, 3), PAPER, np.uint8)

    def line(points: Floats, colour: tuple[int, int, int], size: int) -> None:
        seen = transform(camera_from_world, points)
        for a, b in itertools.pairwise(seen):
            if min(a[2], b[2]) > 0.1:
                first, last = np.round(project(lens, np.stack([a, b])) * 8).astype(int)
                cv2.line(image, tuple(first.tolist()), tuple(last.tolist()), colour, size, cv2.LINE_AA, 3)

    steps = np.linspace(-6, 8, 57)
    for at in range(-6, 9):
        line(np.stack([steps, 0 * steps, np.full(57, float(at))], axis=1), LINE, 1)
        line(np.stack([np.full(57, float(at)), 0 * steps, steps], axis=1), LINE, 1)
    nodes = [i for i, node in enumerate(glb.content["nodes"]) if "mesh" in node]
    bodies = [(transform(camera_from_world, glb.vertices(node, SECONDS)), node) for node in nodes]
    for vertices, node in sorted(bodies, key=lambda body: -float(body[0][:, 2].mean())):
        mesh = glb.content["meshes"][glb.content["nodes"][node]["mesh"]]
        faces = glb.array(mesh["primitives"][0]["indices"]).reshape(-1, 3)
        if np.ptp(vertices, axis=0).max() > 0.1:
            draw_mesh(image, vertices, faces, lens, colour=MESH[nodes.index(node)], opacity=1.0)
    if camera is not None:
        path, world_from_camera = camera
        line(path, CAMERA, 2)
        corners = np.array([[-0.5, -0.3, 0.8], [0.5, -0.3, 0.8], [0.5, 0.3, 0.8], [-0.5, 0.3, 0.8], [-0.5, -0.3, 0.8]])
        frustum = transform(world_from_camera, corners)
        line(frustum, CAMERA, 2)
        for corner in frustum[:4]:
            line(np.stack([world_from_camera[:3, 3], corner]), CAMERA, 2)
    return image


def _looking(place: Floats, target: Floats) -> Floats:
    """(4, 4) camera_from_world of a camera at a place that looks at a target, Y up."""
    forward = np.subtract(target, place) / np.linalg.norm(np.subtract(target, place))
    right = np.cross(forward, (0.0, 1.0, 0.0))
    right /= np.linalg.norm(right)
    world_from_camera = np.eye(4)
    world_from_camera[:3, :3] = np.stack([right, np.cross(forward, right), forward], axis=1)
    world_from_camera[:3, 3] = place
    return rigid_inverse(world_from_camera)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
