"""GLB: gltf-validator accepts it, and whoever poses it as glTF says sees the bodies and the video's pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from glb_reader import Glb
from turned_results import example, nobody, one_frame

from trace_data.export.check import CHECKS, gltf_problems, has_gltf_validator
from trace_data.export.glb import glb_bytes
from trace_data.export.gltf import Document
from trace_data.export.mesh import FreeMeshes
from trace_data.export.skeleton import NAMES, person_label
from trace_data.export.track import presence
from trace_data.geometry import matrix_from_axis_angle, project, transform
from trace_data.results.result import Result
from trace_data.sample_world.free_body import load_free_body

free = cache(FreeMeshes)
needs_validator = pytest.mark.skipif(not has_gltf_validator(), reason=f"no gltf-validator: {CHECKS['glb'].hint}")


@cache
def written(**settings: bool) -> Glb:
    return Glb(glb_bytes(example(**settings), free()))


def posed(result: Result, person: int, row: int) -> tuple[Any, Any]:
    """Vertices and joints of the free body in a row, by the sample world's own skinning, without pose correctives."""
    mesh, body = free().of(result, person), load_free_body("neutral")
    scale = mesh.rest[4, 1] / (body.J_regressor @ body.v_template)[4, 1]
    weights = np.zeros((len(mesh.vertices), 24))
    np.add.at(weights, (np.arange(len(weights))[:, None], mesh.surface.joints), mesh.surface.weights)
    bare = replace(
        body,
        v_template=scale * body.v_template,
        posedirs=np.zeros_like(body.posedirs),
        weights=weights / weights.sum(1, keepdims=True),
    )
    # the free body is as tall as the legs say, and its pelvis stands where the person's does
    shift = result.translation[row].astype(float) + mesh.pelvis - mesh.rest[0]
    vertices, joints = bare.pose(result.pose[[row]].astype(float), np.zeros((1, 1)), shift[None])
    return vertices[0], joints[0]


@pytest.mark.parametrize("irregular", [False, True])
def test_posing_it_gives_the_bodies(irregular: bool) -> None:
    result, glb = example(irregular=irregular), written(irregular=irregular)
    for person in range(len(result.person)):
        label = person_label(result, person)
        (mesh,) = (i for i, n in enumerate(glb.content["nodes"]) if n["name"] == f"{label}_mesh")
        skin = glb.content["skins"][glb.content["nodes"][mesh]["skin"]]
        for row in result.rows_of(person)[[0, 20, -1]]:
            time = result.time[result.row_frame[row]] - result.time[0]
            vertices, joints = posed(result, person, row)
            found = np.stack([glb.world(joint, time)[:3, 3] for joint in skin["joints"]])
            assert np.abs(found - joints).max() < 2e-6
            assert np.abs(glb.vertices(mesh, time) - vertices).max() < 5e-6


def test_a_joint_seen_through_the_camera_is_at_its_pixel() -> None:
    result, glb = example(), written()
    size = (int(result.image_size[0]), int(result.image_size[1]))
    for row in range(0, len(result.row_frame), 37):
        frame = result.row_frame[row]
        camera = transform(result.camera_from_world[frame], result.joints[row])
        expected = project(result.intrinsics[0], camera) + 0.5  # counted from the corner
        seen = glb.project(
            glb.node("camera"), result.time[frame] - result.time[0], result.joints[row].astype(float), size
        )
        assert np.abs(seen - expected).max() < 0.01


def test_people_stand_upright_before_the_camera() -> None:
    result, glb = example(), written()
    skin = glb.content["skins"][0]
    joints = dict(zip(NAMES["smpl"], skin["joints"]))
    head, foot = (glb.world(joints[name], 0.0)[:3, 3] for name in ("head", "left_foot"))
    assert 1.0 < head[1] - foot[1] < 2.0
    width, height = result.image_size
    for point in (head, foot):
        x, y = glb.project(glb.node("camera"), 0.0, point[None], (int(width), int(height)))[0]
        assert 0 < x < width and 0 < y < height


def test_who_is_absent_is_scaled_to_nothing() -> None:
    result, glb = example(), written()
    for person in range(len(result.person)):
        node = glb.node(person_label(result, person))
        scale = [np.linalg.det(glb.world(node, time)[:3, :3]) for time in result.time - result.time[0]]
        np.testing.assert_array_equal(np.round(scale), presence(result, person))
        if (node, "scale") in glb.channels:
            assert glb.channels[node, "scale"]["interpolation"] == "STEP"


@pytest.mark.parametrize("irregular", [False, True])
def test_times_are_those_of_the_video(irregular: bool) -> None:
    result, glb = example(irregular=irregular), written(irregular=irregular)
    times = glb.array(glb.channels[glb.node("camera"), "rotation"]["input"])[:, 0]
    assert np.abs(times - (result.time - result.time[0])).max() < 1e-6
    assert glb.content["scenes"][0]["extras"]["frame_id"] == result.frame_id.tolist()


def test_quaternions_never_take_the_long_way() -> None:
    glb = written()
    for (_, path), sampler in glb.channels.items():
        if path == "rotation":
            values = glb.array(sampler["output"]).astype(float)
            assert (np.sum(values[1:] * values[:-1], axis=1) > 0).all()


def test_what_people_share_is_stored_once() -> None:
    glb = written()
    primitives = [mesh["primitives"][0] for mesh in glb.content["meshes"]]
    for key in ("JOINTS_0", "WEIGHTS_0"):
        assert len({primitive["attributes"][key] for primitive in primitives}) == 1
    assert len({primitive["indices"] for primitive in primitives}) == 1
    assert len({primitive["attributes"]["POSITION"] for primitive in primitives}) == len(primitives)


def test_correctives_are_exact_within_the_range_that_blender_keeps() -> None:
    result = example(people=1, frames=20)
    glb = Glb(glb_bytes(result, free(), correctives="morph"))
    mesh, body = free().of(result, 0), load_free_body("neutral")
    node = glb.node("person_1_mesh")
    weights = glb.array(glb.channels[node, "weights"]["output"])
    assert weights.min() >= 0 and weights.max() <= 1
    # before skinning: the mesh of every key is the template and the pose directions
    primitive = glb.content["meshes"][0]["primitives"][0]
    targets = np.stack([glb.array(target["POSITION"]) for target in primitive["targets"]]).astype(float)
    base = glb.array(primitive["attributes"]["POSITION"])
    features = (matrix_from_axis_angle(result.pose[:, 1:]) - np.eye(3)).reshape(len(result.pose), -1)
    for row in (0, 19):
        found = base + np.einsum("k,kvc->vc", weights.reshape(-1, 207)[row].astype(float), targets)
        expected = mesh.vertices + body.posedirs @ features[row]
        assert np.abs(found - expected).max() < 5e-6
    rest = base + np.einsum("k,kvc->vc", np.array(glb.content["meshes"][0]["weights"]), targets)
    assert np.abs(rest - mesh.vertices).max() < 5e-6


@pytest.mark.parametrize("names", list(NAMES))
def test_joints_are_named_as_asked(names: str) -> None:
    glb = Glb(glb_bytes(one_frame(example()), free(), names=names))
    assert tuple(glb.content["nodes"][joint]["name"] for joint in glb.content["skins"][0]["joints"]) == NAMES[names]


EDGES: dict[str, Callable[[], Result]] = {
    "three people": example,
    "uneven times": lambda: example(irregular=True),
    "a camera at rest": lambda: example(moving=False),
    "one frame": lambda: one_frame(example()),
    "nobody": lambda: nobody(example()),
    "nobody before a camera at rest": lambda: nobody(example(moving=False)),
    "nobody in one frame": lambda: one_frame(nobody(example())),
}


@needs_validator
@pytest.mark.parametrize("case", EDGES)
def test_the_validator_has_nothing_to_say(case: str, tmp_path: Path) -> None:
    file = tmp_path / "zwei Wege äöü.glb"
    file.write_bytes(glb_bytes(EDGES[case](), free()))
    assert gltf_problems(file) == []


@needs_validator
def test_the_validator_accepts_correctives(tmp_path: Path) -> None:
    file = tmp_path / "a.glb"
    file.write_bytes(glb_bytes(example(people=1, frames=5), free(), correctives="morph"))
    assert gltf_problems(file) == []


def _spoilt(change: Callable[[str, Any], Any]) -> Callable[[pytest.MonkeyPatch], None]:
    """Changes what the document stores: `change` gets the array's kind, as its place in the writer tells it."""

    def apply(patch: pytest.MonkeyPatch) -> None:
        store = Document.accessor

        def spoilt(self: Document, array: Any, *, target: int | None = None, bounds: bool = False) -> int:
            kind = {4: "quaternions", 3: "vectors"}.get(array.shape[-1], "") if array.ndim == 2 else ""
            kind = "matrices" if array.ndim == 3 else "times" if array.ndim == 1 else kind
            kind = {34962: f"vertex {kind}", 34963: "indices"}.get(target or 0, kind)
            return store(self, change(kind, array), target=target, bounds=bounds)

        patch.setattr(Document, "accessor", spoilt)

    return apply


def _on(wanted: str, change: Callable[[Any], Any]) -> Callable[[str, Any], Any]:
    return lambda kind, array: change(array.copy()) if kind == wanted else array


def _nan(array: Any) -> Any:
    array[0] = np.nan
    return array


def _beyond(array: Any) -> Any:
    array[0] = 60000
    return array


MUTATIONS = {
    "quaternions that are no unit": _on("quaternions", lambda a: 1.1 * a),
    "times that go back": _on("times", lambda a: a[::-1].copy()),
    "NaN in positions of joints": _on("vectors", _nan),
    "matrices transposed": _on("matrices", lambda a: a.transpose(0, 2, 1).copy()),
    "weights that do not sum to one": _on(
        "vertex quaternions", lambda a: a if a.dtype == np.uint8 else a * np.float32(0.5)
    ),
    "faces beyond the vertices": _on("indices", _beyond),
}


@needs_validator
@pytest.mark.parametrize("mutation", MUTATIONS)
def test_the_validator_refuses(mutation: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _spoilt(MUTATIONS[mutation])(monkeypatch)
    file = tmp_path / "a.glb"
    file.write_bytes(glb_bytes(example(), free()))
    assert gltf_problems(file)
