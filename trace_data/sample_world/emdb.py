"""Scenes of the sample world as files of EMDB's release (docs/reference/further-datasets.md#emdb-files).

Everything is seen from where a phone was switched on: another origin, and another heading than the sample world's, with
the same up. Its numbers come from positions in the sample world, not from the formulas that readers use: a body stands
where its pelvis is, and 2D joints are those of the sample world's own camera.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trace_data.files import atomic_write
from trace_data.geometry import axis_angle_from_matrix, matrix_from_axis_angle
from trace_data.progress import SILENT, Progress
from trace_data.sample_world.people import Role, people_of
from trace_data.sample_world.render import jpeg
from trace_data.sample_world.scene import SYNTHETIC, Image, Scene, draw_scene, render_scene

Array = npt.NDArray[np.float64]

FOLDER = "EMDB"
NAMES = {
    "P0_09_outdoor_walk": "2", "P6_49_outdoor_big_stairs_down": "12", "P1_14_outdoor_climb": "1", "P2_99_synthetic": "",
    "P2_19_indoor_walk_off_mvs": "2", "P2_20_outdoor_walk": "2", "P2_23_outdoor_hug_tree": "1",
    "P2_24_outdoor_long_walk": "2", "P3_27_indoor_walk_off_mvs": "2", "P3_28_outdoor_walk_lunges": "2",
    "P3_29_outdoor_stairs_up": "2", "P3_30_outdoor_stairs_down": "2", "P3_31_outdoor_workout": "1",
    "P3_32_outdoor_soccer_warmup_a": "1", "P3_33_outdoor_soccer_warmup_b": "1", "P4_35_indoor_walk": "2",
    "P4_36_outdoor_long_walk": "2", "P4_37_outdoor_run_circle": "2", "P5_40_indoor_walk_big_circle": "2",
    "P5_42_indoor_dancing": "1", "P5_44_indoor_rom": "1", "P6_48_outdoor_walk_downhill": "2",
    "P6_50_outdoor_workout": "1", "P6_51_outdoor_dancing": "1", "P7_55_outdoor_walk": "2",
    "P7_56_outdoor_stairs_up_down": "2", "P7_57_outdoor_rock_chair": "12", "P7_58_outdoor_parcours": "2",
    "P7_59_outdoor_rom": "1", "P7_60_outdoor_workout": "1", "P7_61_outdoor_sit_lie_walk": "2",
    "P8_64_outdoor_skateboard": "12", "P8_65_outdoor_walk_straight": "2", "P8_68_outdoor_handstand": "1",
    "P8_69_outdoor_cartwheel": "1", "P9_76_outdoor_sitting": "1", "P9_77_outdoor_stairs_up": "2",
    "P9_78_outdoor_stairs_up_down": "2", "P9_79_outdoor_walk_rectangle": "2", "P9_80_outdoor_walk_big_circle": "2",
}  # fmt: skip
"""The sequences, and which of EMDB-1 and EMDB-2 each belongs to; a small world has the first ones. `P2_99_synthetic` is
of neither, as most of the release are."""
LAST = "P0/09_outdoor_walk/P0_09_outdoor_walk_data.pkl"
"""The file that is written last."""
HALF = ("P0_09_outdoor_walk",)
"""Sequences with frames of half the size, as in the release."""
NEUTRAL = ("P2",)
"""Participants whose body is the neutral one."""
ASPECT = 3 / 4
"""Width over height: a phone that is held upright."""
WALL = (96, 104, 112)
"""Colour of what people hide behind, BGR."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmdbTake:
    """One sequence of n frames, before it is written."""

    name: str
    scene: Scene
    """The first of its people is annotated; a second one passes by."""
    good: npt.NDArray[np.bool_]
    """(n,) False where the first is hidden entirely."""
    phone_from_world: Array
    """(4, 4) from the sample world to that of the phone."""

    @property
    def folder(self) -> str:
        """Below the dataset's."""
        participant, _, name = self.name.partition("_")
        return f"{participant}/{name}"

    def pictures(self) -> Iterator[Image]:
        """The frames, BGR."""
        pixels = self.scene.camera.pixels(self.scene.performances[0].points)[0]
        for (image, _), points, good in zip(render_scene(self.scene), pixels, self.good):
            if not good:  # a wall from the floor to the sky, wider than the person
                left, right = np.clip([points[:, 0].min() - 2, points[:, 0].max() + 3], 0, image.shape[1]).astype(int)
                image[:, left:right] = WALL
            yield image


def roles(count: int) -> list[Role]:
    """The people of the first `count` sequences: each participant is one person, and in every third somebody else
    passes by. They are of the test split, like the release."""
    people = people_of("test")
    return [
        Role("test", (people[int(name[1])], *([people[10 + order % 4]] if order % 3 == 0 else [])))
        for order, name in enumerate(list(NAMES)[:count])
    ]


def draw_takes(seed: int, sequences: Sequence[tuple[int, Role]], frames: int, height: int) -> Iterator[EmdbTake]:
    """The sequences. `height`: short side of the frames, px."""
    for order, ((index, role), name) in enumerate(zip(sequences, NAMES)):
        short = height // 2 if name in HALF else height
        neutral = name.startswith(NEUTRAL)
        scene = draw_scene(seed, index, role, frames, 2 * round(short / ASPECT / 2), neutral=neutral, aspect=ASPECT)
        good = np.ones(frames, bool)
        if order % 2 == 1 and frames >= 4:
            good[frames // 2 : frames // 2 + max(1, frames // 8)] = False
        rng = np.random.default_rng([seed, 9, index])
        phone_from_world = np.eye(4)
        phone_from_world[:3, :3] = matrix_from_axis_angle(np.array([0.0, rng.uniform(-np.pi, np.pi), 0.0]))
        phone_from_world[:3, 3] = rng.uniform(-3, 3, 3)
        yield EmdbTake(name=name, scene=scene, good=good, phone_from_world=phone_from_world)


def write_emdb(
    folder: Path,
    seed: int,
    sequences: Sequence[tuple[int, Role]],
    frames: int,
    height: int,
    progress: Progress = SILENT,
) -> None:
    """Draw the sequences of the world into the EMDB folder, the first one last, see `draw_takes`.

    Each annotation is written after its images, atomically; sequences that have one are kept.
    """
    for take in reversed(list(draw_takes(seed, sequences, frames, height))):
        target = folder / take.folder / f"{take.name}_data.pkl"
        if not target.exists():
            pictures = folder / take.folder / "images"
            pictures.mkdir(parents=True, exist_ok=True)
            for frame, image in enumerate(take.pictures()):
                (pictures / f"{frame:05d}.jpg").write_bytes(jpeg(image))
            with atomic_write(target) as partial:
                partial.write_bytes(pickle.dumps(annotation(take), protocol=4))
        progress.advance()


def annotation(take: EmdbTake) -> dict[str, Any]:
    """The dictionary of a sequence file."""
    camera, performance = take.scene.camera, take.scene.performances[0]
    frames, turn, shift = len(take.good), take.phone_from_world[:3, :3], take.phone_from_world[:3, 3]
    pose, betas = performance.motion.pose[::2].reshape(frames, 24, 3), performance.person.betas
    pelvis = performance.joints[:, 0] @ turn.T + shift
    points = camera.pixels(performance.joints)[0]
    boxes = np.concatenate([points.min(axis=1), points.max(axis=1)], axis=1)
    width, height = camera.size
    return {
        "gender": performance.person.gender,
        "name": take.name,
        "emdb1": "1" in NAMES[take.name],
        "emdb2": "2" in NAMES[take.name],
        "n_frames": frames,
        "good_frames_mask": take.good,
        "camera": {
            "intrinsics": camera.intrinsics,
            "extrinsics": camera.camera_from_world @ np.linalg.inv(take.phone_from_world),
            "width": width,
            "height": height,
        },
        "smpl": {
            "poses_root": axis_angle_from_matrix(turn @ matrix_from_axis_angle(pose[:, 0])).astype(np.float32),
            "poses_body": pose[:, 1:].reshape(frames, 69).astype(np.float32),
            "trans": (pelvis - performance.rest_pelvis()).astype(np.float32),
            "betas": betas.astype(np.float32),
        },
        "kp2d": points.astype(np.float32),
        "bboxes": {"bboxes": boxes.astype(np.float32), "invalid_idxs": np.flatnonzero(~take.good)},
        "synthetic": SYNTHETIC,
    }
