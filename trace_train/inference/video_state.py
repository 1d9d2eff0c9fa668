"""Everything that belongs to one video while it is predicted: network, tracker and camera, and frames that wait.

A person is confirmed only after several frames and then receives the earlier ones too, so a frame is settled some
frames after it was seen. Settled frames go to the camera path in order and leave memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch

from trace_data.geometry import axis_angle_from_matrix
from trace_data.results.result import SEEN
from trace_data.results.writer import Rows
from trace_train.inference.camera.background import reduced
from trace_train.inference.camera.camera_path import CameraPath, WorldCamera
from trace_train.inference.camera.frame_people import FramePeople
from trace_train.inference.cuts import CutDetector
from trace_train.inference.frame_detections import Assignment, FrameDetections, Tracker
from trace_train.inference.lens_change import PaddedSquare, through_lens
from trace_train.inference.letterbox import Pixels
from trace_train.inference.stream import NetworkStream

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BodyInCamera:
    """One person in one frame's camera."""

    rotations: Floats
    """(24, 3, 3) the root in the camera, then relative to the parent."""
    betas: Floats
    """(10,)"""
    hips: Floats
    """(3,) hip midpoint, m."""
    joints: Floats
    """(44, 3) m, relative to the hip midpoint, camera axes."""
    joints_2d: Floats
    """(44, 2) px."""
    score: float

    @classmethod
    def of(cls, people: FrameDetections, detection: int) -> BodyInCamera:
        """A detected person."""
        arrays = {f.name: getattr(people, f.name)[detection] for f in fields(cls) if f.name != "score"}
        return cls(**arrays, score=float(people.score[detection]))

    @property
    def pose(self) -> Floats:
        """(24, 3) `rotations` as axis-angle."""
        return axis_angle_from_matrix(self.rotations)

    @property
    def box(self) -> Floats:
        """(4,) left, top, width, height of the joints, px."""
        low = self.joints_2d.min(0)
        return np.concatenate([low, self.joints_2d.max(0) - low])


@dataclass(slots=True, kw_only=True, eq=False)
class SeenFrame:
    """A frame that the network has seen, or that could not be read."""

    number: int
    """Counted from 0, also over gaps."""
    time: float
    people: FrameDetections
    picture: Pixels | None
    """(H, W) grey, `reduced`, where the camera path needs it."""
    cut: bool
    assigned: list[Assignment] = field(default_factory=list)
    bodies: dict[int, tuple[int, BodyInCamera]] = field(default_factory=dict)
    """State and body by identity, once it is settled."""

    def identities(self) -> npt.NDArray[np.int64]:
        """(K,) of the detections; 0 where there is none."""
        identities = np.zeros(len(self.people), np.int64)
        for one in self.assigned:
            if one.detection >= 0:
                identities[one.detection] = one.identity
        return identities


class VideoState:
    """Predicts one video, a chunk at a time, in memory that does not grow with its rows."""

    def __init__(
        self,
        stream: NetworkStream,
        tracker: Tracker,
        camera: CameraPath,
        cuts: CutDetector,
        intrinsics: Floats,
    ) -> None:
        """`intrinsics` (3, 3): the lens of the video, px of its upright frames."""
        self.stream, self.tracker, self.camera, self.cuts = stream, tracker, camera, cuts
        self.intrinsics = intrinsics
        self.square = PaddedSquare(stream.letterbox.width, stream.letterbox.height)
        self.frames = 0
        """Frames so far, with gaps."""
        self._waiting: deque[SeenFrame] = deque()
        self._last: dict[int, BodyInCamera] = {}
        """People as they were seen last, for rows that are decoded from no detection."""

    def add(self, times: Sequence[float], frames: Sequence[Pixels | None]) -> list[SeenFrame]:
        """The frames that are settled after a chunk of frames (H, W, 3) RGB; None: one that could not be read."""
        settled = []
        pictures = [None if pixels is None else reduced(pixels) for pixels in frames]
        cuts = [picture is not None and self.cuts.step(picture) for picture in pictures]
        for time, picture, cut, people in zip(times, pictures, cuts, self._detected(frames, cuts)):
            self._see(time, picture, people, cut)
            settled += self._settle(self.tracker.settled)
        return settled

    def now(self, time: float, pixels: Pixels) -> tuple[SeenFrame, Floats]:
        """The next frame at once, and its camera (4, 4): people appear when they are confirmed, and not in the past."""
        picture = reduced(pixels)
        cut = self.cuts.step(picture)
        (people,) = self._detected([pixels], [cut])
        self._see(time, picture, people, cut)
        (frame,) = self._bodies([self._waiting.popleft()])
        return frame, self._place(frame)

    def finish(self) -> tuple[list[SeenFrame], WorldCamera]:
        """The last frames, and the camera of all. Raises CameraFileError where a given path has another length."""
        self._assign(self.tracker.finish())
        settled = self._settle(self.frames)
        return settled, self.camera.finish()

    def _detected(self, frames: Sequence[Pixels | None], cuts: Sequence[bool]) -> Iterator[FrameDetections]:
        """People of each frame through the lens of the video."""
        begins = [number for number, cut in enumerate(cuts) if cut or number == 0]
        for begin, end in zip(begins, [*begins[1:], len(frames)]):
            if cuts[begin]:
                self.stream.restart()
            readable = [pixels for pixels in frames[begin:end] if pixels is not None]
            found = iter(self.stream.see(readable) if readable else [])
            for pixels in frames[begin:end]:
                nobody = FrameDetections.empty(self.stream.network.mesh_channels)
                yield nobody if pixels is None else self._through_lens(next(found))

    def _through_lens(self, people: FrameDetections) -> FrameDetections:
        placed = through_lens(people.hips, people.joints, self.intrinsics, self.square)
        return replace(people, hips=placed.hips, joints_2d=placed.joints_2d)

    def _see(self, time: float, picture: Pixels | None, people: FrameDetections, cut: bool) -> None:
        grey = None
        if picture is not None and self.camera.needs_pictures:
            grey = np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8)
        seen = SeenFrame(number=self.frames, time=time, people=people, picture=grey, cut=cut)
        self._waiting.append(seen)
        self.frames += 1
        self._assign(self.tracker.step(time, people, cut=cut))

    def _assign(self, assignments: Iterable[Assignment]) -> None:
        for one in assignments:
            place = one.frame - self._waiting[0].number
            if place >= 0:  # otherwise it was passed on live, without waiting for this
                self._waiting[place].assigned.append(one)

    def _settle(self, before: int) -> list[SeenFrame]:
        """Frames with a number below `before`, with their bodies, once the camera has had them."""
        count = sum(frame.number < before for frame in self._waiting)
        frames = self._bodies([self._waiting.popleft() for _ in range(count)])
        for frame in frames:
            self._place(frame)
        return frames

    def _place(self, frame: SeenFrame) -> Floats:
        people = FramePeople.of(frame.people, frame.identities())
        return self.camera.step(frame.time, people, frame.picture, cut=frame.cut)

    def _bodies(self, frames: list[SeenFrame]) -> list[SeenFrame]:
        """Give the rows of consecutive frames their bodies.

        Somebody remembered is as they were last seen, on the straight way to where they are seen next if that is in
        these frames (docs/reference/inference.md#memory-unit).
        """
        for place, frame in enumerate(frames):
            for one in frame.assigned:
                if one.detection >= 0:
                    body = BodyInCamera.of(frame.people, one.detection)
                    frame.bodies[one.identity] = one.state, body
                    self._last[one.identity] = body
                elif (last := self._last.get(one.identity)) is not None:
                    frame.bodies[one.identity] = one.state, self._remembered(last, one.identity, frames[place:])
        return frames

    def _remembered(self, last: BodyInCamera, identity: int, ahead: Sequence[SeenFrame]) -> BodyInCamera:
        hips = last.hips
        for steps, frame in enumerate(ahead):
            seen = [one.detection for one in frame.assigned if one.identity == identity and one.detection >= 0]
            if seen:
                # `last` is one frame behind the first of these: rows before this one have moved it along
                hips = hips + (frame.people.hips[seen[0]] - hips) / (steps + 1)
                break
        joints_2d = last.joints_2d
        if hips is not last.hips:
            image = (last.joints + hips) @ self.intrinsics.T
            joints_2d = image[:, :2] / np.maximum(image[:, 2:], 1e-6)
        body = replace(last, hips=hips, joints_2d=joints_2d, score=0.0)
        self._last[identity] = body
        return body

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on with the next chunk, except what the constructor is given."""
        return {
            "stream": self.stream.state_dict(),
            "tracker": self.tracker.state_dict(),
            "camera": self.camera.state_dict(),
            "cuts": self.cuts.state_dict(),
            "frames": self.frames,
            "waiting": [_saved_frame(frame) for frame in self._waiting],
            "last": {identity: _saved(body) for identity, body in self._last.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict()`."""
        self.stream.load_state_dict(state["stream"])
        self.tracker.load_state_dict(state["tracker"])
        self.camera.load_state_dict(state["camera"])
        self.cuts.load_state_dict(state["cuts"])
        self.frames = state["frames"]
        self._waiting = deque(_restored_frame(frame) for frame in state["waiting"])
        self._last = {identity: BodyInCamera(**_arrays(body)) for identity, body in state["last"].items()}


def rows_of(frames: Iterable[SeenFrame]) -> Rows | None:
    """Rows of settled frames for a result; None if there is nobody."""
    found = [(frame, one, *body) for frame in frames for one, body in frame.bodies.items()]
    if not found:
        return None
    numbers, identities, states, bodies = zip(*found)
    return Rows(
        person=np.array(identities),
        frame=np.array([frame.number for frame in numbers]),
        state=np.array(states),
        score=np.array([body.score if state == SEEN else 0.0 for state, body in zip(states, bodies)]),
        pose=axis_angle_from_matrix(np.stack([body.rotations for body in bodies])),
        hips_in_camera=np.stack([body.hips for body in bodies]),
        betas=np.stack([body.betas for body in bodies]),
        box=np.stack([body.box for body in bodies]),
    )


def _saved_frame(frame: SeenFrame) -> dict[str, Any]:
    saved = _saved(frame, leave=("people", "assigned", "bodies", "picture"))
    assigned = [_saved(one) for one in frame.assigned]
    picture = None if frame.picture is None else torch.from_numpy(frame.picture)
    return {**saved, "people": _saved(frame.people), "assigned": assigned, "picture": picture}


def _restored_frame(saved: dict[str, Any]) -> SeenFrame:
    people = FrameDetections(**_arrays(saved["people"]))
    assigned = [Assignment(**one) for one in saved["assigned"]]
    picture = None if saved["picture"] is None else saved["picture"].numpy()
    return SeenFrame(**{**saved, "people": people, "assigned": assigned, "picture": picture})


def _saved(value: Any, leave: Sequence[str] = ()) -> dict[str, Any]:
    """Fields of a dataclass, arrays as tensors."""
    found = {f.name: getattr(value, f.name) for f in fields(value) if f.name not in leave}
    return {
        name: torch.from_numpy(np.ascontiguousarray(item)) if isinstance(item, np.ndarray) else item
        for name, item in found.items()
    }


def _arrays(saved: dict[str, Any]) -> dict[str, Any]:
    return {name: item.numpy() if isinstance(item, torch.Tensor) else item for name, item in saved.items()}
