"""The network on a video: chunks do not matter, pixels come back to where they were, the published mode."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from formula_network import norm
from spotter import Spotter, config, frames
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from trace_train.build import body_layers
from trace_train.geometry.camera import FOCAL
from trace_train.inference.frame_detections import FrameDetections
from trace_train.inference.lens_change import PaddedSquare
from trace_train.inference.letterbox import Letterbox, Pixels
from trace_train.inference.stream import NetworkStream, use_chunk_statistics
from trace_train.network.flow import DisFlow, NoFlow
from trace_train.network.model import TraceNetwork
from trace_train.network.outputs import Maps

BOX = Letterbox(width=96, height=72, size=64)


def stream(network: TraceNetwork, packs: Path, box: Letterbox = BOX) -> NetworkStream:
    flow = DisFlow() if network.motion_channels else NoFlow(0)
    return NetworkStream(network, flow, body_layers(packs)["neutral"], box, threshold=0.5)


def watched(stream: NetworkStream, video: Sequence[Pixels], chunk: int) -> list[FrameDetections]:
    return [found for at in range(0, len(video), chunk) for found in stream.see(video[at : at + chunk])]


def same(ours: Sequence[FrameDetections], theirs: Sequence[FrameDetections], tolerance: float) -> None:
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs):
        for field in fields(FrameDetections):
            x, y = getattr(a, field.name), getattr(b, field.name)
            assert (x is None) == (y is None), field.name
            if x is not None:
                np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance, err_msg=field.name)


# --- chunks ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk", [1, 4, 8])
def test_people_do_not_depend_on_the_length_of_chunks(packs: Path, chunk: int) -> None:
    network, video = Spotter(), frames(13)
    whole = stream(network, packs).see(video)
    assert all(len(found) == 2 for found in whole) and whole[0].triple_motion is None
    same(watched(stream(network, packs), video, chunk), whole, 1e-5)


def test_a_network_of_single_frames_sees_no_motion(packs: Path) -> None:
    network = Spotter(config("network.temporal=false", "network.flow=none", "network.motion_channels=0").network)
    found = watched(stream(network, packs), frames(3), 2)
    assert all(one.triple_motion is one.world_motion is one.world_rotation is None and len(one) for one in found)


def test_a_saved_stream_goes_on_where_it_was(packs: Path, tmp_path: Path) -> None:
    network, video = Spotter(), frames(9)
    whole = watched(stream(network, packs), video, 3)
    first = stream(network, packs)
    watched(first, video[:6], 3)
    torch.save(first.state_dict(), tmp_path / "state.pth")
    second = stream(network, packs)
    second.load_state_dict(torch.load(tmp_path / "state.pth", weights_only=True))
    same(second.see(video[6:]), whole[6:], 0)


def test_after_a_cut_the_video_begins_anew(packs: Path) -> None:
    network, video = Spotter(), frames(6)
    one = stream(network, packs)
    one.see(frames(4, seed=7))
    one.restart()
    found = one.see(video)
    assert found[0].triple_motion is None
    same(found, stream(network, packs).see(video), 0)


# --- pixels ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("padding", ["black", "white"])
@pytest.mark.parametrize(("width", "height"), [(96, 72), (64, 120), (128, 128), (131, 77), (33, 50)])
def test_a_point_of_the_frame_comes_back_to_where_it_was(width: int, height: int, padding: str) -> None:
    box = Letterbox(width=width, height=height, size=64, padding=padding)  # type: ignore[arg-type]
    # a smooth hill: its centre of mass survives padding and resizing
    at = np.array([0.4 * width, 0.55 * height])
    y, x = np.mgrid[:height, :width]
    hill = 200 * np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / (2 * (min(width, height) / 12) ** 2))
    shown = np.repeat(np.rint(hill)[..., None].astype(np.uint8), 3, axis=2)
    out = np.empty((64, 64, 3), np.uint8)
    box.put(shown if padding == "black" else 255 - shown, out)
    weight = (out if padding == "black" else 255 - out)[..., 0].astype(float)
    rows, columns = np.mgrid[:64, :64]
    found = np.array([(weight * columns).sum(), (weight * rows).sum()]) / weight.sum()
    normalised = (2 * found + 1) / 64 - 1
    assert np.abs(box.to_frame(normalised) - at).max() < 0.03 * max(width, height) / 64  # levels of grey are rounded
    # exactly, without pixels
    crop = box.window.crop_from_frame(64)
    exact = (2 * (crop[:2, :2] @ at + crop[:2, 2]) + 1) / 64 - 1
    assert np.abs(box.to_frame(exact) - at).max() < 1e-9


@pytest.mark.parametrize(("width", "height"), [(96, 72), (131, 77)])
def test_the_assumed_camera_sees_joints_where_they_are_said_to_be(packs: Path, width: int, height: int) -> None:
    box = Letterbox(width=width, height=height, size=64)
    for found in stream(Spotter(), packs, box).see(frames(3, width=width, height=height)):
        points = found.hips[:, None] + found.joints
        in_front = (points[..., 2] > 0.1).all(1)
        assert in_front.any()
        image = points @ PaddedSquare(width, height).intrinsics.T
        seen = image[..., :2] / image[..., 2:]
        assert np.abs(seen - found.joints_2d)[in_front].max() < 0.01


def test_padding_has_the_colour_that_the_weights_need() -> None:
    frame, out = np.full((20, 41, 3), 9, np.uint8), np.empty((64, 64, 3), np.uint8)
    Letterbox(width=41, height=20, size=64).put(frame, out)
    assert (out[:15] == 0).all() and (out[30, 2:-2] == 9).all()
    published = Letterbox(width=41, height=20, size=64, padding="white")
    published.put(frame, out)
    assert (out[:14] == 255).all() and (out[30, 4:-4] == 9).all()
    # the smaller half of an odd difference is at the top: 10 of 21 rows
    square = np.full((41, 41, 3), 255, np.uint8)
    square[10:30] = 9
    assert np.array_equal(out, cv2.resize(square, (64, 64), interpolation=cv2.INTER_CUBIC))
    with pytest.raises(ValueError, match="20"):
        published.put(frame[:-1], out)


# --- the published mode ------------------------------------------------------------------------------------------


def test_statistics_of_a_chunk_are_its_own_and_leave_the_averages_alone() -> None:
    network = Spotter()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    use_chunk_statistics(network)
    images = torch.from_numpy(np.stack(frames(8, width=64, height=64)))[None]
    flow = DisFlow()(images)
    inputs: dict[str, tuple[Tensor, Tensor]] = {}

    def note(name: str) -> None:
        def hook(_: object, taken: tuple[Tensor, ...], given: Tensor) -> None:
            inputs[name] = taken[0], given

        network.get_submodule(name).register_forward_hook(hook)

    normalised = [name for name, module in network.named_modules() if isinstance(module, _BatchNorm)]
    for name in normalised:
        note(name)
    with torch.no_grad():
        network(images, flow)
    state = network.state_dict()
    assert all(torch.equal(value, before[name]) for name, value in state.items())
    for name in normalised:
        taken, given = inputs[name]
        own = dict(state)
        if not name.startswith("backbone."):
            axes = [axis for axis in range(taken.dim()) if axis != 1]
            own[f"{name}.running_mean"] = taken.mean(axes)
            own[f"{name}.running_var"] = taken.var(axes, correction=0)
        assert torch.allclose(given, norm(own, name, taken), atol=2e-4), name
    assert {name.split(".")[0] for name in normalised} > {"backbone", "det_head", "center_map_refiner2"}


def test_chunks_of_eight_receive_the_frame_before_them(packs: Path) -> None:
    network = Spotter()
    use_chunk_statistics(network)
    video, seen = frames(20), []

    class Flow:
        def __call__(self, images: Tensor, previous: Tensor | None = None) -> Tensor:
            seen.append((images, previous))
            return DisFlow()(images, previous)

    one = stream(network, packs)
    one.flow = Flow()
    given: list[Maps] = []
    network.register_forward_hook(lambda *step: given.append(step[2]))
    watched(one, video, 8)
    assert [images.shape[1] for images, _ in seen] == [8, 8, 4]
    assert seen[0][1] is None
    for (before, _), (_, previous), maps in zip(seen, seen[1:], given):
        assert previous is not None and torch.equal(before[:, -1], previous)
        assert maps.state is not None


def test_depth_of_the_assumed_camera_is_that_of_the_triple(packs: Path) -> None:
    for found in stream(Spotter(), packs).see(frames(2)):
        near = found.triple[:, 0] > 0.05
        assert near.any()
        np.testing.assert_allclose(found.hips[near, 2], FOCAL / found.triple[near, 0], rtol=1e-5)
