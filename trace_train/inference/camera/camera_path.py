"""One camera for each frame, whatever its source: people, the background, a camera that stands still, or a file.

    path = CameraPath(config.world, square, intrinsics)
    for ...:
        camera_from_world = path.step(time, people, picture)     # what is known so far, for live use
    world = path.finish()                                        # what is written

`step` is causal. `finish` looks at the whole video: it notices a camera that stood still, and solves the scale of a
given path; so its path may differ from what `step` returned.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from trace_data.geometry import axis_angle_from_matrix, matrix_from_axis_angle, transform
from trace_data.results.world_placement import rigid_inverse
from trace_train.config.world import WorldConfig
from trace_train.inference.camera.background import BackgroundMotion, BackgroundStep
from trace_train.inference.camera.frame_people import FramePeople
from trace_train.inference.camera.fusion import CameraStep
from trace_train.inference.camera.given import GivenPath
from trace_train.inference.camera.judgement import Evidence, quality, stands_still
from trace_train.inference.camera.people_motion import PeopleMotion
from trace_train.inference.lens_change import PaddedSquare

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WorldCamera:
    """The camera of a video of T frames, and how well it is known."""

    camera_from_world: Array
    """(T, 4, 4) rigid, m; the identity in the first frame."""
    observed: npt.NDArray[np.bool_]
    """(T,) whether the camera's motion to this frame was measured or given; False where it was continued."""
    up: Array | None
    """(3,) unit vector in the world, where the source knows it."""
    residual: Mapping[tuple[int, int], float]
    """m, by frame and identity: from the network's own place of a person in the world to the one by this camera."""
    facts: dict[str, Any]
    """For `Result.about`, as JSON: the source, how it was judged, and its figures."""
    warnings: tuple[str, ...]
    """Sentences for the user."""


class CameraPath:
    """Collects the camera path of one video, frame by frame. Memory: about 400 bytes a frame and 100 a person in it."""

    def __init__(
        self, config: WorldConfig, square: PaddedSquare, intrinsics: Array, given: GivenPath | None = None
    ) -> None:
        """`square`: the upright picture; `intrinsics` (3, 3): its lens, px; `given`: the path of `camera_file`."""
        self.config, self._given = config, given
        self._people = PeopleMotion(square, intrinsics, outlier_factor=config.outlier_factor)
        self._background, self._width = BackgroundMotion(intrinsics), square.width
        self._time: list[float] = []
        self._path: list[Array] = []
        self._observed: list[bool] = []
        self._evidence = Evidence()
        self._speed = np.zeros(6)  # rotation and centre of the last step a second, in camera axes
        self._rows: list[Array] = []  # each (K, 9): frame, identity, anchor, own place in its view, hips

    @property
    def needs_pictures(self) -> bool:
        """Whether `step` has a use for the picture."""
        return self._given is None and self.config.camera in ("auto", "background")

    def step(
        self,
        time: float,
        people: FramePeople,
        picture: npt.NDArray[np.uint8] | None = None,
        *,
        cut: bool = False,
    ) -> Array:
        """The camera (4, 4) of the next frame, at `time` (s, later than the last one).

        `picture` (H, W, 3) BGR or (H, W) grey, upright, may be `reduced`; without it nothing is learnt from the
        background. `cut`: a new shot begins, whose camera is unknown; it is left where it was.
        """
        frame = len(self._time)
        if cut:
            self._forget()
        background = None
        if picture is not None and self.needs_pictures:
            background = self._background.step(picture, people.boxes, width=self._width)
        turn = background.rotation if background is not None and self.needs_pictures else None
        seen = self._people.measure(frame, people, turn)
        self._evidence.add(seen, background, cut=cut)
        step, observed = self._camera_step(time, seen, background)
        camera = step @ self._path[-1] if frame else np.eye(4)
        if self._given is not None:
            camera, observed = self._given.at(frame, time), True
        elif self.config.camera == "static":
            camera, observed = np.eye(4), True
        self._time.append(float(time))
        self._path.append(camera)
        self._observed.append(observed or (not frame and len(people.identity) > 0))
        self._record(frame, people, camera)
        return camera

    def finish(self) -> WorldCamera:
        """The camera of the whole video. Raises CameraFileError if a given path has another length."""
        path, observed = np.array(self._path).reshape(-1, 4, 4), np.array(self._observed, bool)
        rows = np.concatenate(self._rows) if self._rows else np.zeros((0, 9))
        facts, warnings = quality(self._evidence, observed, self.config)
        up = None
        if self._given is not None:
            self._given.check_length(len(path))
            seen = rows[:, 0].astype(int), rows[:, 1].astype(int), rows[:, 6:]
            path, up, facts, warnings = self._given.solved(path, np.array(self._time), seen, self.config)
        elif self.config.camera == "static":
            facts, warnings = {"source": "static", "judged": "said by the user"}, ()
        elif self.config.camera == "auto" and (still := stands_still(self._evidence, self.config)):
            path, observed = np.tile(np.eye(4), (len(path), 1, 1)), np.ones(len(path), bool)
            facts, warnings = {"source": "static", "judged": still}, ()
        facts["observed"] = round(float(observed.mean()), 4) if len(observed) else None
        if cuts := self._evidence.cuts:
            facts["cuts"] = cuts
            warnings += (f"the video has {cuts} cut{'s' * (cuts > 1)}: places before and after one cannot be compared",)
        return WorldCamera(
            camera_from_world=path,
            observed=observed,
            up=up,
            residual=_residuals(rows, path),
            facts=facts,
            warnings=warnings,
        )

    def _camera_step(
        self, time: float, seen: CameraStep | None, background: BackgroundStep | None
    ) -> tuple[Array, bool]:
        """The step (4, 4) from the last camera to this one, and whether it was measured."""
        passed = time - self._time[-1] if self._time else 0.0
        turn = background.rotation if background is not None and self.needs_pictures else None
        measured = seen is not None or turn is not None
        if not measured:
            left = np.exp(-passed / self.config.decay_seconds)
            way = self._speed * self.config.decay_seconds * (1 - left)
            rotation, centre, self._speed = matrix_from_axis_angle(way[:3]), way[3:], self._speed * left
        else:
            rotation = turn if turn is not None else seen.rotation if seen is not None else np.eye(3)
            turns_only = turn is not None and background is not None and background.only_turns
            centre = seen.centre if seen is not None and not turns_only else np.zeros(3)
            self._speed = np.concatenate([axis_angle_from_matrix(rotation), centre]) / passed
        step = np.eye(4)
        step[:3, :3], step[:3, 3] = rotation, -rotation @ centre
        return step, measured

    def _forget(self) -> None:
        self._people.forget()
        self._background.forget()
        self._speed = np.zeros(6)

    def _record(self, frame: int, people: FramePeople, camera: Array) -> None:
        anchors, places = self._people.place(frame, people, camera)
        count = len(people.identity)
        if count:
            numbers = np.stack([np.full(count, frame), people.identity, anchors], axis=1)
            self._rows.append(np.concatenate([numbers, places, people.hips], axis=1))

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on, except the constructor's arguments: numbers, tensors, lists, dictionaries."""
        return {
            "time": list(self._time),
            "path": torch.from_numpy(np.array(self._path).reshape(-1, 4, 4)),
            "observed": list(self._observed),
            "evidence": self._evidence.state_dict(),
            "speed": torch.from_numpy(self._speed.copy()),
            "rows": torch.from_numpy(np.concatenate(self._rows) if self._rows else np.zeros((0, 9))),
            "people": self._people.state_dict(),
            "background": self._background.state_dict(),
            "given": {} if self._given is None else self._given.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict()`."""
        self._time, self._observed = list(state["time"]), list(state["observed"])
        self._path = list(state["path"].numpy().copy())
        if self._given is not None and self._time:
            self._given.at(0, self._time[0])  # the world is that of the first frame
        self._evidence.load_state_dict(state["evidence"])
        self._speed, self._rows = state["speed"].numpy().copy(), [state["rows"].numpy().copy()]
        self._people.load_state_dict(state["people"])
        self._background.load_state_dict(state["background"])
        if self._given is not None:
            self._given.load_state_dict(state["given"])


def _residuals(rows: Array, path: Array) -> dict[tuple[int, int], float]:
    """m between the network's own place of each row and the one by the camera path; see `CameraPath._rows`."""
    frame, anchor = rows[:, 0].astype(int), rows[:, 2].astype(int)
    world_from_camera = rigid_inverse(path)
    own = transform(world_from_camera[anchor], rows[:, None, 3:6])[:, 0]
    common = transform(world_from_camera[frame], rows[:, None, 6:])[:, 0]
    distance = np.linalg.norm(own - common, axis=1)
    return {(f, i): d for f, i, d in zip(frame.tolist(), rows[:, 1].astype(int).tolist(), distance.tolist())}
