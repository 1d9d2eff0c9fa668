"""Static facts about MPI-INF-3DHP, independent of where it is installed (docs/reference/datasets.md#mpi-inf-3dhp)."""

from __future__ import annotations

from pathlib import Path

from trace_data.adapters.base import DatasetSpec
from trace_data.errors import AnnotationError
from trace_data.schema.record import Split

SPEC = DatasetSpec(
    name="mpi-inf-3dhp",
    folders=("mpi_inf_3dhp", "mpi-inf-3dhp", "MPI-INF-3DHP", "MPI_INF_3DHP"),
    splits=("train", "val", "test"),
    page="https://vcai.mpi-inf.mpg.de/3dhp-dataset/",
    expected="mpi_inf_3dhp/S1/Seq1/{annot.mat, camera.calibration, imageSequence/video_0.avi} "
    "and mpi_inf_3dhp/mpi_inf_3dhp_test_set/TS1/{annot_data.mat, imageSequence/img_000001.jpg}, "
    "or mpi_inf_3dhp/{annots_video.npz, video_frames/S1_Seq1_video_0/}",
)
ADAPTER = "mpi_inf_3dhp 1"

VALIDATION = frozenset({(8, 2)})
"""Subject and sequence of what is held out; everything else of S1 to S8 is for training."""
CAMERAS = range(11)
"""Cameras that are read; 11 to 13 hang from the ceiling."""
RECORDED = 14
"""Cameras that annotations and calibrations are about."""
FAST = frozenset({(1, 2), (3, 1), (3, 2), (5, 1), (5, 2)})
"""Subject and sequence of what was recorded at 50 frames a second."""
TEST_FPS = 25.0
"""The test set's annotation does not say; its lengths are those of the training videos of 25 frames a second."""

SHORT = 2
"""Frames that a video may lack at its end: the README of the release says that some do. More than that was cut off, or
the video belongs to another recording."""


def split_of(subject: int, sequence: int) -> Split:
    """The split of a training recording."""
    return "val" if (subject, sequence) in VALIDATION else "train"


def fps_of(subject: int, sequence: int) -> float:
    """Frames a second of a training recording."""
    return 50.0 if (subject, sequence) in FAST else 25.0


def wrong(file: Path, key: str, found: str, expected: str, hint: str | None = None) -> AnnotationError:
    """The error that says what of `file` was found and what was expected."""
    return AnnotationError(
        f"{key} {found}, expected {expected}", where=file, hint=hint or f"get the file again from {SPEC.page}"
    )
