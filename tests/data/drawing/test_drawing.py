"""Pictures: what is drawn stands where the formula says, in the colour of its side."""

from __future__ import annotations

import base64

import cv2
import numpy as np
import pytest

from trace_data import drawing
from trace_data.schema.keypoints import ALL_44

K = np.array([[100.0, 0, 50], [0, 100.0, 40], [0, 0, 1]])


def blank(width: int = 100, height: int = 80) -> drawing.Picture:
    return np.zeros((height, width, 3), np.uint8)


def joints_at(**places: tuple[float, float]) -> np.ndarray:
    points = np.zeros((44, 3))
    for name, (x, y) in places.items():
        points[ALL_44.index(name)] = (x, y, 1)
    return points


def test_sides_have_their_colours_and_joints_without_confidence_stay_away() -> None:
    image = blank()
    drawing.draw_skeleton(image, joints_at(L_Knee=(20, 30), R_Knee=(70, 30)))
    assert tuple(image[30, 20]) == drawing.PREDICTED["L"]
    assert tuple(image[30, 70]) == drawing.PREDICTED["R"]
    assert not image[:6, :6].any()  # the absent joints' coordinates are 0, 0


def test_a_bone_is_drawn_only_between_two_seen_joints() -> None:
    image = blank()
    drawing.draw_skeleton(image, joints_at(L_Knee=(20, 10), L_Ankle=(20, 70)), annotated=True)
    red, _, blue = image[40, 20].tolist()
    assert red > blue + 40  # warm; the thin line is softened at its edges
    alone = blank()
    drawing.draw_skeleton(alone, joints_at(L_Knee=(20, 10)))
    assert not alone[40].any()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e9])
def test_wild_coordinates_are_left_out(bad: float) -> None:
    image = blank()
    points = np.full((24, 2), bad)
    drawing.draw_skeleton(image, points)
    assert not image.any()


def square(depth: float, half: float, *, facing: bool = True) -> tuple[np.ndarray, np.ndarray]:
    vertices = np.array([[-half, -half, depth], [half, -half, depth], [half, half, depth], [-half, half, depth]])
    faces = np.array([[0, 2, 1], [0, 3, 2]])  # counter-clockwise for a viewer who has y down
    return vertices, faces if facing else faces[:, ::-1]


def test_a_mesh_covers_its_projection() -> None:
    image = blank()
    drawing.draw_mesh(image, *square(2.0, 0.4), K, opacity=1.0)
    rows, columns = np.nonzero(image.any(-1))
    # 100 px * 0.4 m / 2 m = 20 px around the principal point (50, 40)
    assert (columns.min(), columns.max(), rows.min(), rows.max()) == (30, 70, 20, 60)


def test_what_is_near_hides_what_is_far_whatever_the_order() -> None:
    near, faces = square(1.0, 0.1)
    tilted = np.array([[-1, -1, 2.0], [1, -1, 4.0], [1, 1, 4.0], [-1, 1, 2.0]])  # darker: it turns from the light
    alone = blank()
    drawing.draw_mesh(alone, near, faces, K, opacity=1.0)
    for first, second in ((near, tilted), (tilted, near)):
        image = blank()
        drawing.draw_mesh(image, np.concatenate([first, second]), np.concatenate([faces, faces + 4]), K, opacity=1.0)
        assert (image[40, 50] == alone[40, 50]).all()
        assert (image[40, 70] != alone[40, 50]).any()


def test_faces_turned_away_or_behind_the_camera_are_left_out() -> None:
    for vertices, faces in (square(2.0, 0.4, facing=False), square(-2.0, 0.4), square(0.01, 0.4)):
        image = blank()
        drawing.draw_mesh(image, vertices, faces, K)
        assert not image.any()


def test_a_contact_sheet_holds_every_tile_in_its_place() -> None:
    tiles = [(f"tile {i}", np.full((60, 120, 3), 40 * i + 40, np.uint8)) for i in range(5)]
    sheet = drawing.contact_sheet(tiles, columns=2, tile_width=60, gap=4)
    assert sheet.shape == (3 * (30 + 18 + 4) + 4, 2 * 64 + 4, 3)
    for i in range(5):
        assert (sheet[4 + (i // 2) * 52 + 15, 4 + (i % 2) * 64 + 30] == 40 * i + 40).all()
    high = drawing.contact_sheet([("", np.full((200, 100, 3), 90, np.uint8))], tile_width=60, tile_height=80, gap=4)
    assert high.shape == (80 + 18 + 2 * 4, 68, 3), "not 120 px high, so not 60 px wide"
    assert (high[4:84, 4:44] == 90).all() and (high[4:84, 44:] != 90).all()
    with pytest.raises(ValueError, match="at least one"):
        drawing.contact_sheet([])


@pytest.mark.parametrize("length", [10, 40, 70, 300])
def test_captions_stay_under_their_picture_and_keep_their_ends(length: int) -> None:
    tiles = [np.full((40, 200, 3), 90, np.uint8)] * 2
    one, other = (
        drawing.contact_sheet([("m" * length + end, tiles[0]), ("", tiles[1])], columns=2, tile_width=200, gap=6)
        for end in "ij"
    )
    background = one[0, 0]
    assert (one[:, 206:212] == background).all() and (one[46:, 206:] == background).all(), "nothing in the next tile"
    assert (one[46:64] != background).any() and (one[64:] == background).all()
    assert (one != other).any(), "the end of the name is there"


def test_a_data_address_decodes_to_the_picture() -> None:
    image = np.zeros((32, 32, 3), np.uint8)
    image[..., 0] = 200  # red stays red
    head, data = drawing.data_uri(image).split(",")
    assert head == "data:image/jpeg;base64"
    decoded = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    assert np.abs(decoded[..., ::-1].astype(int) - image).max() < 8
