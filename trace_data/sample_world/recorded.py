"""Recorded motions for the people of the sample world: which stretch of which file, and as a motion in their world."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from trace_data.errors import ConfigError
from trace_data.geometry import axis_angle_from_matrix, matrix_from_axis_angle
from trace_data.motions.amass import EDGE, read_amass
from trace_data.progress import SILENT, Progress
from trace_data.sample_world.motion import Motion

Array = npt.NDArray[np.float64]

RECORDED = "recorded"
"""The kind of such a motion."""
LICENCE = "the motions are recorded, from files of whoever made this world; the licence of these files applies"
_CLIPS = 6


@dataclass(frozen=True, slots=True)
class MotionClip:
    """A stretch of a recorded motion."""

    file: Path
    """An AMASS file."""
    begin: float
    """Seconds from its first frame."""


class _Tape:
    """A file and what of it is not in use yet."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.whole: list[tuple[float, float]] | None = None
        self.free: list[tuple[float, float]] = []
        """Begins and ends, seconds."""

    def read(self) -> None:
        """Read the file, unless that was done. Raises AnnotationError."""
        if self.whole is None:
            end = read_amass(self.file).seconds - EDGE
            self.whole = [(EDGE, end)] if end > EDGE else []
            self.free = list(self.whole)

    def cut(self, seconds: float, rng: np.random.Generator) -> MotionClip | None:
        """A random stretch of that length, which is in use from then on; None if there is none."""
        self.read()
        # whole lengths from the beginning of a free stretch, so that nothing between two clips is lost
        room = [int((end - begin) / seconds + 1e-9) for begin, end in self.free]
        if not sum(room):
            return None
        chosen = int(rng.integers(sum(room)))
        place = int(np.searchsorted(np.cumsum(room), chosen, side="right"))
        begin, end = self.free[place]
        first = begin + (chosen - sum(room[:place])) * seconds
        self.free[place : place + 1] = [(begin, first), (first + seconds, end)]
        return MotionClip(self.file, first)


def allocate_clips(
    files: Sequence[Path], lengths: Sequence[float], seed: int, progress: Progress = SILENT
) -> list[MotionClip]:
    """A clip of each of these lengths, in seconds, from AMASS files; deterministic.

    Files take turns in random order, so that neighbours in `lengths` move differently; no stretch comes twice before
    there is none left. Every file that a clip comes from was read without an error. Raises AnnotationError, and
    ConfigError when all files are too short.
    """
    rng = np.random.default_rng([seed, _CLIPS])
    tapes = deque(_Tape(files[number]) for number in rng.permutation(len(files)))
    clips = []
    progress.begin("choosing motions", len(lengths), "motions")
    for seconds in lengths:
        clip = _next(tapes, seconds, rng)
        if clip is None:
            for tape in tapes:
                tape.free = list(tape.whole or [])
            clip = _next(tapes, seconds, rng)
        if clip is None:
            longest = max((end - begin for tape in tapes for begin, end in tape.whole or []), default=0.0)
            raise ConfigError(
                f"no motion is {seconds:.2f} s long: the longest of {len(tapes):,} has {longest:.2f} s, without"
                f" {EDGE:g} s at either end",
                where=os.path.commonpath([file.parent for file in files]),
                hint="add longer ones, or draw shorter sequences (--clip-frames) and no --videos",
            )
        clips.append(clip)
        progress.advance()
    progress.end(f"{len(clips):,} stretches of {len({clip.file for clip in clips}):,} files")
    return clips


def _next(tapes: deque[_Tape], seconds: float, rng: np.random.Generator) -> MotionClip | None:
    for _ in range(len(tapes)):
        tape = tapes[0]
        tapes.rotate(-1)
        if clip := tape.cut(seconds, rng):
            return clip
    return None


def recorded_motion(clip: MotionClip, times: Array, heading: float, place: Array, middle: int) -> Motion:
    """The motion of a clip at `times` (T) seconds, the first of which is its beginning.

    At step `middle` the person faces `heading` radians (0 is +z) and stands at `place` (x, z). Its height is that of
    the recording, about another floor.
    """
    rotations, path = read_amass(clip.file).at(clip.begin + times - times[0])
    ahead = rotations[middle, 0, :, 2]
    turn = matrix_from_axis_angle(np.array([0.0, heading - np.arctan2(ahead[0], ahead[2]), 0.0]))
    rotations[:, 0] = turn @ rotations[:, 0]
    path = path @ turn.T
    shift = np.array([place[0] - path[middle, 0], 0.0, place[1] - path[middle, 2]])
    return Motion(axis_angle_from_matrix(rotations), path + shift, RECORDED)
