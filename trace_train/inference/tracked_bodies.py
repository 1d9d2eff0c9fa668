"""Decodes tracks to bodies, in each frame's camera and in the world (the camera of the track's first frame)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from trace_train.body.layer import BodyLayer
from trace_train.geometry.camera import translation_from_triple
from trace_train.network.model import TraceNetwork
from trace_train.network.outputs import Maps, TrackedPeople, Tracks, WorldStart, full_rotations


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrackedBodies:
    """Bodies of S people over T frames. Values are undefined where `mask` is False."""

    mask: Tensor
    """(S, T) bool."""
    translation: Tensor
    """(S, T, 3) hip midpoint, metres, in the 50-degree camera of the crop."""
    rotations: Tensor
    """(S, T, 24, 3, 3) root in the camera frame, then relative to the parent."""
    betas: Tensor
    """(S, T, 10)."""
    world_translation: Tensor
    """(S, T, 3) hip midpoint, metres, in the world."""
    world_root: Tensor
    """(S, T, 3, 3) root rotation in the world."""
    end: WorldStart
    """State of the tracks at the end, for the next chunk."""

    def joints(self, layer: BodyLayer) -> tuple[Tensor, Tensor]:
        """The 44 joints (S, T, 44, 3), metres, in the camera and in the world.

        The world body is the rotated camera body, so that pose and shape get no gradient from the world losses.
        """
        shape = self.mask.shape
        camera = layer(self.rotations.flatten(0, 1), self.betas.flatten(0, 1)).joints.unflatten(0, shape)
        turn = self.world_root @ self.rotations[:, :, 0].detach().mT
        world = camera.detach() @ turn.mT
        return camera + self.translation[:, :, None], world + self.world_translation[:, :, None]


def decode_tracks(network: TraceNetwork, maps: Maps, tracks: Tracks, start: WorldStart | None = None) -> TrackedBodies:
    """Decode people along tracks. `start`: `end` of the previous chunk."""
    tracked = network.follow(maps, tracks, start)
    people, published = tracked.people, network.published_camera
    return TrackedBodies(
        mask=tracked.mask,
        translation=translation_from_triple(people.camera, published=published),
        rotations=full_rotations(people),
        betas=people.shape[..., :10],
        world_translation=translation_from_triple(tracked.world_camera, published=published),
        world_root=tracked.world_root,
        end=_end(tracked, start),
    )


def _end(tracked: TrackedPeople, start: WorldStart | None) -> WorldStart:
    # frames without the person add no motion, so the last frame has the state of the last visible one
    known = tracked.mask.any(1)
    if start is not None:
        known = known | start.known
    return WorldStart(camera=tracked.world_camera[:, -1].detach(), known=known)
