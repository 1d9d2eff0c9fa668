"""Fits the pose prior of `loss.pose_prior` to recorded motions, in the form of SMPLify's `gmm_08.pkl`.

Form: docs/reference/training.md#pose-prior. That file holds 69 numbers of a pose, of which 63 are used: the hands, of
which SMPL+H and SMPL-X say something else, get a Gaussian of their own, independent and the same in all.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from trace_data.errors import ConfigError, OutputError, quoted
from trace_data.files import atomic_write
from trace_data.geometry import axis_angle_from_matrix
from trace_data.motions.amass import BODY, EDGE, motion_files, read_amass
from trace_data.motions.mixture import fit_mixture
from trace_data.progress import SILENT, Progress, counted
from trace_data.schema.keypoints import FLIP_24

Array = npt.NDArray[np.float64]

NAME = "pose_prior.pkl"
"""What the file is called."""
FULL, USED = 69, 3 * (BODY - 1)
"""Numbers of a pose in the file, and those of the 21 joints of the body, which are fitted."""
FLOOR = 1e-3
"""Variance in square radians, (1.8 degrees)², that every direction has at least: some joints hardly move in recordings,
and a network must not be pressed to match them exactly."""
LEAST = 2 * USED
"""Poses for each Gaussian, mirrored ones not counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedPrior:
    """What was fitted, and to what."""

    file: Path
    gaussians: int
    motions: int
    """Files read."""
    poses: int
    """Poses taken from them; each is there mirrored too."""
    seconds_apart: float
    log_likelihood: float
    """Mean over the poses, natural logarithm, density per radian."""


def fit_pose_prior(
    folders: Sequence[Path],
    out: Path,
    *,
    gaussians: int = 8,
    every: float = 1.0,
    seed: int = 0,
    force: bool = False,
    progress: Progress = SILENT,
) -> FittedPrior:
    """Fit `gaussians` to a pose in `every` so many seconds of all motions below some folders; write them to `out`.

    The same motions and seed give the same file. Raises ConfigError when there are no motions or too few poses,
    AnnotationError with the file that cannot be read, OutputError.
    """
    if out.exists() and not force:
        raise OutputError("exists already", where=out, hint="add --force to replace it, or give another --out")
    files = list(dict.fromkeys(file for folder in folders for file in motion_files(folder)))
    poses = _poses(files, every, progress)
    if len(poses) < (needed := gaussians * LEAST):
        shorter = every * len(poses) / needed
        raise ConfigError(
            f"{counted(len(files), 'motion')} give {len(poses):,} poses, expected {needed:,} for {gaussians} Gaussians",
            where=folders[0],
            hint=f"add folders, or take them closer (--seconds {shorter:.2g}), or fewer Gaussians (--gaussians"
            f" {max(1, len(poses) // LEAST)})",
        )
    both = np.concatenate([poses, mirrored(poses)])
    mixture, gained = fit_mixture(both, gaussians, floor=FLOOR, seed=seed, progress=progress)
    covariances = np.tile(np.eye(FULL), (gaussians, 1, 1))
    covariances[:, :USED, :USED] = mixture.covariances
    content = {
        "means": np.pad(mixture.means, ((0, 0), (0, FULL - USED))),
        "covars": covariances,
        "weights": mixture.weights,
        "source": f"{len(files)} motions, whose licence holds for this file; hands are not fitted",
    }
    try:
        with atomic_write(out) as partial:
            partial.write_bytes(pickle.dumps(content, protocol=2))
    except OSError as error:
        raise OutputError(
            f"cannot be written: {error.strerror}", where=out, hint=f"ls -ld {quoted(out.parent)}"
        ) from error
    return FittedPrior(
        file=out,
        gaussians=gaussians,
        motions=len(files),
        poses=len(poses),
        seconds_apart=every,
        log_likelihood=gained[-1],
    )


def _poses(files: Sequence[Path], every: float, progress: Progress) -> Array:
    """(N, 63) axis-angle up to half a turn, radians, without the first and last `EDGE` seconds of each file."""
    found = [np.zeros((0, USED))]
    progress.begin("reading motions", len(files), "motions")
    for file in files:
        motion = read_amass(file)
        times = np.arange(EDGE, motion.seconds - EDGE, every)
        if len(times):
            rotations, _ = motion.at(times)
            found.append(axis_angle_from_matrix(rotations[:, 1:BODY]).reshape(len(times), USED))
        progress.advance()
    poses = np.concatenate(found)
    progress.end(f"{len(poses):,} poses of {len(files):,} motions")
    return poses


def mirrored(poses: Array) -> Array:
    """The poses (N, 63) seen in a mirror: sides change places, and of axis-angle (x, y, z) y and z their signs."""
    joints = poses.reshape(len(poses), BODY - 1, 3)
    other = [joint - 1 for joint in FLIP_24[1:BODY]]
    return (joints[:, other] * [1.0, -1.0, -1.0]).reshape(len(poses), USED)
