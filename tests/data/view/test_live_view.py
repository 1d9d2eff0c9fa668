"""`trace view --live`: the numbers that viser gets, and viser itself where it is installed."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from example_result import example_result

from trace_data.errors import ConfigError
from trace_data.export.mesh import FreeMeshes
from trace_data.results.scene import SceneOptions, arrange
from trace_data.view.from_result import scene_of
from trace_data.view.live import posed_joints, put_into, serve

INSTALLED = importlib.util.find_spec("viser") is not None


def test_joints_are_those_of_the_result() -> None:
    result = arrange(example_result(frames=10), SceneOptions())
    for index, person in enumerate(scene_of(result, "walk", None, picture=None).people):
        assert np.abs(posed_joints(person)[0] - result.joints[result.rows_of(index)]).max() < 1e-4


@pytest.mark.skipif(INSTALLED, reason="viser is installed")
def test_without_viser_the_extra_is_named(tmp_path: Path) -> None:
    scene = scene_of(arrange(example_result(frames=2), SceneOptions()), "walk", None, picture=None)
    with pytest.raises(ConfigError, match="viser") as caught:
        serve(scene, 8080, print)
    assert "pip install viser" in str(caught.value.hint)


@pytest.mark.skipif(not INSTALLED, reason="needs viser: pip install viser")
@pytest.mark.parametrize("meshes", [FreeMeshes(), None], ids=["surfaces", "skeletons"])
def test_viser_takes_every_frame(meshes: FreeMeshes | None) -> None:
    import viser

    server = viser.ViserServer(host="127.0.0.1", port=0, verbose=False)
    show = put_into(server, scene_of(arrange(example_result(frames=10), SceneOptions()), "walk", meshes, picture=None))
    for frame in range(10):
        show(frame)
    server.stop()
