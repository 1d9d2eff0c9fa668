"""Runs a network on several videos in parallel; results do not depend on batching or chunk length."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from trace_train.evaluation.windows import Chunk
from trace_train.inference.detections import Detections
from trace_train.inference.tracked_bodies import decode_tracks
from trace_train.network.flow import FlowProvider
from trace_train.network.model import TraceNetwork
from trace_train.network.outputs import Maps, Tracks, WorldStart
from trace_train.network.temporal import StreamState


class Videos:
    """Carries the network's memory, the last frames for flow, and people's positions from chunk to chunk."""

    def __init__(self, network: TraceNetwork, flow: FlowProvider | None, people: Sequence[int]) -> None:
        """`people`: the number of people in each window."""
        self.network, self.flow, self.people = network, flow, people
        self._state: StreamState | None = None
        self._last: Tensor | None = None
        self._starts: dict[int, WorldStart] = {}

    def see(self, chunk: Chunk, images: Tensor, stored: Tensor | None = None) -> Maps:
        """Maps of the next frames, images (B, T, S, S, 3), with their flow (B, T, 2, M, M) where it is stored."""
        if not chunk.kept:
            self._state = self._last = None
            self._starts.clear()
        state = None if self._state is None else self._state.of(chunk.kept)
        last = None if self._last is None else self._last[list(chunk.kept)]
        flow = None if self.flow is None else self.flow(images, last) if stored is None else stored.flatten(0, 1)
        maps: Maps = self.network(images, flow, state=state)
        self._state, self._last = maps.state, images[:, -1]
        return maps

    def place(self, chunk: Chunk, maps: Maps, found: Detections, rows: Tensor, person: Tensor) -> tuple[Tensor, Tensor]:
        """World positions of detections, each in the world of the person it was matched to.

        `rows` (M,) of `found`; `person` (M,) indices within the window. Returns rotations (M, 3, 3) from camera to
        world axes, and hip midpoints (M, 3) in the world's 50-degree camera. A person's world is the camera of the
        frame in which the person was first detected. A network without temporal parts has only positions in the
        camera, which it assumes to be static.
        """
        if not self.network.temporal:
            return torch.eye(3, device=rows.device).expand(len(rows), 3, 3), found.translation[rows]
        counts = torch.tensor([self.people[number] for number in chunk.windows], device=rows.device)
        video, time = found.frame[rows] // chunk.frames, found.frame[rows] % chunk.frames
        at = ((counts.cumsum(0) - counts)[video] + person, time)
        shape = (sum(self.people[number] for number in chunk.windows), chunk.frames)
        frame = torch.zeros(shape, dtype=torch.long, device=rows.device)
        zyx, mask = frame.new_zeros(*shape, 3), torch.zeros_like(frame, dtype=torch.bool)
        frame[at], zyx[at], mask[at] = found.frame[rows], found.zyx[rows], True
        tracks = Tracks(frame=frame, zyx=zyx, mask=mask)
        paths = decode_tracks(self.network, maps, tracks, self._start(chunk))
        self._keep(chunk, paths.end)
        return paths.world_root[at] @ paths.rotations[at][:, 0].mT, paths.world_translation[at]

    def _start(self, chunk: Chunk) -> WorldStart | None:
        if not chunk.kept:
            return None
        starts = [self._starts[number] for number in chunk.windows]
        return WorldStart(camera=torch.cat([s.camera for s in starts]), known=torch.cat([s.known for s in starts]))

    def _keep(self, chunk: Chunk, end: WorldStart) -> None:
        counts = [self.people[number] for number in chunk.windows]
        parts = zip(chunk.windows, end.camera.split(counts), end.known.split(counts))
        self._starts = {number: WorldStart(camera=camera, known=known) for number, camera, known in parts}
