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
"""Held-out (subject, sequence); the rest of S1 to S8 is the training split."""
CAMERAS = range(11)
"""Cameras used; 11 to 13 are on the ceiling."""
RECORDED = 14
"""Number of cameras in annotations and calibrations."""
FAST = frozenset({(1, 2), (3, 1), (3, 2), (5, 1), (5, 2)})
"""(subject, sequence) of recordings at 50 frames per second."""
TEST_FPS = 25.0
"""Not stated in the test set's annotation; its lengths match training videos with 25 frames per second."""

SHORT = 2
"""Number of frames that a video may lack at its end, as noted in the release's README. If more are missing, the video
is truncated or belongs to another recording."""


def split_of(subject: int, sequence: int) -> Split:
    """The split of a training recording."""
    return "val" if (subject, sequence) in VALIDATION else "train"


def fps_of(subject: int, sequence: int) -> float:
    """Frames per second of a training recording."""
    return 50.0 if (subject, sequence) in FAST else 25.0


def wrong(file: Path, key: str, found: str, expected: str, hint: str | None = None) -> AnnotationError:
    """An error about `file` with what was found and expected."""
    return AnnotationError(
        f"{key} {found}, expected {expected}", where=file, hint=hint or f"get the file again from {SPEC.page}"
    )
