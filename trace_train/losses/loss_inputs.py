"""Inputs of the loss terms: predictions and targets along tracks, computed lazily."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from trace_train.body.layer import BodyLayer, BodyOutput
from trace_train.geometry.camera import metres_through, project, translation_from_triple
from trace_train.losses.prior import PosePrior
from trace_train.losses.targets import Targets, WorldTargets, feet_of
from trace_train.network.outputs import Maps, People, TrackedPeople, full_rotations


@dataclass(frozen=True, kw_only=True, eq=False)
class LossInputs:
    """S = B P tracks of T frames. Values are undefined where `seen` is False."""

    maps: Maps
    people: People
    """(S, T, ...)."""
    targets: Targets
    layer: BodyLayer
    tracked: TrackedPeople | None
    """The same people in the world; None in a network without temporal parts."""
    prior: PosePrior | None
    center_logits: bool
    published_camera: bool
    joints_huber: float = 0.0
    pose_huber: float = 0.0

    def of(self, values: Tensor) -> Tensor:
        """Reshape targets (B, P, T, ...) to tracks (S, T, ...)."""
        return values.flatten(0, 1)

    def mask(self, mask: Tensor) -> Tensor:
        """Reshape a mask (B, P, T, ...) to tracks, restricted to where people are seen."""
        seen = self.targets.center_mask[(..., *[None] * (mask.dim() - 3))]
        return self.of(mask & seen)

    @cached_property
    def seen(self) -> Tensor:
        """(S, T)."""
        return self.of(self.targets.center_mask)

    @cached_property
    def rotations(self) -> Tensor:
        """(S, T, 24, 3, 3)."""
        return full_rotations(self.people)

    @property
    def betas(self) -> Tensor:
        """(S, T, 10)."""
        return self.people.shape[..., :10]

    @cached_property
    def joints(self) -> Tensor:
        """(S, T, 44, 3) metres, camera axes, relative to the hips."""
        body: BodyOutput = self.layer(self.rotations.flatten(0, 1), self.betas.flatten(0, 1))
        joints: Tensor = body.joints.unflatten(0, self.seen.shape)
        return joints

    @cached_property
    def joints2d(self) -> Tensor:
        """(S, T, 44, 2) in the crop."""
        place = translation_from_triple(self.people.camera, published=self.published_camera)
        return project(self.joints + place[..., None, :], published=self.published_camera)

    # --- world frame, if predictions and targets have it

    @property
    def world(self) -> WorldTargets:
        assert self.targets.world is not None
        return self.targets.world

    @property
    def trajectory(self) -> TrackedPeople:
        assert self.tracked is not None
        return self.tracked

    @cached_property
    def world_joints(self) -> Tensor:
        """(S, T, 44, 3) metres, world axes, relative to the hips; gradients reach only the world root rotation."""
        turn = self.trajectory.world_root @ self.rotations[..., 0, :, :].detach().mT
        return self.joints.detach() @ turn.mT

    @cached_property
    def world_joints2d(self) -> Tensor:
        """(S, T, 44, 2) in the fixed view; gradients reach only the world motion."""
        place = translation_from_triple(self.trajectory.world_camera, published=self.published_camera)
        return project(self.world_joints.detach() + place[..., None, :], published=self.published_camera)

    def metres(self, triple: Tensor) -> Tensor:
        """Triples (S, T, 3) of the fixed view to positions (S, T, 3), metres, with its true intrinsics."""
        return metres_through(self.of(self.world.lens)[:, None], triple, published=self.published_camera)

    @cached_property
    def places(self) -> tuple[Tensor, Tensor]:
        """Predicted and true hip positions in the world (S, T, 3), metres."""
        return self.metres(self.trajectory.world_camera), self.metres(self.of(self.world.camera))

    @cached_property
    def places_mask(self) -> Tensor:
        """(S, T)."""
        return self.mask(self.world.camera_mask & self.world.lens_mask[..., None])

    @cached_property
    def feet(self) -> tuple[Tensor, Tensor]:
        """Predicted and true foot positions in the world (S, T, 4, 3), metres."""
        found, wanted = self.places
        return feet_of(self.world_joints) + found[..., None, :], self.of(self.world.feet) + wanted[..., None, :]

    @cached_property
    def feet_mask(self) -> Tensor:
        """(S, T, 4)."""
        return self.mask(self.world.feet_mask) & self.places_mask[..., None]

    @cached_property
    def seconds(self) -> Tensor:
        """(S, T)."""
        people = self.targets.center_mask.shape[1]
        return self.world.seconds[:, None].expand(-1, people, -1).flatten(0, 1)
