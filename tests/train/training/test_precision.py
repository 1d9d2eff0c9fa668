"""In what numbers a GPU computes: TF32 on purpose, RAFT in fp16 whatever the network has, evaluations in float32."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from tiny_runs import tiny

from trace_train.network.flow import RaftFlow
from trace_train.network.raft import Raft
from trace_train.training.precision import set_float32_kernels, whole_float32


def tf32() -> tuple[bool, bool]:
    return torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    convolutions, products = tf32()
    yield
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = convolutions, products


@pytest.mark.parametrize(("precision", "convolutions"), [("fp32", False), ("bf16", True), ("fp16", True)])
def test_tf32_is_a_matter_of_precision(precision: str, convolutions: bool) -> None:
    set_float32_kernels(tiny(f"precision={precision}"), torch.device("cuda"))
    assert tf32() == (convolutions, False)
    with whole_float32():
        assert tf32() == (False, False)
    assert tf32() == (convolutions, False)


@pytest.mark.parametrize("inside", [True, False])
def test_flow_on_a_gpu_is_computed_in_fp16_inside_autocast(inside: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, ...]] = []
    real = torch.autocast

    def noted(device: str, dtype: torch.dtype | None = None, enabled: bool = True) -> torch.autocast:
        asked.append((device, dtype, enabled))
        return real("cpu", enabled=False)

    flow = RaftFlow(Raft(iterations=1))
    monkeypatch.setattr(torch, "autocast", noted)
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda device: inside)
    monkeypatch.setattr(type(flow), "_flow", lambda self, frames, previous: frames)

    class OnGpu:
        device = torch.device("cuda")

    flow(OnGpu())
    assert asked == [("cuda", torch.float16, inside)]


def test_flow_on_a_cpu_is_float32_inside_autocast() -> None:
    torch.manual_seed(0)
    flow = RaftFlow(Raft(iterations=2))
    frames = torch.randint(0, 256, (1, 2, 64, 64, 3), dtype=torch.uint8)
    alone = flow(frames)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(flow(frames), alone) and alone.dtype == torch.float32
