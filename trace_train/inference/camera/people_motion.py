"""The camera's motion as the people of two consecutive frames imply it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from trace_data.results.world_placement import rigid_inverse
from trace_train.inference.camera.frame_people import FramePeople
from trace_train.inference.camera.fusion import CameraStep, fused
from trace_train.inference.lens_change import PaddedSquare

Array = npt.NDArray[np.float64]


@dataclass(slots=True)
class _Track:
    """A person, as last seen."""

    frame: int
    """When that was."""
    anchor: int
    """Frame whose camera is the person's fixed view: the first one in which the person was seen."""
    view_from_world: Array
    """(4, 4) that camera."""
    triple: Array
    """(3,) s, y, x in the fixed view, accumulated by the network."""
    place: Array
    """(3,) the same in m."""
    rotation: Array
    """(3, 3) from camera axes to the axes of the fixed view."""
    hips: Array
    """(3,) m, in the frame's camera."""
    weight: float


class PeopleMotion:
    """Follows what the network says of people's places in the world (docs/reference/inference.md#camera-fusion).

    Each person has a world of their own, the fixed view in which they were first seen, so only motion between two
    frames is compared. A person who was absent goes on from where the common camera path puts them.
    """

    def __init__(self, square: PaddedSquare, intrinsics: Array, *, outlier_factor: float = 3.0) -> None:
        """`intrinsics` (3, 3): the lens in whose metres places are, px."""
        self.square, self.intrinsics, self.outlier_factor = square, intrinsics, outlier_factor
        self._tracks: dict[int, _Track] = {}

    def forget(self) -> None:
        """A new shot begins: nobody is where they were."""
        self._tracks.clear()

    def measure(self, frame: int, people: FramePeople, rotation: Array | None = None) -> CameraStep | None:
        """The camera's motion since frame - 1; None if nobody was seen in both. `rotation`: if it is known already."""
        turns, before, after, weights = [], [], [], []
        for k, identity in enumerate(people.identity.tolist()):
            track = self._tracks.get(identity)
            if track is None or track.frame != frame - 1:
                continue
            if people.world_rotation is None or people.world_motion is None:
                continue
            moved = self._metres(track.triple + people.world_motion[k]) - track.place
            turns.append(people.world_rotation[k].T @ track.rotation)
            before.append(track.hips + track.rotation.T @ moved)
            after.append(people.hips[k])
            weights.append(min(track.weight, _weight(people, k)))
        if not weights:
            return None
        arrays = np.array(turns), np.array(before), np.array(after), np.array(weights)
        return fused(*arrays, factor=self.outlier_factor, rotation=rotation)

    def place(self, frame: int, people: FramePeople, camera_from_world: Array) -> tuple[npt.NDArray[np.int64], Array]:
        """Go on to `frame`, whose camera is now known.

        Returns the fixed view of each person: its frame (K,), and the network's own place of the hips in it (K, 3), m;
        NaN where the network does not say.
        """
        anchors, places = np.full(len(people.identity), frame), np.full((len(people.identity), 3), np.nan)
        if people.world_rotation is None or people.world_motion is None:
            return anchors, places
        for k, identity in enumerate(people.identity.tolist()):
            track = self._tracks.get(identity)
            if track is None:
                anchor, view, triple = frame, camera_from_world, people.triple[k]
            elif track.frame == frame - 1:
                anchor, view, triple = track.anchor, track.view_from_world, track.triple + people.world_motion[k]
            else:
                anchor, view = track.anchor, track.view_from_world
                to_view = view @ rigid_inverse(camera_from_world)
                triple = self.square.triple(to_view[:3, :3] @ people.hips[k] + to_view[:3, 3], self.intrinsics)
            anchors[k], places[k] = anchor, self._metres(triple)
            self._tracks[identity] = _Track(
                frame=frame,
                anchor=anchor,
                view_from_world=view,
                triple=triple,
                place=places[k],
                rotation=people.world_rotation[k],
                hips=people.hips[k],
                weight=_weight(people, k),
            )
        return anchors, places

    def _metres(self, triple: Array) -> Array:
        return self.square.metres(triple, self.intrinsics)

    def state_dict(self) -> dict[str, Any]:
        """Numbers, tensors, and lists and dictionaries of them."""
        return {
            str(identity): {
                name: torch.from_numpy(value.copy()) if isinstance(value := getattr(track, name), np.ndarray) else value
                for name in _Track.__slots__
            }
            for identity, track in self._tracks.items()
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict()`."""
        self._tracks = {int(identity): _Track(**_arrays(track)) for identity, track in state.items()}


def _arrays(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: v.numpy().copy() if isinstance(v, torch.Tensor) else v for key, v in values.items()}


def _weight(people: FramePeople, k: int) -> float:
    """Score over squared depth, whose noise grows with it."""
    return max(float(people.score[k]), 1e-6) / max(float(people.hips[k, 2]), 0.1) ** 2
