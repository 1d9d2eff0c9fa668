"""Videos of the sample world as files: an mp4, and beside it everything that is true of it.

The truth has the keys of a result file (docs/reference/export.md#result-keys), and three more: `visible` (N,) share of
the person's pixels that the picture shows, those beyond the picture counted as not shown; `shot` (T,) number of the
shot that a frame belongs to, from 0; `shot_camera` (S,) the kind of each shot's camera. It is made from the scene
itself, by none of the code that reads or writes results.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trace_data.files import atomic_write
from trace_data.geometry import axis_angle_from_matrix, matrix_from_axis_angle, transform
from trace_data.sample_world.film import FILMED, FPS, FRAMES, Film, draw_film, render_film
from trace_data.sample_world.recorded import LICENCE, MotionClip
from trace_data.sample_world.render import Image, write_video
from trace_data.sample_world.scene import Performance, all_joints

Array = npt.NDArray[np.float64]

VIDEO, TRUTH = ".mp4", ".truth.npz"
HIPS = [35, 36]
"""The regressed hips among the 44 joints (docs/reference/joints.md#the-44-joints)."""
SEEN, HIDDEN = 0, 2
"""States of a row, as in a result: `HIDDEN` is what a result calls predicted."""
_AT_ONCE = 40
"""Frames that are posed at a time, whole bodies."""


def write_film(
    folder: Path, seed: int, number: int, height: int, *, frames: int = FRAMES, motions: Sequence[MotionClip] = ()
) -> str:
    """Write video `number`, from 0, and its truth into `folder`; returns its name.

    The truth is written last, atomically, and marks the video complete.
    """
    film = draw_film(seed, number, height, frames=frames, motions=motions)
    boxes, visible = [], []

    def images() -> Iterator[Image]:
        for frame in render_film(film):
            boxes.append(frame.boxes)
            visible.append(frame.visible)
            yield frame.image

    write_video(folder / f"{film.name}{VIDEO}", images(), film.size, FPS)
    content = truth_of(film, np.stack(boxes, axis=1), np.stack(visible, axis=1), seed)
    with atomic_write(folder / f"{film.name}{TRUTH}") as partial, partial.open("wb") as stream:
        np.savez(stream, allow_pickle=False, **content)
    return film.name


def truth_of(film: Film, boxes: Array, visible: Array, seed: int) -> dict[str, npt.NDArray[Any]]:
    """The arrays of the truth, from the boxes (P, T, 4) and visible shares (P, T) of `FilmFrame`.

    People have a row in every frame in which any of them would be in the picture if nothing hid them.
    """
    size, camera, lens = film.size, film.camera_from_world, film.intrinsics
    frames = len(camera)
    low, high = boxes[..., :2], boxes[..., :2] + boxes[..., 2:]
    inside = ((high > -0.5) & (low < np.array(size) - 0.5)).all(-1)  # NaN compares as False
    columns = [_person(p, camera, lens) for p in film.performances]
    row_person, row_frame = np.nonzero(inside)
    rows = {name: np.stack([column[name] for column in columns])[inside] for name in columns[0]}
    single, seen = np.float32, visible[inside] > 0
    return {
        "format": np.array("trace-result"),
        "version": np.array(1),
        "about": np.array(json.dumps(_about(film, seed))),
        "time": np.arange(frames) / FPS,
        "frame_id": np.arange(frames),
        "image_size": np.array(size, np.int32),
        "intrinsics": lens,
        "camera_from_world": camera,
        "camera_observed": np.ones(frames, bool),
        "up": np.array([0.0, 1.0, 0.0]),
        "person": np.arange(1, len(columns) + 1, dtype=np.int32),
        "person_name": np.array([f"synthetic person {p.person.index}" for p in film.performances]),
        "row_person": row_person.astype(np.int32),
        "row_frame": row_frame.astype(np.int32),
        "state": np.where(seen, SEEN, HIDDEN).astype(np.uint8),
        "score": seen.astype(single),
        "betas": np.stack([p.person.betas for p in film.performances]).astype(single),
        **{name: values.astype(single) for name, values in rows.items()},
        "box": boxes[inside].astype(single),
        "world_residual": np.zeros(len(row_frame), single),
        "visible": visible[inside].astype(single),
        "shot": np.repeat(np.arange(len(film.takes)), [take.frames for take in film.takes]).astype(np.int32),
        "shot_camera": np.array([FILMED[take.shot] for take in film.takes]),
    }


def _person(performance: Performance, camera: Array, lens: Array) -> Mapping[str, Array]:
    """The columns of one person in all frames, by the names of a result."""
    parts = [_part(performance, first) for first in range(0, len(camera), _AT_ONCE)]
    joints = np.concatenate([all_joints(part)[0] for part in parts])
    pose, translation = performance.motion.pose[::2], performance.motion.translation[::2]
    there = transform(camera, joints)
    rest = performance.rest_pelvis()
    pixels = np.einsum("tij,tkj->tki", lens, there)
    with np.errstate(divide="ignore", invalid="ignore"):
        points = np.where(there[..., 2:] > 0, pixels[..., :2] / pixels[..., 2:], np.nan)
    return {
        "pose": pose,
        "translation": translation,
        "root_in_camera": axis_angle_from_matrix(camera[:, :3, :3] @ matrix_from_axis_angle(pose[:, 0])),
        "translation_in_camera": transform(camera, (translation + rest)[:, None])[:, 0] - rest,
        "hips_in_camera": there[:, HIPS].mean(1),
        "joints": joints[:, :24],
        "joints_2d": points,
    }


def _part(performance: Performance, first: int) -> Performance:
    """The motion of `_AT_ONCE` frames from `first` on, two steps each."""
    steps = slice(2 * first, 2 * (first + _AT_ONCE))
    motion = performance.motion
    return replace(performance, motion=replace(motion, pose=motion.pose[steps], translation=motion.translation[steps]))


def _about(film: Film, seed: int) -> dict[str, Any]:
    return {
        "synthetic": True,
        "made_by": "trace make-sample",
        "seed": seed,
        "video": {"name": f"{film.name}{VIDEO}", "kind": "video", "rate": FPS, "variable_rate": False},
        "camera_source": "exact",
        "intrinsics_source": "exact",
        "up_source": "exact",
        "scale": "exact",
        "body_model": {"name": "free body of the sample world, not SMPL", "gender": "neutral"},
        "warnings": ["synthetic: nobody was filmed"],
        **({"licence": LICENCE} if film.recorded else {}),
    }
