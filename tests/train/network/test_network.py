"""The network's shapes, its published names, and what may not change an output."""

from __future__ import annotations

import re

import pytest
import torch
from repository import ROOT

from trace_train.build import build_network
from trace_train.config import NetworkConfig, load_config
from trace_train.network.backbone import HRNet
from trace_train.network.blocks import VolumeConv
from trace_train.network.model import TraceNetwork
from trace_train.network.sizes import NetworkSizes
from trace_train.weights.published import table


def small(**changes: object) -> TraceNetwork:
    torch.manual_seed(0)
    config = load_config("debug").network.model_copy(update={"input_size": 64, "depth_levels": 16, **changes})
    return build_network(config).eval()


def test_published_size_has_the_published_names_and_shapes() -> None:
    with torch.device("meta"):
        state = {k: tuple(v.shape) for k, v in build_network(NetworkConfig()).state_dict().items()}
    backbone = {k: v for k, v in state.items() if k.startswith("backbone.")}
    assert backbone == {k: v for k, v in table("image").items() if k.startswith("backbone.")}
    assert {k: v for k, v in state.items() if k not in backbone} == table("temporal_published")


def test_backbone_of_published_size_has_the_published_parameter_count() -> None:
    with torch.device("meta"):
        assert sum(p.numel() for p in HRNet().parameters()) == 28_535_552


def test_shapes_follow_the_configuration() -> None:
    network = small()
    images = torch.randint(0, 256, (3, 64, 64, 3), dtype=torch.uint8)
    with torch.no_grad():
        maps = network(images)
        people = network.regress(maps, torch.tensor([0, 2]), torch.tensor([[1, 2, 3], [15, 15, 15]]))
    assert maps.center.shape == (3, 16, 16) and maps.center_3d.shape == (3, 16, 16, 16)
    assert maps.camera.shape == (3, 3, 16, 16, 16) and maps.mesh.shape == (
        3,
        network.param_head[-1][0].conv2.out_channels,
        16,
        16,
    )
    assert people.camera.shape == (2, 3) and people.pose_6d.shape == (2, 21, 6) and people.shape.shape == (2, 21)


OTHER = {
    "input_size": 96,
    "width": 16,
    "stage_modules": (1, 1, 2),
    "temporal": False,
    "deform_groups": 4,
    "center_maps": "raw",
    "world_rotation": "additive",
    "first_motion": "counted",
    "camera_constants": "published",
}
"""Another value of the sizes that are no plain count."""


@pytest.mark.parametrize("name", NetworkSizes.model_fields)
def test_every_size_changes_the_network(name: str) -> None:
    def form(sizes: NetworkSizes) -> tuple[object, object]:
        with torch.device("meta"):
            network = TraceNetwork(sizes)
        plain = {key: value for key, value in vars(network).items() if isinstance(value, str | int | float)}
        return {key: tuple(value.shape) for key, value in network.state_dict().items()}, plain

    sizes = NetworkSizes(input_size=64, width=8, stem=8, bottleneck=8, stage_blocks=1, bird_eye_hidden=16)
    value = OTHER[name] if name in OTHER else getattr(sizes, name) + 1
    assert form(NetworkSizes(**{**sizes.model_dump(), name: value})) != form(sizes)


def test_a_checkpoint_from_before_a_size_was_a_key_is_the_same_network() -> None:
    stored = NetworkConfig().model_dump(mode="json")
    del stored["detection_blocks"]
    assert NetworkConfig.model_validate(stored) == NetworkConfig()


def test_frames_do_not_see_each_other() -> None:
    network = small()
    images = torch.randint(0, 256, (4, 64, 64, 3), dtype=torch.uint8)
    order = torch.tensor([2, 0, 3, 1])
    with torch.no_grad():
        assert torch.allclose(network(images).center_3d[order], network(images[order]).center_3d, atol=1e-5)


def test_nobody_is_regressed_without_a_cell() -> None:
    network = small()
    maps = network(torch.zeros(1, 64, 64, 3, dtype=torch.uint8))
    people = network.regress(maps, torch.zeros(0, dtype=torch.long), torch.zeros(0, 3, dtype=torch.long))
    assert people.camera.shape == (0, 3)


@pytest.mark.parametrize(("channels", "depth"), [(1, 16), (3, 16), (3, 7), (1, 1)])
def test_the_flat_form_of_a_volume_convolution_is_the_convolution(channels: int, depth: int) -> None:
    torch.manual_seed(1)
    conv = VolumeConv(channels).double()
    x = torch.randn(2, channels, depth, 6, 5, dtype=torch.float64, requires_grad=True)
    expected = torch.nn.functional.conv3d(x, conv.weight, padding=1)
    assert channels * depth <= conv.DENSE and torch.allclose(conv(x), expected, atol=1e-12)
    weights = torch.randn_like(expected)
    ours = torch.autograd.grad((conv(x) * weights).sum(), (x, conv.weight))
    theirs = torch.autograd.grad((expected * weights).sum(), (x, conv.weight))
    assert all(torch.allclose(a, b, atol=1e-12) for a, b in zip(ours, theirs))


@pytest.mark.parametrize("logits", [True, False])
def test_centre_volume_is_the_stated_composition(logits: bool) -> None:
    network = small()
    compose = network.compose
    front, above = torch.randn(1, 7, 16, 16), torch.rand(1, 48, 16)
    identity = torch.nn.Identity()
    center, camera = compose(front, above, identity, identity, logits=logits)
    d, y, x = 5, 7, 11
    heat, seen = front[0, 0, y, x], above[0, d, x]
    expected = heat + 4 * (seen - 1) if logits else heat * seen
    assert torch.isclose(center[0, d, y, x], expected)
    assert torch.isclose(camera[0, 0, d, y, x], front[0, 1, y, x] + above[0, 16 + d, x])
    assert torch.isclose(camera[0, 1, d, y, x], front[0, 2, y, x] + y / 16 * 2 - 1)
    assert torch.isclose(camera[0, 2, d, y, x], front[0, 3, y, x] + x / 16 * 2 - 1)


@pytest.mark.slow
def test_published_size_runs_on_a_cpu() -> None:
    torch.manual_seed(0)
    network = build_network(NetworkConfig()).eval()
    with torch.no_grad():
        maps = network(torch.zeros(1, 512, 512, 3, dtype=torch.uint8))
    assert maps.center_3d.shape == (1, 64, 128, 128) and bool(maps.center_3d.isfinite().all())


def test_the_walk_through_the_code_names_what_is_there() -> None:
    walk = (ROOT / "docs" / "network.md").read_text().split("## One person")[1].split("## Stages")[0]
    files = sorted((ROOT / "trace_train").rglob("*.py"))
    source = "\n".join(file.read_text() for file in files)
    paths = {str(file.relative_to(ROOT / "trace_train")) for file in files}
    published = {name.split(".")[0] for name in table("temporal_published")}
    names = set(re.findall(r"`([\w./]+)`", walk))
    assert len(names) > 30
    for name in names - published - {"trace_train/"}:
        if name.endswith(".py"):
            assert name in paths or f"network/{name}" in paths, name
        else:
            last = name.split(".")[-1]
            assert re.search(rf"(def|class) {last}\b|\b{last}=", source), name
