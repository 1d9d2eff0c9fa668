"""Deformable convolution: against a scalar loop, a plain convolution, and torchvision where its operators load."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from trace_train.network import deform


def case(groups: int = 2, reach: float = 3.0) -> tuple[Tensor, Tensor, Tensor]:
    """Maps of 6 x 7 cells and offsets that often leave them."""
    g = torch.Generator().manual_seed(3)
    shapes = ((1, 4, 6, 7), (1, 18 * groups, 6, 7), (3, 4, 3, 3))
    x, offsets, weight = (torch.randn(*s, generator=g, dtype=torch.float64) for s in shapes)
    return x.requires_grad_(), (reach * offsets).requires_grad_(), weight.requires_grad_()


def value(x: Tensor, channels: slice, y: Tensor, x_at: Tensor) -> Tensor:
    """Bilinear, zero outside, one corner after the other: (channels,)."""
    total = x.new_zeros(len(x[0, channels]))
    top, left = math.floor(y.item()), math.floor(x_at.item())
    for row in (top, top + 1):
        for column in (left, left + 1):
            if 0 <= row < x.shape[2] and 0 <= column < x.shape[3]:
                share = (1 - (y - row).abs()) * (1 - (x_at - column).abs())
                total = total + share * x[0, channels, row, column]
    return total


def by_hand(x: Tensor, offsets: Tensor, weight: Tensor) -> Tensor:
    """The definition, one tap of one cell after the other."""
    groups = offsets.shape[1] // 18
    width = x.shape[1] // groups
    rows = []
    for row in range(x.shape[2]):
        for column in range(x.shape[3]):
            out = x.new_zeros(len(weight))
            for group in range(groups):
                channels = slice(group * width, (group + 1) * width)
                for ky in range(3):
                    for kx in range(3):
                        at = (group * 9 + ky * 3 + kx) * 2
                        dy, dx = offsets[0, at, row, column], offsets[0, at + 1, row, column]
                        seen = value(x, channels, row + ky - 1 + dy, column + kx - 1 + dx)
                        out = out + weight[:, channels, ky, kx] @ seen
            rows.append(out)
    return torch.stack(rows, dim=1).view(1, len(weight), *x.shape[2:])


def everything(convolve: Callable[..., Tensor], inputs: tuple[Tensor, ...]) -> list[Tensor]:
    """The result and the gradients of a weighted sum of it."""
    out = convolve(*inputs)
    weights = torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view_as(out)
    return [out, *torch.autograd.grad((out * weights).sum(), inputs)]


def test_forward_and_backward_are_those_of_a_scalar_loop() -> None:
    inputs = case()
    ours, loop = everything(deform.deform_conv2d, inputs), everything(by_hand, inputs)
    assert all(torch.allclose(a, b, atol=1e-12) for a, b in zip(ours, loop))


def test_values_fade_within_one_cell_of_the_border() -> None:
    x, weight = torch.ones(1, 1, 5, 5), torch.zeros(1, 1, 3, 3)
    weight[0, 0, 1, 1] = 1
    offsets = torch.zeros(1, 18, 5, 5)
    middle = 2 * 4  # the tap in the middle
    offsets[0, middle, 0] = torch.tensor([0.0, -0.25, -0.5, -1.0, -7.0])
    found = deform.deform_conv2d(x, offsets, weight)[0, 0, 0]
    assert torch.allclose(found, torch.tensor([1, 0.75, 0.5, 0, 0]), atol=1e-6)


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_zero_offsets_are_a_plain_convolution(groups: int) -> None:
    x, offsets, weight = case(groups, reach=0.0)
    expected = torch.nn.functional.conv2d(x, weight, padding=1)
    assert torch.allclose(deform.deform_conv2d(x, offsets, weight), expected, atol=1e-12)


@pytest.mark.skipif(
    deform.torchvision_operator() is None, reason="torchvision's operators do not load beside this torch"
)
@pytest.mark.parametrize("reach", [0.5, 6.0])
def test_forward_and_backward_are_those_of_torchvision(reach: float) -> None:
    inputs, operator = case(reach=reach), deform.torchvision_operator()
    assert operator is not None
    ours, theirs = everything(deform.deform_conv2d, inputs), everything(operator, inputs)
    assert all(torch.allclose(a, b, atol=1e-12) for a, b in zip(ours, theirs))


@pytest.mark.parametrize(
    "content", ["raise RuntimeError('operator torchvision::nms does not exist')", "raise OSError('libcudart')", ""]
)
def test_a_torchvision_that_does_not_fit_is_left_alone(
    content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [n for n in sys.modules if n.split(".")[0] == "torchvision"]:
        monkeypatch.delitem(sys.modules, name)
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision" / "__init__.py").write_text(content)
    monkeypatch.syspath_prepend(tmp_path)
    assert deform.torchvision_operator.__wrapped__() is None
    assert deform.implementation(torch.device("cpu")) == "grid_sample"


def test_features_are_moved_in_full_precision() -> None:
    torch.manual_seed(0)
    warp, x, offsets = deform.DeformWarper(8), torch.randn(2, 8, 6, 6), torch.randn(2, 36, 6, 6)
    expected = warp(x, offsets)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = warp(x, offsets)
        half = warp(x.bfloat16(), offsets.bfloat16())
    assert torch.equal(found, expected) and half.dtype == torch.float32
