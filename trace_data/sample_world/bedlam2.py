"""Scenes of the sample world as files of BEDLAM2's release (docs/reference/further-datasets.md#bedlam2).

Tables and videos are BEDLAM's. Bodies are written as those of another model, whose pelvis is elsewhere at rest. Whether
the camera of a scene lies on its side, only a table says.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from trace_data.progress import SILENT, Progress
from trace_data.sample_world.bedlam import BedlamTake, Kind, Stand, motion_rows, write_arrays, write_scenes, write_table
from trace_data.sample_world.bedlam import draw_takes as draw_scenes
from trace_data.sample_world.people import Role
from trace_data.sample_world.scene import SYNTHETIC, Performance

Array = npt.NDArray[np.float64]

FOLDER = "BEDLAM2"
SCENES: dict[str, Kind] = {
    "20240805_5-10_250_busstation_orbit_zoom": "dolly",
    "20240729_1_250_ai1004_vcam": "closeup",
    "20240606_1_500_stadium_closeup": "orbit",
    "20240514_1_500_hdri": "static",
}
"""Scenes, and what their cameras do, whatever they are called: `closeup` lies on its side."""
NAMES = {
    "20240805_5-10_250_busstation_orbit_zoom": "busstation-orbit-zoom-b2v3",
    "20240729_1_250_ai1004_vcam": "ai1004-vcam-portrait-b2v11",
    "20240606_1_500_stadium_closeup": "stadium-closeup-b2v1",
    "20240514_1_500_hdri": "hdri-b2v0",
}
"""What the table calls them."""
LAST = "20240805_5-10_250_busstation_orbit_zoom/be_seq.csv"
"""The file that is written last."""
WITHHELD = "20240606_1_500_stadium_closeup"
"""A scene in which the second of two people has no motion file."""
UNIT = 18
"""Frames are a multiple of 32x18 px: their sides are exactly as the sensor's."""
PELVIS = np.array([0.002, -0.347, 0.015])
"""Metres: the pelvis at rest of the other model, of a middling shape."""


def draw_takes(
    seed: int, roles: Sequence[tuple[int, Role]], frames: int, height: int, longer: int = 0
) -> Iterator[BedlamTake]:
    """The sequences, see `bedlam.draw_takes`. `height`: about that of the frames, px."""
    exact = UNIT * max(3, round(height / UNIT))
    yield from draw_scenes(seed, roles, frames, exact, longer, {"train": SCENES, "validation": SCENES})


def write_bedlam2(
    folder: Path,
    seed: int,
    roles: Sequence[tuple[int, Role]],
    frames: int,
    height: int,
    longer: int = 0,
    progress: Progress = SILENT,
) -> None:
    """Draw the sequences `roles` of the world into the BEDLAM2 folder, see `bedlam.write_scenes`."""

    def motion(performance: Performance, stand: Stand, start: int, animation: str) -> str:
        name = f"{subject_of(performance)}_{animation}"
        if name not in withheld:
            _write_motion(folder / "motions_npz_training" / f"{name}.npz", performance, stand, start)
        return name

    takes = list(draw_takes(seed, roles, frames, height, longer))
    withheld = {
        f"{subject_of(performance)}_{take.scene.name.rpartition('_')[2]}"
        for take in takes
        if take.scene_name == WITHHELD
        for performance in take.scene.performances[1:]
    }
    write_table(folder / "bedlam2_scene_names.csv", [["Folder name", " Scene name"], *table_rows()])
    write_scenes(folder, takes, ("ground_truth", "meta_exr_csv"), motion, progress)


def table_rows() -> Iterator[list[str]]:
    """The table of scenes, whose second column begins with a blank."""
    for folder, name in NAMES.items():
        yield [folder, f" {name}"]


def subject_of(performance: Performance) -> str:
    """The name of a person's body."""
    return f"us_{performance.person.index:04d}_2XL"


def _write_motion(file: Path, performance: Performance, stand: Stand, start: int) -> None:
    pose, pelvis = motion_rows(performance, stand, start)
    write_arrays(
        file,
        poses=np.concatenate([pose[:, :66], np.zeros((len(pose), 99))], axis=1),
        trans=pelvis - performance.rest_pelvis_of_another_model(PELVIS),
        betas=np.full(16 if performance.person.index % 2 else 300, 0.3),
        mocap_frame_rate=np.array(30),
        gender=np.array("neutral"),
        motion_info=np.array([SYNTHETIC]),
    )
