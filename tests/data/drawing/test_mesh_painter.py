"""One depth buffer for everything in a picture: true order, exact depth, whole silhouettes; colours of identities."""

from __future__ import annotations

import sys
from itertools import combinations

import cv2
import numpy as np
import pytest
import torch

from trace_data.drawing import Colour, MeshPainter, Surface, colour_of, laid_over, pale, raster
from trace_data.drawing.pytorch3d import best_rasteriser
from trace_data.drawing.raster import DepthBuffer

K = np.array([[100.0, 0, 50], [0, 100.0, 40], [0, 0, 1]])
SIZE = (80, 100)
BLUE, GREEN = colour_of(1), colour_of(2)


def square(left: float, right: float, colour: Colour, half: float = 0.3) -> Surface:
    """A square towards the camera; `left` and `right`: depth of its edges, m."""
    vertices = np.array([[-half, -half, left], [half, -half, right], [half, half, right], [-half, half, left]])
    return Surface(vertices=vertices, faces=np.array([[0, 2, 1], [0, 3, 2]]), colour=colour)


def triangles(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    centre = draw.uniform(-5, 45, (count, 1, 2))
    return centre + draw.uniform(-12, 12, (count, 3, 2)), draw.uniform(1, 5, (count, 3))


def slowly(corners: np.ndarray, depth: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Nearest face, its depth, and whether that is in doubt, pixel by pixel from the definition."""
    face, near = np.full(size, -1), np.full(size, np.inf)
    doubt = np.zeros(size, bool)
    for y, x in np.ndindex(*size):
        for number, (points, depths) in enumerate(zip(corners, depth)):
            matrix = np.vstack([points.T, np.ones(3)])
            share = np.linalg.solve(matrix, [x, y, 1])
            doubt[y, x] |= bool(np.abs(share).min() < 1e-4)  # on an edge
            here = 1 / (share @ (1 / depths))
            if share.min() >= 0 and here < near[y, x]:
                face[y, x], near[y, x] = number, here
    return face, near, doubt


@pytest.mark.parametrize("at_once", [None, 7])
def test_the_depth_buffer_is_the_definition(at_once: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if at_once:
        monkeypatch.setattr(raster, "_AT_ONCE", at_once)
    corners, depth = triangles(40, 5)
    size = (30, 40)
    face, near, doubt = slowly(corners, depth, size)
    found = DepthBuffer()(corners, depth, size)
    ours, ours_near = np.full(face.size, -1), np.full(face.size, np.inf)
    ours[found.pixel], ours_near[found.pixel] = found.face, found.depth
    sure = ~doubt.reshape(-1)
    assert sure.mean() > 0.95 and (face >= 0).mean() > 0.3
    assert np.array_equal(ours[sure], face.reshape(-1)[sure])
    covered = sure & (ours >= 0)
    np.testing.assert_allclose(ours_near[covered], near.reshape(-1)[covered], rtol=1e-9)
    np.testing.assert_allclose(found.share.sum(1), 1, atol=1e-9)


def test_surfaces_that_cross_hide_each_other_where_they_should() -> None:
    rising, falling = square(2.0, 4.0, BLUE), square(4.0, 2.0, GREEN)
    pictures = [MeshPainter().paint(order, K, SIZE) for order in ([rising, falling], [falling, rising])]
    for painted, (first, second) in zip(pictures, ((0, 1), (1, 0))):
        row = painted.surface[40]
        covered = np.flatnonzero(row >= 0)
        # the edges are at 50 ± 15 px in front, and the planes cross in the middle
        assert covered.tolist() == list(range(35, 66))
        assert (row[35:50] == first).all() and (row[51:66] == second).all()
    assert np.array_equal(pictures[0].rgba[:, :50], pictures[1].rgba[:, :50])
    depth = pictures[0].depth[40]
    np.testing.assert_allclose(depth[35], 2.0, rtol=1e-6)
    np.testing.assert_allclose(depth[50], 3.0, rtol=1e-6)  # x = 0: the middle in space
    assert np.isinf(depth[:35]).all()


def test_neighbours_leave_no_gap_and_nothing_else_is_touched() -> None:
    for shift in np.random.default_rng(2).uniform(0, 0.01, (20, 2)):
        item = square(2.0, 2.0, BLUE, 0.25)
        moved = Surface(vertices=item.vertices + np.array([*shift, 0]), faces=item.faces, colour=BLUE)
        covered = MeshPainter().paint([moved], K, SIZE).surface >= 0
        rows, columns = np.nonzero(covered)
        assert covered.sum() == (np.ptp(rows) + 1) * (np.ptp(columns) + 1)


def test_edges_are_smooth_and_colours_whole_with_finer_pixels() -> None:
    item = square(2.0, 2.0, BLUE, 0.205)  # 10.25 px around the middle, whose pixels reach from -0.5 to 0.5
    coarse, fine = (MeshPainter(finer=finer).paint([item], K, SIZE) for finer in (1, 4))
    row = fine.rgba[40, :, 3]
    assert row[39:62].tolist() == [0, *[191] * 1, *[255] * 19, *[191] * 1, 0]
    assert (fine.rgba[40, 40, :3] == fine.rgba[40, 50, :3]).all()
    assert (coarse.rgba[40, 40:61, 3] == 255).all()


def test_what_is_larger_than_the_picture_fills_it_and_what_is_outside_is_left_out() -> None:
    assert (MeshPainter().paint([square(0.1, 0.1, BLUE)], K, SIZE).surface == 0).all()
    away = square(2.0, 2.0, BLUE)
    beside = Surface(vertices=away.vertices + np.array([50, 0, 0]), faces=away.faces, colour=BLUE)
    behind = Surface(vertices=away.vertices - np.array([0, 0, 5]), faces=away.faces, colour=BLUE)
    for surfaces in ([], [beside], [behind], [beside, behind]):
        painted = MeshPainter().paint(surfaces, K, SIZE)
        assert not painted.rgba.any() and (painted.surface == -1).all() and np.isinf(painted.depth).all()


def test_a_picture_below_shows_through() -> None:
    image = np.full((*SIZE, 3), 100, np.uint8)
    rgba = np.zeros((*SIZE, 4), np.uint8)
    rgba[10:20, 10:20] = (200, 0, 100, 255)
    mixed = laid_over(image, rgba, 0.5)
    assert mixed[15, 15].tolist() == [150, 50, 100] and (mixed[30:] == 100).all() and (image == 100).all()


def test_pytorch3d_has_the_same_silhouette() -> None:
    pytest.importorskip("pytorch3d")
    from trace_data.drawing.pytorch3d import PyTorch3D

    items = [square(2.0, 4.0, BLUE), square(4.0, 2.0, GREEN)]
    ours = MeshPainter().paint(items, K, SIZE)
    theirs = MeshPainter(PyTorch3D("cpu")).paint(items, K, SIZE)
    around = np.ones((3, 3), np.uint8)
    for first, second in ((ours, theirs), (theirs, ours)):
        inside = (first.surface >= 0).astype(np.uint8)
        assert not ((second.surface >= 0) & (cv2.dilate(inside, around) == 0)).any()
    both = (ours.surface >= 0) & (theirs.surface >= 0)
    np.testing.assert_allclose(theirs.depth[both], ours.depth[both], rtol=1e-3)


def test_a_library_that_does_not_load_is_done_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    monkeypatch.setitem(sys.modules, "pytorch3d", None)
    assert isinstance(best_rasteriser(), DepthBuffer)


def lab(colour: Colour) -> np.ndarray:
    return cv2.cvtColor(np.float32([[colour]]) / 255, cv2.COLOR_RGB2LAB)[0, 0]


def test_identities_have_colours_apart_from_each_other_and_from_skin() -> None:
    colours = [colour_of(identity) for identity in range(1, 13)]
    skin = [(255, 219, 172), (241, 194, 125), (224, 172, 105), (198, 134, 66), (141, 85, 36), (92, 57, 30)]
    assert min(np.linalg.norm(lab(a) - lab(b)) for a, b in combinations(colours, 2)) > 25
    assert min(np.linalg.norm(lab(a) - lab(b)) for a in colours for b in skin) > 30
    assert colour_of(13) == colour_of(1) and colour_of(1000) in colours
    assert all(np.mean(pale(colour)) > np.mean(colour) for colour in colours)
