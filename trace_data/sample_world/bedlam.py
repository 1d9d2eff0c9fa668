"""Scenes of the sample world as files of BEDLAM's release (docs/reference/further-datasets.md#bedlam-archives).

Everything is written in the axes of the renderer, from which the release's files come: X forward, Y right, Z up,
centimetres, left-handed; turning right, looking up and leaning right are positive. The stage is the sample world with
its -z ahead.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from trace_data.files import atomic_write
from trace_data.geometry import axis_angle_from_matrix, matrix_from_axis_angle
from trace_data.progress import SILENT, Progress
from trace_data.sample_world.cameras import Shot
from trace_data.sample_world.people import Role
from trace_data.sample_world.render import write_video
from trace_data.sample_world.scene import SYNTHETIC, Image, Performance, Scene, draw_scene, render_scene

Array = npt.NDArray[np.float64]
Kind = Literal["orbit", "closeup", "zoom", "static", "dolly"]

FOLDER = "BEDLAM"
SCENES: dict[str, dict[str, Kind]] = {
    "train": {
        "20221013_3_250_batch01hand_orbit_bigOffice": "orbit",
        "20221011_1_250_batch01hand_closeup_suburb_a": "closeup",
        "20221020_3-8_250_highbmihand_zoom_highSchoolGym_a": "zoom",
        "20221013_3_250_batch01hand_static_bigOffice": "static",
    },
    "validation": {
        "20221018_3_250_batch01hand_orbit_archVizUI3_time15": "orbit",
        "20221018_1_250_batch01hand_zoom_suburb_b": "zoom",
    },
}
"""Scenes by split, and what their cameras do; the sequences of a split are dealt to them in turn."""
LAST = f"{next(iter(SCENES['train']))}/be_seq.csv"
"""The file that is written last."""
SHOTS: dict[Kind, Shot] = {
    "orbit": "handheld", "closeup": "fixed", "zoom": "fixed", "static": "fixed", "dolly": "handheld",
}  # fmt: skip
ZOOM = 1.15
"""Focal length in the last frame over the first's."""
SENSOR_MM = 36.0
RATIO = 16 / 9
LEAD = 3
"""Rows of every second motion before the one that frame 0 shows."""
STAGE_FROM_WORLD = np.array([[0.0, 0.0, -1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
"""Forward is -z, right is x, up is y."""
STAGE_FROM_MOTION = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
"""A body of yaw 0 has its left along X and looks along Y."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stand:
    """Where a person's motion is put on the stage."""

    place: Array
    """(3,) cm, axes of the renderer."""
    yaw: float
    """Degrees, to the right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BedlamTake:
    """One sequence, before it is written."""

    scene_name: str
    sequence: str
    kind: Kind
    scene: Scene
    """Its camera is that of upright frames, without zoom."""
    zoom: Array
    """(T,) by how much frames are enlarged about their middle."""
    stands: tuple[Stand, ...]
    """Of each person."""

    @property
    def intrinsics(self) -> Array:
        """(T, 3, 3) of the enlarged frames."""
        found = np.tile(self.scene.camera.intrinsics, (len(self.zoom), 1, 1))
        found[:, (0, 1), (0, 1)] *= self.zoom[:, None]
        return found

    def pictures(self) -> Iterator[Image]:
        """The frames, BGR."""
        width, height = self.scene.camera.size
        for (image, _), factor in zip(render_scene(self.scene), self.zoom):
            shift = (1 - factor) * np.array([width - 1, height - 1]) / 2
            matrix = np.array([[factor, 0, shift[0]], [0, factor, shift[1]]])
            yield image if factor == 1 else np.asarray(cv2.warpAffine(image, matrix, (width, height)), np.uint8)


def draw_takes(
    seed: int,
    roles: Sequence[tuple[int, Role]],
    frames: int,
    height: int,
    longer: int = 0,
    scenes_of: Mapping[str, Mapping[str, Kind]] = SCENES,
) -> Iterator[BedlamTake]:
    """The sequences. `height`: short side of the frames, px; `longer`: by so many frames is the second sequence of a
    scene longer than the first, the third than the second, and so on; `scenes_of`: names of scenes by split."""
    drawn: defaultdict[str, int] = defaultdict(int)
    for index, role in roles:
        split = role.split if role.split in scenes_of else "validation"
        number, scenes = drawn[split], list(scenes_of[split].items())
        drawn[split] += 1
        name, kind = scenes[number % len(scenes)]
        count = frames + longer * (number // len(scenes))
        short, long = 2 * round(height / 2), 2 * round(height * RATIO / 2)
        scene = draw_scene(
            seed,
            index,
            role,
            count,
            long if kind == "closeup" else short,
            shot=SHOTS[kind],
            neutral=True,
            aspect=short / long if kind == "closeup" else long / short,
        )
        zoom = np.linspace(1, ZOOM, count) if kind in ("zoom", "dolly") else np.ones(count)
        sequence = f"seq_{number // len(scenes):06d}"
        stands = tuple(_stands(scene, np.random.default_rng([seed, 7])))
        yield BedlamTake(scene_name=name, sequence=sequence, kind=kind, scene=scene, zoom=zoom, stands=stands)


def _stands(scene: Scene, rng: np.random.Generator) -> Iterator[Stand]:
    for performance in scene.performances:
        yaw = round(float(rng.uniform(-180, 180)), 3)
        place = 100 * STAGE_FROM_WORLD @ (performance.joints[0, 0] * [1, 0, 1]) + rng.uniform(-50, 50, 3)
        yield Stand(place=np.round(place, 3), yaw=yaw)


def write_bedlam(
    folder: Path,
    seed: int,
    roles: Sequence[tuple[int, Role]],
    frames: int,
    height: int,
    longer: int = 0,
    progress: Progress = SILENT,
) -> None:
    """Draw the sequences `roles` of the world into the BEDLAM folder, see `draw_takes`.

    Existing videos are complete and kept; the descriptions of scenes are written last, atomically.
    """

    def motion(performance: Performance, stand: Stand, start: int, animation: str) -> str:
        subject = subject_of(performance)
        _write_motion(folder / "smpl_ground_truth" / subject / animation / "motion_seq.npz", performance, stand, start)
        return f"{subject}_{animation}"

    takes = draw_takes(seed, roles, frames, height, longer)
    write_scenes(folder, takes, ("ground_truth", "camera"), motion, progress)


def write_scenes(
    folder: Path,
    takes: Iterable[BedlamTake],
    cameras: tuple[str, str],
    motion: Callable[[Performance, Stand, int, str], str],
    progress: Progress = SILENT,
) -> None:
    """Videos, cameras below `cameras`, and descriptions of scenes. `motion` writes that of a person, from a row of
    frame 0 on, under the name of an animation, and returns what the description calls it."""
    groups: defaultdict[str, list[list[Any]]] = defaultdict(list)
    sizes: dict[str, tuple[int, int]] = {}
    for take in takes:
        place = folder / take.scene_name
        video = place / "mp4" / f"{take.sequence}.mp4"
        if not video.exists():
            write_video(video, take.pictures(), take.scene.camera.size, take.scene.fps)
        camera = place.joinpath(*cameras, f"{take.sequence}_camera.csv")
        write_table(camera, [CAMERA_COLUMNS, *camera_rows(take)])
        size = take.scene.camera.size
        sizes[take.scene_name] = (max(size), min(size))
        groups[take.scene_name] += _group(take, motion)
        progress.advance()
    for name, rows in reversed(groups.items()):
        width, height = sizes[name]  # readers take the size of the frames from the note
        note = ["Comment", "None", 0, 0, 0, 0, 0, 0, f"{SYNTHETIC};width={width};height={height}"]
        numbered = [[number, *row] for number, row in enumerate([note, *rows])]
        write_table(folder / name / "be_seq.csv", [BODY_COLUMNS, *numbered])


BODY_COLUMNS = ["Index", "Type", "Body", "X", "Y", "Z", "Yaw", "Pitch", "Roll", "Comment"]
CAMERA_COLUMNS = [
    "name", "x", "y", "z", "yaw", "pitch", "roll", "focal_length", "sensor_width", "sensor_height", "hfov",
]  # fmt: skip


def camera_rows(take: BedlamTake) -> Iterator[list[str]]:
    """A row for each frame. The camera of portrait frames leans on its right side."""
    pose, (width, height) = take.scene.camera.camera_from_world, take.scene.camera.size
    for frame, matrix in enumerate(pose):
        right, down, forward = matrix[:3, :3] @ STAGE_FROM_WORLD.T
        if take.kind == "closeup":
            right, down = down, -right
        place = -100 * STAGE_FROM_WORLD @ matrix[:3, :3].T @ matrix[:3, 3]
        yaw = np.degrees(np.arctan2(forward[1], forward[0]))
        pitch = np.degrees(np.arcsin(forward[2]))
        roll = np.degrees(np.arctan2(-right[2], -down[2]))
        lens = take.intrinsics[frame, 0, 0] / max(width, height)  # focal length over the sensor's width
        sensor = (SENSOR_MM, SENSOR_MM * min(width, height) / max(width, height))
        values = [*place, yaw, pitch, roll, lens * SENSOR_MM, *sensor, 2 * np.degrees(np.arctan(0.5 / lens))]
        yield [f"{take.sequence}_{frame:04d}.png", *(f"{value:.6f}" for value in values)]


def subject_of(performance: Performance) -> str:
    """The name of a person."""
    return f"rp_synthetic_posed_{performance.person.index:03d}"


def _group(take: BedlamTake, motion: Callable[[Performance, Stand, int, str], str]) -> list[list[Any]]:
    """The rows of a sequence in `be_seq.csv`; writes the motions of its people."""
    comment = f"sequence_name={take.sequence};frames={len(take.zoom)}"
    rows: list[list[Any]] = [["Group", "None", 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, comment]]
    for order, (performance, stand) in enumerate(zip(take.scene.performances, take.stands)):
        start = LEAD if order % 2 == 0 else 0
        body = motion(performance, stand, start, take.scene.name.rpartition("_")[2])
        comment = f"start_frame={start};texture_body=synthetic;texture_clothing=synthetic"
        rows.append(["Body", body, *stand.place.tolist(), stand.yaw, 0.0, 0.0, comment])
    return rows


def motion_rows(performance: Performance, stand: Stand, start: int) -> tuple[Array, Array]:
    """Pose (N, 72) and pelvis (N, 3), metres, of what moves as in the scene once it stands where it should: `start`
    rows before the scene begins, and one behind its end."""
    cosine, sine = np.cos(np.radians(stand.yaw)), np.sin(np.radians(stand.yaw))
    stage_from_body = np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]]) @ STAGE_FROM_MOTION
    motion_from_world = stage_from_body.T @ STAGE_FROM_WORLD
    pose = performance.motion.pose[::2].copy()
    pelvis = (performance.joints[:, 0] @ STAGE_FROM_WORLD.T - stand.place / 100) @ stage_from_body
    pose[:, 0] = axis_angle_from_matrix(motion_from_world @ matrix_from_axis_angle(pose[:, 0]))
    rows = np.concatenate([np.arange(start, 0, -1), np.arange(len(pose)), [len(pose) - 1]])  # some before and behind
    rows = np.minimum(rows, len(pose) - 1)
    return pose[rows].reshape(len(rows), 72), pelvis[rows]


def _write_motion(file: Path, performance: Performance, stand: Stand, start: int) -> None:
    pose, pelvis = motion_rows(performance, stand, start)
    write_arrays(
        file,
        poses=pose,
        global_ori=pose[:, :3],
        trans=pelvis - performance.rest_pelvis(),
        betas=np.append(performance.person.betas, 0.5).astype(np.float32),
        mocap_frame_rate=np.array(30),
        gender=np.array("neutral"),
        gender_sub=np.array("m" if performance.person.index % 2 == 0 else "f"),
        motion_info=np.array([SYNTHETIC]),
    )


def write_arrays(file: Path, **arrays: Any) -> None:
    """Write an .npz, atomically."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(file) as partial, partial.open("wb") as stream:
        np.savez(stream, **arrays)


def write_table(file: Path, rows: Sequence[Sequence[Any]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(file) as partial, partial.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows(rows)
