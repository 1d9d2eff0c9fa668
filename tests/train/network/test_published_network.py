"""Our network beside one written from the published formulas alone, stage by stage, on the same weights."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import asdict

import formula_network as formula
import pytest
import torch
from small_network import clips, small
from torch import Tensor

from trace_train.geometry.rotations import matrix_from_axis_angle
from trace_train.inference.stream import use_chunk_statistics
from trace_train.network.model import TraceNetwork
from trace_train.network.outputs import Tracks
from trace_train.weights.folder import Switches


@pytest.fixture(scope="module")
def network() -> TraceNetwork:
    """Small, read as released weights are, with numbers everywhere that a mistake would show in."""
    switches = (f"network.{key}={value}" for key, value in asdict(Switches()).items())
    network = small(*switches, "network.stage_modules=[1, 2, 2]", "network.mesh_blocks=2", "network.motion_blocks=2")
    g = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if "bn" in name or "running" in name or name.endswith("bias"):
                spread = 0.2 * torch.randn(value.shape, generator=g)
                value.copy_(1 + spread.abs() if name.endswith("var") else value + spread if value.dim() else value)
        network.feature_offset_predictor.weight.mul_(20)
    return network.eval()


def relative(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).abs().max() / expected.abs().max())


def test_every_stage_is_the_published_one(network: TraceNetwork) -> None:
    images, flow = clips(2, 3)
    track = Tracks(
        frame=torch.tensor([[3, 4, 5]]),
        zyx=torch.tensor([[[3, 9, 4], [2, 8, 5], [15, 0, 15]]]),
        mask=torch.ones(1, 3, dtype=torch.bool),
    )
    state = network.state_dict()
    with torch.no_grad():
        ours = network(images, flow, tracks=track, return_stages=True).stages
        maps = formula.stages(state, images, flow, network.depth_levels)
        person = formula.people(state, maps, [3, 4, 5], track.zyx[0].tolist(), gain=2.0)
    assert len(maps) == 16 and maps["feature_offsets"].abs().max() > 0.5  # far enough to look elsewhere
    for name, expected in maps.items():
        assert relative(ours[name], expected) < 1e-4, name
    rotation = person.pop("world_rotation")
    assert torch.allclose(matrix_from_axis_angle(ours["world_global_rots"]), rotation, atol=1e-4)
    for name, expected in person.items():
        assert relative(ours[name], expected) < 1e-4, name


def test_statistics_of_a_chunk_give_the_published_stages_too(
    network: TraceNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, flow = clips(1, 8)
    running, state = formula.norm, network.state_dict()

    def of_the_chunk(s: formula.State, name: str, x: Tensor) -> Tensor:
        if name.startswith("backbone."):
            return running(s, name, x)
        axes = [axis for axis in range(x.dim()) if axis != 1]
        own = {f"{name}.running_mean": x.mean(axes), f"{name}.running_var": x.var(axes, correction=0)}
        return running({**s, **own}, name, x)

    monkeypatch.setattr(formula, "norm", of_the_chunk)
    chunked = deepcopy(network)
    use_chunk_statistics(chunked)
    with torch.no_grad():
        ours = chunked(images, flow, return_stages=True).stages
        for name, expected in formula.stages(state, images, flow, network.depth_levels).items():
            assert relative(ours[name], expected) < 1e-3, name
        assert relative(network(images, flow, return_stages=True).stages["front_map"], ours["front_map"]) > 0.1


def test_a_mistake_in_one_tensor_is_seen(network: TraceNetwork) -> None:
    images, flow = clips(1, 2)
    state = dict(network.state_dict())
    with torch.no_grad():
        ours = network(images, flow, return_stages=True).stages
        for name in ("backbone.stage4.1.fuse_layers.0.3.0.weight", "bv_motion_out_layers.1.conv2.weight"):
            wrong = formula.stages(state | {name: state[name].flip(0)}, images, flow, network.depth_levels)
            assert max(relative(ours[stage], value) for stage, value in wrong.items()) > 1e-3, name
