"""A camera path that another tool found, in the time and the unit of a video."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from trace_data.errors import quoted
from trace_data.results.camera_files import CameraFile, CameraFileError
from trace_data.results.paths import at_times, pieces
from trace_data.results.world_placement import rigid_inverse
from trace_train.config.world import WorldConfig

Array = npt.NDArray[np.float64]

BEYOND = 0.05
"""s by which a video may begin before or end after the times of the file; its nearest camera is held."""
SPAN = 0.5
"""s between the three places of a person whose second difference is made small."""
LONGEST_GAP = 0.3
"""s without a person that are bridged."""
MOST_UNCERTAIN = 0.25
"""A scale with a larger relative standard error is not used."""
ROUNDS = 20
"""Rounds of reweighting, which make a sum of squares one of distances."""


class GivenPath:
    """The cameras of a file. The world is that of the video's first frame."""

    def __init__(self, file: CameraFile) -> None:
        self.file = file
        self._first: Array | None = None

    def at(self, frame: int, time: float) -> Array:
        """The camera (4, 4) of a frame at `time`, s, in the unit of the file. Raises CameraFileError outside of it."""
        file = self.file
        if file.time is None:
            if frame >= len(file):
                raise CameraFileError(
                    f"has {len(file)} cameras and no times, the video has more frames: {frame + 1} so far",
                    where=file.source,
                    hint="give a TUM file, whose times say which frame a camera belongs to",
                )
            camera = file.camera_from_world[frame]
        else:
            begin, end = file.time[[0, -1]]
            if not begin - BEYOND <= time <= end + BEYOND:
                raise CameraFileError(
                    f"has cameras from {begin:.3f} to {end:.3f} s, frame {frame} of the video is at {time:.3f} s",
                    where=file.source,
                    hint="times are seconds of the video; --start and --end choose a part of it",
                )
            camera = at_times(file.time, file.camera_from_world, np.array([np.clip(time, begin, end)]))[0]
        if self._first is None:
            self._first = rigid_inverse(camera)
        relative: Array = camera @ self._first
        return relative

    def state_dict(self) -> dict[str, Any]:
        """The first camera, in which the world is."""
        return {} if self._first is None else {"first": torch.from_numpy(self._first.copy())}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict()`."""
        self._first = state["first"].numpy().copy() if state else None

    def check_length(self, frames: int) -> None:
        """Raises CameraFileError if the file has one camera for each frame, and the video another number of frames."""
        if self.file.time is None and frames != len(self.file):
            raise CameraFileError(
                f"has {len(self.file)} cameras and no times, the video has {frames} frames",
                where=self.file.source,
                hint="give a TUM file, whose times say which frame a camera belongs to",
            )

    def solved(
        self,
        path: Array,
        time: Array,
        rows: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Array],
        config: WorldConfig,
    ) -> tuple[Array, Array | None, dict[str, Any], tuple[str, ...]]:
        """The path (T, 4, 4) in metres, up in the world if the file says it, facts and warnings.

        `rows`: frame (N,), identity (N,) and hips (N, 3) in the camera of everybody who was seen.
        """
        facts: dict[str, Any] = {"source": "given", "file": self.file.source.name, "kind": self.file.kind}
        facts["judged"] = "given by another tool"
        warnings: tuple[str, ...] = ()
        scale = 1.0
        if config.camera_scale == "solve" and self.file.kind != "result":
            solved, error = path_scale(path, time, *rows)
            facts["scale_error"] = None if not np.isfinite(error) else round(float(error), 4)
            if solved > 0 and error < MOST_UNCERTAIN:
                scale = solved
                facts["scale_from"] = "smooth motion of people"
            else:
                facts["scale_from"] = "a guess: people do not show it, so the file is taken to be in metres"
                warnings = (f"the scale of {quoted(self.file.source.name)} is {facts['scale_from']}",)
        else:
            facts["scale_from"] = "the file, in metres"
        facts["scale"] = round(float(scale), 6)
        metric = path.copy()
        metric[:, :3, 3] *= scale
        up = None
        if self.file.up is not None and self._first is not None:
            up = rigid_inverse(self._first)[:3, :3] @ self.file.up
        return metric, up, facts, warnings


def path_scale(
    path: Array, time: Array, frame: npt.NDArray[np.int64], identity: npt.NDArray[np.int64], hips: Array
) -> tuple[float, float]:
    """Metres in a unit of `path` (T, 4, 4), and its relative standard error.

    The scale with which people accelerate least in the world, weighted by 1 / Z^2: least squares of the second
    difference of the hips over `SPAN` on either side, reweighted towards the least sum of distances. `time` (T,) s;
    `frame`, `identity` (N,) and `hips` (N, 3), m, in the camera: the people who were seen.
    """
    inverse = rigid_inverse(path)
    fixed = np.einsum("nij,nj->ni", inverse[frame, :3, :3], hips)
    centre, weight = inverse[frame, :3, 3], 1 / np.maximum(hips[:, 2], 0.1) ** 2
    bends, turns, weights, count = [np.zeros((0, 3))], [np.zeros((0, 3))], [np.zeros(0)], 1.0
    for person in np.unique(identity):
        mine = np.flatnonzero(identity == person)
        mine = mine[np.argsort(frame[mine])]
        for piece in pieces(time[frame[mine]], LONGEST_GAP):
            part = mine[piece]
            now = time[frame[part]]
            inner = now[(now - SPAN >= now[0]) & (now + SPAN <= now[-1])]
            bends.append(_bend(now, fixed[part], inner))
            turns.append(_bend(now, centre[part], inner))
            weights.append(np.interp(inner, now, weight[part]))
            count += len(inner) / max(1.0, len(now) * 2 * SPAN / max(now[-1] - now[0], 1e-9))
    return _ratio(np.concatenate(bends), np.concatenate(turns), np.concatenate(weights), count)


def _bend(time: Array, place: Array, inner: Array) -> Array:
    """Second differences (m, 3) of places (n, 3) over `SPAN` around the times `inner` (m,)."""
    before, now, after = (
        np.stack([np.interp(inner + shift, time, place[:, k]) for k in range(3)], axis=-1) for shift in (-SPAN, 0, SPAN)
    )
    bend: Array = before - 2 * now + after
    return bend


def _ratio(fixed: Array, turning: Array, weights: Array, count: float) -> tuple[float, float]:
    """The s that makes `fixed` + s `turning` (n, 3) short, and its relative error; `count`: independent ones of the n.

    `fixed` bends in metres if the camera's centre stays, `turning` is the bend of the camera's centre.
    """
    scale, energy, left = 0.0, 0.0, 0.0
    trust = weights
    for _ in range(ROUNDS):
        energy = float(trust @ np.square(turning).sum(1))
        if energy <= 0:
            return 1.0, np.inf
        scale = -float(trust @ (fixed * turning).sum(1)) / energy
        lengths = np.linalg.norm(fixed + scale * turning, axis=1)
        left = float(trust @ np.square(lengths))
        trust = weights / np.maximum(lengths, 1e-4)
    error = np.sqrt(left / (3 * count * energy))
    return scale, error / abs(scale) if scale else np.inf
