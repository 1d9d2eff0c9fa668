"""The page in Chromium: it draws what the result says, where the result says it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from example_result import example_result
from page_numbers import needs_chromium, opened
from turned_results import nobody

from trace_data.export.mesh import FreeMeshes
from trace_data.results.result import Result
from trace_data.results.scene import SceneOptions, arrange
from trace_data.view.from_result import scene_of
from trace_data.view.page import write_page
from trace_data.view.picture import jpeg
from trace_data.view.scene import Stills

pytestmark = needs_chromium

STATE = """JSON.stringify((() => {
  const view = window.traceView, frame = view.now.frame;
  view.draw();
  const canvas = document.getElementById("over"), gl = canvas.getContext("webgl2");
  const opacity = (x, y) => {
    const pixel = new Uint8Array(4), scale = canvas.width / 640;
    const column = Math.round((x + 0.5) * scale), row = canvas.height - 1 - Math.round((y + 0.5) * scale);
    gl.readPixels(column, row, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, pixel);
    return pixel[3];
  };
  const joints = [0, 6, 12], there = view.people.map((p, i) => i).filter((i) => view.people[i].row[frame] >= 0);
  const places = there.map((i) => joints.map((j) => view.project(frame, i, j)));
  return { frame, there, places, opaque: places.map((at) => at.map(([x, y]) => opacity(x, y))), corner: opacity(2, 2) };
})())"""


def put(folder: Path, result: Result) -> Path:
    page, grey = folder / "zwei Wege.html", np.full((180, 320, 3), 128, np.uint8)
    pictures = Stills(jpegs=[jpeg(grey)], frame=np.zeros(len(result.time), np.int64))
    write_page(page, scene_of(result, "zwei Wege", FreeMeshes(), picture=pictures))
    return page


def test_bodies_are_drawn_where_the_result_says(tmp_path: Path) -> None:
    result = arrange(example_result(frames=30), SceneOptions())
    state = json.loads(opened(put(tmp_path, result), "#t=1.2", ask=STATE))
    assert result.time[state["frame"]] == pytest.approx(1.2, abs=0.01)
    rows = result.rows_in(state["frame"])
    assert state["there"] == result.row_person[rows].tolist()
    assert np.abs(np.array(state["places"]) - result.joints_2d[rows][:, [0, 6, 12], :2]).max() < 0.2
    assert np.min(state["opaque"]) == 255 and state["corner"] == 0


def test_the_title_tells_time_and_people(tmp_path: Path) -> None:
    result = arrange(example_result(frames=30), SceneOptions())
    shot = tmp_path / "shot.png"
    assert opened(put(tmp_path, result), "#t=0.5&camera", screenshot=shot) == "0.50 s · 2 people · zwei Wege"


FINGERS = """JSON.stringify((() => {
  const world = document.getElementById("world"), { orbiting } = window.traceView;
  const seen = () => [orbiting.yaw, orbiting.pitch, orbiting.distance];
  const finger = (type, pointerId, clientX, clientY) =>
    world.dispatchEvent(new PointerEvent(type, { pointerType: "touch", pointerId, clientX, clientY, bubbles: true }));
  const begin = seen();
  finger("pointerdown", 7, 300, 300);
  finger("pointermove", 7, 340, 300);
  const turned = seen();
  finger("pointerdown", 8, 440, 300);
  finger("pointermove", 8, 540, 300);
  const pinched = seen();
  finger("pointerup", 8, 540, 300);
  finger("pointerup", 7, 340, 300);
  finger("pointermove", 7, 400, 400);
  return { begin, turned, pinched, left: seen() };
})())"""


def test_one_finger_turns_and_two_zoom(tmp_path: Path) -> None:
    seen = json.loads(opened(put(tmp_path, arrange(example_result(frames=30), SceneOptions())), ask=FINGERS))
    assert seen["turned"][0] == pytest.approx(seen["begin"][0] - 0.28) and seen["turned"][1:] == seen["begin"][1:]
    assert seen["pinched"] == [*seen["turned"][:2], pytest.approx(seen["turned"][2] / 2)]  # twice as far apart
    assert seen["left"] == seen["pinched"]


def test_nobody(tmp_path: Path) -> None:
    result = arrange(nobody(example_result(frames=30)), SceneOptions())
    assert opened(put(tmp_path, result)) == "0.40 s · 0 people · zwei Wege"
