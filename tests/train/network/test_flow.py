"""Optical flow: our RAFT beside torchvision's, what is computed once, and what every provider promises."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import numpy as np
import pytest
import torch
from raft_weights import clip, drawn, ours
from repository import ROOT
from torch import Tensor

from trace_train.network.flow import DisFlow, FlowProvider, NoFlow, RaftFlow, to_map
from trace_train.network.raft import Raft, UpdateBlock, look_up, pyramid


@pytest.fixture(scope="module")
def raft() -> Raft:
    return ours(steps=3)


@pytest.fixture(scope="module")
def frames() -> Tensor:
    """(2, 3, 64, 64, 3): two clips of three frames."""
    return torch.cat([clip()[:, :, :64, :64], clip()[:, :1, 30:94, 40:104]], dim=1)


def test_equals_torchvision_as_kept_in_a_file(raft: Raft) -> None:
    golden = np.load(ROOT / "tests" / "files" / "raft_golden.npz")
    assert np.array_equal(golden["check"], drawn("fnet.conv1.weight", (64, 3, 7, 7))[0, 0])
    before = raft.iterations
    for steps in (1, 6):
        raft.iterations = steps
        with torch.no_grad():
            found = raft(clip(), upsample=True)[:, 0, :, ::5, ::5].numpy()
        expected = golden[f"flow{steps}"]
        assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()
    raft.iterations = before


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("torchvision") is None, reason="torchvision is not installed")
def test_equals_torchvision_itself() -> None:
    # in a process of its own: it may have to declare torchvision's operators, for all that is imported after it
    done = subprocess.run([sys.executable, "tools/raft_golden.py"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("largest difference") == 2


def test_correlation_looks_where_the_flow_points() -> None:
    torch.manual_seed(0)
    before, after = torch.randn(2, 1, 8, 8, 10), torch.randn(2, 1, 8, 8, 10)
    levels = pyramid(before[0], after[0])
    assert [tuple(level.shape[-2:]) for level in levels] == [(8, 10), (4, 5), (2, 2), (1, 1)]
    flow = torch.zeros(1, 2, 8, 10)
    flow[0, :, 3, 4] = torch.tensor([2.25, -1.0])
    window = look_up(levels, flow).view(1, 4, 9, 9, 8, 10)
    likeness = torch.einsum("cyx,cvu->yxvu", before[0, 0], after[0, 0]) / 8**0.5
    # offset (1, 2) cells from (4 + 2.25, 3 - 1), between two columns; x comes first in the window
    expected = 0.75 * likeness[3, 4, 4, 7] + 0.25 * likeness[3, 4, 4, 8]
    assert torch.isclose(window[0, 0, 4 + 1, 4 + 2, 3, 4], expected, atol=1e-5)
    halved = likeness[3, 4].unflatten(0, (4, 2)).unflatten(2, (5, 2)).mean((1, 3))
    flow[0, :, 3, 4] = torch.tensor([2.0, 1.0])
    window = look_up(levels, flow).view(1, 4, 9, 9, 8, 10)
    assert torch.isclose(window[0, 1, 4 - 1, 4 + 1, 3, 4], halved[3, 2], atol=1e-5)
    assert window[0, 0, 0, 0, 0, 0] == 0  # four cells left of and above the corner


def test_context_is_summed_up_once_and_means_the_same(raft: Raft) -> None:
    torch.manual_seed(0)
    gru = raft.update_block.gru
    hidden, context, motion = (torch.randn(1, 128, 6, 7) for _ in range(3))
    expected = hidden
    for direction in (1, 2):
        z, r, q = (getattr(gru, f"conv{gate}{direction}") for gate in "zrq")
        inputs = torch.cat([context, motion], dim=1)
        both = torch.cat([expected, inputs], dim=1)
        update = torch.sigmoid(z(both))
        candidate = torch.tanh(q(torch.cat([torch.sigmoid(r(both)) * expected, inputs], dim=1)))
        expected = (1 - update) * expected + update * candidate
    assert torch.allclose(gru(hidden, motion, gru.fold(context)), expected, atol=1e-5)


def test_each_frame_is_encoded_once(raft: Raft, frames: Tensor) -> None:
    seen = {"fnet": 0, "cnet": 0}

    def count(name: str) -> None:
        def hook(module: torch.nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            seen[name] += len(output)

        hooks.append(getattr(raft, name).register_forward_hook(hook))

    hooks: list[torch.utils.hooks.RemovableHandle] = []
    for name in seen:
        count(name)
    with torch.no_grad():
        raft(frames, first_with_itself=True)
    for hook in hooks:
        hook.remove()
    assert seen == {"fnet": 6, "cnet": 4}  # two clips of three; nobody starts from the last frame


def test_how_many_pairs_go_at_once_changes_memory_and_nothing_else(raft: Raft, frames: Tensor) -> None:
    sizes: list[int] = []
    hook = raft.update_block.register_forward_hook(lambda module, inputs, output: sizes.append(len(inputs[1])))
    found = []
    with torch.no_grad():
        for pairs in (1, 4, 12):
            raft.pairs_at_once = pairs
            found.append(raft(frames))
            assert max(sizes) == min(pairs, 4)
            sizes.clear()
    hook.remove()
    assert found[0].shape == (2, 2, 2, 8, 8)
    assert torch.allclose(found[0], found[2], atol=1e-4) and torch.allclose(found[1], found[2], atol=1e-4)


def test_upsampling_keeps_a_steady_flow_and_moves_by_pixels() -> None:
    torch.manual_seed(0)
    block = UpdateBlock().eval()
    flow = torch.tensor([1.5, -0.25]).view(1, 2, 1, 1).expand(1, 2, 6, 6)
    with torch.no_grad():
        fine = block.enlarge(torch.randn(1, 128, 6, 6), flow)
    inner = fine[:, :, 8:-8, 8:-8]  # at the border one of the nine neighbours is zero
    assert fine.shape == (1, 2, 48, 48)
    assert torch.allclose(inner, torch.tensor([12.0, -2.0]).view(1, 2, 1, 1).expand_as(inner), atol=1e-5)


def providers(raft: Raft) -> dict[str, FlowProvider]:
    return {"raft": RaftFlow(raft), "dis": DisFlow(), "none": NoFlow()}


@pytest.mark.parametrize("name", ["raft", "dis", "none"])
def test_what_every_provider_promises(raft: Raft, frames: Tensor, name: str) -> None:
    provider = providers(raft)[name]
    first = provider(frames)
    assert first.shape == (6, 2, 16, 16) and first.dtype == torch.float32 and not first.requires_grad
    assert torch.equal(first, provider(frames))
    one = provider(frames[:, :1])
    assert one.shape == (2, 2, 16, 16)
    # the rest of a clip after its first frame, as a stream gets it
    later = provider(frames[:, 1:], previous=frames[:, 0]).view(2, 2, 2, 16, 16)
    assert torch.allclose(later, first.view(2, 3, 2, 16, 16)[:, 1:], atol=1e-4)
    as_bytes = frames.round().to(torch.uint8)
    assert torch.allclose(provider(as_bytes), provider(as_bytes.float()), atol=1e-5)


def test_a_first_frame_against_itself_or_at_rest(raft: Raft, frames: Tensor) -> None:
    itself, rest = RaftFlow(raft)(frames), RaftFlow(raft, first_frame="zero")(frames)
    with torch.no_grad():
        doubled = raft(torch.cat([frames[:, :1], frames[:, :1]], dim=1), upsample=True)[:, 0]
    assert torch.allclose(itself.view(2, 3, 2, 16, 16)[:, 0], to_map(doubled), atol=1e-4)
    assert rest.view(2, 3, 2, 16, 16)[:, 0].abs().max() == 0 < itself.view(2, 3, 2, 16, 16)[:, 0].abs().max()
    assert torch.allclose(itself.view(2, 3, 2, 16, 16)[:, 1:], rest.view(2, 3, 2, 16, 16)[:, 1:], atol=1e-4)
    assert RaftFlow(raft, first_frame="zero")(frames[:, :1]).abs().max() == 0


def test_dis_sees_which_way_and_how_far() -> None:
    big = torch.from_numpy(np.random.default_rng(0).uniform(0, 255, (1, 3, 20, 20)))
    picture = torch.nn.functional.interpolate(big, size=(160, 160), mode="bicubic").clamp(0, 255)[0].permute(1, 2, 0)
    moved = torch.stack([picture[10:138, 10:138], picture[12:140, 6:134]])[None]  # things go 4 px right and 2 px up
    flow = DisFlow()(moved).view(2, 2, 32, 32)
    assert flow[0].abs().max() == 0
    assert flow[1, :, 6:-6, 6:-6].mean((1, 2)).tolist() == pytest.approx([4 / 8, -2 / 8], abs=0.02)


def test_raft_stays_as_it_was_published(raft: Raft) -> None:
    provider = RaftFlow(raft)
    provider.train()
    assert not provider.training and not raft.cnet.training
    assert not [p for p in provider.parameters() if p.requires_grad]


def test_half_precision_keeps_the_correlation_whole(raft: Raft, frames: Tensor) -> None:
    kinds: list[torch.dtype] = []
    hook = raft.update_block.register_forward_hook(lambda module, inputs, output: kinds.append(inputs[2][0].dtype))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        rough = raft(frames)
    hook.remove()
    with torch.no_grad():
        exact = raft(frames)
    assert set(kinds) == {torch.float32} and rough.dtype == torch.float32
    assert (rough - exact).abs().mean() < 0.1 * exact.abs().mean()


@pytest.mark.parametrize(("height", "width"), [(60, 64), (32, 64)])
def test_frames_of_a_wrong_size_are_refused(raft: Raft, height: int, width: int) -> None:
    with pytest.raises(ValueError, match=f"{width} x {height}"):
        raft(torch.zeros(1, 2, height, width, 3))


@pytest.mark.slow
def test_it_compiles_as_one_graph(raft: Raft, frames: Tensor) -> None:
    torch._dynamo.reset()
    with torch.no_grad():
        expected = raft(frames)
        explained = torch._dynamo.explain(raft)(frames)
        compiled = torch.compile(raft, backend="eager", fullgraph=True)
        found = compiled(frames)
    torch._dynamo.reset()
    assert explained.graph_count == 1 and explained.graph_break_count == 0
    assert torch.allclose(found, expected, atol=1e-5)
