"""Meshes of the packs and of the free body, and the files that hold posed ones or come from the body model."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from glb_reader import Glb
from turned_results import example

from trace_data.assets.body_model import BodyModel
from trace_data.errors import AssetError
from trace_data.export.glb import glb_bytes
from trace_data.export.mesh import FreeMeshes, PackMeshes, surface
from trace_data.export.posed_meshes import obj_text, ply_bytes
from trace_data.export.published import outputs, published_bytes
from trace_data.export.skeleton import rest_joints
from trace_data.geometry import matrix_from_axis_angle, project
from trace_data.unpickle.reader import load_npz

free = cache(FreeMeshes)


@pytest.fixture(scope="module")
def meshes(packs: Path) -> PackMeshes:
    return PackMeshes(packs)


def test_the_rest_pose_needs_no_body_model(meshes: PackMeshes) -> None:
    result = example()
    for person in range(len(result.person)):
        expected = meshes.body.rest_joints(result.betas[person : person + 1])[0]
        assert np.abs(rest_joints(result, person) - expected).max() < 2e-6


def test_packs_give_the_body_of_the_result(meshes: PackMeshes) -> None:
    result = example()
    vertices = meshes.posed(result, 100)
    person = result.row_person[100]
    expected = meshes.body.vertices(result.pose[[100]], result.betas[[person]], result.translation[[100]])[0]
    np.testing.assert_array_equal(vertices, expected)
    glb = Glb(glb_bytes(result, meshes, correctives="morph"))
    (node,) = (i for i, item in enumerate(glb.content["nodes"]) if item["name"] == "Größe 1_mesh")
    row = result.rows_of(1)[10]
    found = glb.vertices(node, result.time[result.row_frame[row]] - result.time[0])
    posed = meshes.posed(result, row)
    # four influences a vertex instead of six
    assert np.abs(found - posed).mean() < 1e-4
    assert np.abs(found - posed).max() < 0.03


def test_packs_of_another_model_are_refused(packs: Path) -> None:
    with pytest.raises(AssetError, match="another body model") as caught:
        PackMeshes(packs, "male").of(example(), 0)
    assert "SMPL_MALE.pth" in str(caught.value.where)
    with pytest.raises(AssetError):
        PackMeshes(packs.parent / "nowhere")


def test_the_free_body_stands_where_the_person_stands() -> None:
    result = example()
    for person in range(len(result.person)):
        mesh, theirs = free().of(result, person), rest_joints(result, person)
        np.testing.assert_array_equal(mesh.pelvis, theirs[0])
        # hips as high above the toes: feet stay on the floor
        height = [rest[[1, 2], 1].mean() - rest[[10, 11], 1].mean() for rest in (mesh.rest, theirs)]
        assert abs(height[0] - height[1]) < 1e-6
        row = int(result.rows_of(person)[0])
        shifted = free().posed(result, row).mean(axis=0) - result.joints[row].mean(axis=0)
        assert np.linalg.norm(shifted) < 0.25


def test_the_best_four_weights_sum_to_one() -> None:
    draw = np.random.default_rng(0)
    weights = draw.dirichlet(np.full(24, 0.1), 50)
    made = surface(np.zeros((1, 3), np.int64), weights, np.zeros((207, 50, 3)))
    np.testing.assert_allclose(made.weights.sum(axis=1), 1, atol=1e-6)
    assert (made.joints[made.weights == 0] == 0).all()
    np.testing.assert_array_equal(made.joints[:, 0], weights.argmax(axis=1))


def test_normals_point_outside() -> None:
    mesh = free().of(example(), 0)
    normals = mesh.normals()
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-5)

    def volume(vertices: npt.NDArray[np.floating]) -> float:
        a, b, c = np.moveaxis(vertices[mesh.surface.faces].astype(float), 1, 0)
        return float(np.sum(a * np.cross(b, c)) / 6)

    # a body that grows by a millimetre everywhere gains its surface, in millimetres
    assert volume(mesh.vertices + 1e-3 * normals) > volume(mesh.vertices) + 1e-3


def test_obj_and_ply_hold_the_same_mesh() -> None:
    mesh = free().of(example(), 0)
    vertices, faces = mesh.vertices.astype(np.float64), mesh.surface.faces
    lines = obj_text(vertices, faces).splitlines()
    points = np.array([line.split()[1:] for line in lines if line.startswith("v ")], float)
    corners = np.array([line.split()[1:] for line in lines if line.startswith("f ")], int)
    np.testing.assert_allclose(points, vertices, atol=1e-6)
    np.testing.assert_array_equal(corners - 1, faces)
    head, body = ply_bytes(vertices, faces).split(b"end_header\n", 1)
    assert b"format binary_little_endian 1.0" in head
    np.testing.assert_array_equal(np.frombuffer(body, "<f4", 3 * len(vertices)).reshape(-1, 3), mesh.vertices)
    rows = np.frombuffer(body[12 * len(vertices) :], [("n", "u1"), ("corners", "<i4", 3)])
    assert (rows["n"] == 3).all()
    np.testing.assert_array_equal(rows["corners"], faces)


def test_the_published_file_means_what_it_meant(meshes: PackMeshes) -> None:
    result, body = example("camera"), meshes.body
    found = outputs(result, body)
    assert found["smpl_thetas"].shape == (len(result.row_frame), 72)
    np.testing.assert_array_equal(found["reorganize_idx"], result.row_frame)
    np.testing.assert_array_equal(found["track_ids"], result.person[result.row_person])
    # the joints relative to the hips, moved to the hips in the camera, are at their pixels
    pixels = project(result.intrinsics[0], found["j3d"] + found["cam_trans"][:, None])
    assert np.nanmax(np.abs(pixels - found["pj2d_org"])) < 0.05
    # and turned into the world, moved to the hips there, they are the result's
    turn = np.einsum(
        "nab,ncb->nac", matrix_from_axis_angle(result.pose[:, 0]), matrix_from_axis_angle(result.root_in_camera)
    )
    world = np.einsum("nab,nkb->nka", turn, found["j3d"][:, :24]) + found["world_trans"][:, None]
    assert np.abs(world - result.joints).max() < 1e-4
    width, height = result.image_size
    corner = 2 * (0 + (width - height) / 2) / width - 1
    np.testing.assert_allclose(found["pj2d"][..., 1], 2 * found["pj2d_org"][..., 1] / width + corner, atol=1e-5)


def test_the_published_file_is_read_in_the_restricted_way(meshes: PackMeshes, tmp_path: Path) -> None:
    result = example("camera", people=1, frames=12)
    file = tmp_path / "a.npz"
    file.write_bytes(published_bytes(result, meshes.body))
    found = load_npz(file)
    assert found["imgpaths"].tolist()[0] == "frame_000000.jpg"
    expected = outputs(result, meshes.body)
    read = found["outputs"].item()
    assert set(read) == set(expected)
    np.testing.assert_array_equal(read["j3d"], expected["j3d"])


def test_body_model_shows_what_a_skin_needs(packs: Path) -> None:
    body = BodyModel.load(packs / "SMPL_NEUTRAL.pth")
    assert body.weights.shape == (6890, 24)
    assert body.pose_directions.shape == (207, 6890, 3)
