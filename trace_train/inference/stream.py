"""Runs the network over one video, a few frames at a time; the people found do not depend on how many."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from trace_train.body.layer import BodyLayer
from trace_train.geometry.constants import constant
from trace_train.geometry.rotations import matrix_from_6d
from trace_train.inference.detections import Detections, best_score, detect, refuse_not_finite
from trace_train.inference.frame_detections import FrameDetections
from trace_train.inference.letterbox import Letterbox, Pixels
from trace_train.network.flow import FlowProvider
from trace_train.network.model import TraceNetwork
from trace_train.network.outputs import Maps, People
from trace_train.network.temporal import StreamState
from trace_train.network.world_trajectory import compose_world_rotation
from trace_train.streaming.batch import to_device


def use_chunk_statistics(network: TraceNetwork) -> None:
    """Normalise by the statistics of the chunk at hand, everywhere but in the backbone, without changing the averages.

    This is how the published inference runs (docs/reference/inference.md#batch-statistics-at-inference).
    """
    for name, module in network.named_modules():
        if isinstance(module, _BatchNorm) and not name.startswith("backbone."):
            module.train()
            module.track_running_stats = False


class NetworkStream:
    """A network that watches one video. It carries the memory, features and pixels of the last frame, so features of
    each frame, and flow between each pair of frames, are computed once."""

    def __init__(
        self,
        network: TraceNetwork,
        flow: FlowProvider,
        layer: BodyLayer,
        letterbox: Letterbox,
        *,
        threshold: float,
        duplicates: bool = False,
        dtype: torch.dtype | None = None,
    ) -> None:
        """`threshold`: minimum score of a detection; `duplicates` as in `detect`. `dtype`: of convolutions; None:
        float32."""
        self.network, self.flow, self.layer, self.letterbox = network, flow, layer, letterbox
        self.threshold, self.duplicates, self.dtype = threshold, duplicates, dtype
        self.best = 0.0
        """The highest score so far, for advice when nobody is detected."""
        self._state: StreamState | None = None
        self._last: Tensor | None = None

    def restart(self) -> None:
        """Forget the previous frames, as the next frame shows something else."""
        self._state = self._last = None

    @torch.inference_mode()
    def see(self, frames: Sequence[Pixels]) -> list[FrameDetections]:
        """People in the next frames (H, W, 3) RGB, in the network's 50-degree camera and px of the frame."""
        known = self._last is not None
        images = self.prepared(frames)
        with self._precision():
            maps: Maps = self.network(images, self.flow_of(images), state=self._state)
        if self.network.temporal:
            self._state, self._last = maps.state, images[:, -1]
        self.best = max(self.best, best_score(maps.center_3d, logits=self.network.center_logits))
        found = detect(self.network, maps, self.layer, threshold=self.threshold, duplicates=self.duplicates)
        return by_frame(self.network, maps, found, self.letterbox, first_moves=known)

    def prepared(self, frames: Sequence[Pixels]) -> Tensor:
        """Frames as the network's input (1, T, S, S, 3) uint8, on its device."""
        pixels = np.empty((1, len(frames), self.letterbox.size, self.letterbox.size, 3), np.uint8)
        for frame, out in zip(frames, pixels[0]):
            self.letterbox.put(frame, out)
        return to_device(torch.from_numpy(pixels), next(self.network.parameters()).device)

    def flow_of(self, images: Tensor) -> Tensor | None:
        """Optical flow of the next frames from their predecessors."""
        return self.flow(images, self._last) if self.network.temporal else None

    def _precision(self) -> AbstractContextManager[Any]:
        device = next(self.network.parameters()).device.type
        return nullcontext() if self.dtype is None else torch.autocast(device, self.dtype)

    def state_dict(self) -> dict[str, Any]:
        """What the next frames depend on, on the CPU."""
        memory: dict[str, Any] = {}
        if self._state is not None and self._last is not None:
            hidden = [h.cpu() for h in self._state.hidden]
            memory = {"hidden": hidden, "features": self._state.features.cpu(), "last": self._last.cpu()}
        return {"best": self.best, "memory": memory}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict()`."""
        self.restart()
        self.best = state["best"]
        if memory := state["memory"]:
            device = next(self.network.parameters()).device
            hidden = tuple(h.to(device) for h in memory["hidden"])
            self._state = StreamState(hidden=hidden, features=memory["features"].to(device))
            self._last = memory["last"].to(device)


def by_frame(
    network: TraceNetwork, maps: Maps, found: Detections, letterbox: Letterbox, *, first_moves: bool
) -> list[FrameDetections]:
    """Detections of the frames of one video. `first_moves`: its first frame has a predecessor."""
    people, (_, y, x) = found.people, found.zyx.unbind(-1)
    front = maps.center[found.frame, y, x].float()
    values = {
        "frame": found.frame,
        "score": found.score,
        "front_score": front.sigmoid() if network.center_logits else front,
        "zyx": found.zyx,
        "triple": people.camera,
        "hips": found.translation,
        "rotations": found.rotations,
        "betas": found.betas,
        "joints": found.body.joints,
        "joints_2d": found.joints2d,
        "feature": maps.mesh[found.frame, :, y, x],
        **_motion(network, people),
    }
    arrays = _arrays(values)
    refuse_not_finite(*(arrays[name] for name in ("triple", "rotations", "betas")))
    arrays["joints_2d"] = letterbox.to_frame(arrays["joints_2d"])
    edges = np.searchsorted(arrays.pop("frame"), np.arange(len(maps.center) + 1))
    frames = []
    for number, (begin, end) in enumerate(pairwise(edges)):
        own: dict[str, Any] = {name: value[begin:end] for name, value in arrays.items()}
        missing = {"world_motion": None, "world_rotation": None, "triple_motion": None}
        if number == 0 and not first_moves:
            own["triple_motion"] = None
        frames.append(FrameDetections(**{**missing, **own}))
    return frames


def _motion(network: TraceNetwork, people: People) -> dict[str, Tensor]:
    """What the temporal parts say about people; nothing in a network without them."""
    if people.motion is None or people.world_motion is None or people.world_rotation_6d is None:
        return {}
    world = compose_world_rotation(people.root_6d, people.world_rotation_6d, network.world_rotation)
    gain = constant((1.0, network.world_motion_gain, network.world_motion_gain), like=people.world_motion)
    return {
        "triple_motion": people.motion,
        "world_motion": gain * people.world_motion,
        "world_rotation": world @ matrix_from_6d(people.root_6d).mT,
    }


def _arrays(values: Mapping[str, Tensor]) -> dict[str, npt.NDArray[Any]]:
    """Tensors (K, ...) as arrays, in one copy: for each copy the CPU waits for the GPU."""
    widths = [math.prod(value.shape[1:]) for value in values.values()]
    columns = [value.double().reshape(len(value), width) for value, width in zip(values.values(), widths)]
    parts = np.split(torch.cat(columns, dim=1).cpu().numpy(), np.cumsum(widths)[:-1], axis=1)
    return {
        name: part.reshape(value.shape).astype(np.int64 if value.dtype == torch.int64 else np.float64)
        for (name, value), part in zip(values.items(), parts)
    }
