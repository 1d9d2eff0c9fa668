"""Scenes of the sample world as MPI-INF-3DHP: one person, several static cameras.

Facts: docs/reference/datasets.md#mpi-inf-3dhp, docs/reference/joints.md#mpi-inf-3dhp-joints. Files are written in the
form of the official release (videos, or images extracted from them, and its test set) or of the published packed files.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trace_data.progress import SILENT, Progress
from trace_data.sample_world import mpi_inf_3dhp_files as files
from trace_data.sample_world.people import PEOPLE, Role
from trace_data.sample_world.render import jpeg, write_video
from trace_data.sample_world.scene import Scene, all_joints, another_view, draw_scene, render_scene

Array = npt.NDArray[np.float64]
Image = npt.NDArray[np.uint8]

FOLDER, TEST_FOLDER = "mpi_inf_3dhp", "mpi_inf_3dhp_test_set"
AT_50 = ((1, 2), (3, 1), (3, 2), (5, 1), (5, 2))
"""Recordings at 50 fps; the others are at 25."""
ORDER_OF_CAMERAS = (0, 1, 2, 4, 5, 6, 7, 8, 3, 9, 10)
"""Order in which a recording's cameras are filled: first the chest-high ones, which most users download."""
ALL_CAMERAS = 14
TEST_SUBJECTS = 6
PLACES = [(subject, sequence) for sequence in (1, 2) for subject in range(1, 8)]
"""Subject and sequence of the training recordings, in the order in which they are filled."""

TRAINING_JOINTS = (9, (9, 12), 6, 3, 39, 12, 43, 38, 13, 16, 18, 20, 22, 14, 17, 19, 21, 23, 36, 4, 7, 30, 29, 35, 5,
                   8, 33, 32)  # fmt: skip
"""Index of the 44 for each of the 28 joints, or two whose midpoint it is."""
TEST_JOINTS = (38, 37, 17, 19, 21, 16, 18, 20, 35, 5, 8, 36, 4, 7, 39, 6, 43)
"""Index of the 44 for each of the test set's 17 joints."""


@dataclass(frozen=True, slots=True)
class MpiTake:
    """One recording of the training set."""

    subject: int
    sequence: int
    scenes: Mapping[int, Scene]
    """Scenes by number of the camera."""
    calibrations: Mapping[int, tuple[Array, Array]]
    """Intrinsics (3, 3) px and camera_from_world (4, 4) metres of all cameras, by number."""

    @property
    def world_joints(self) -> Array:
        """(T, 28, 3) metres."""
        return _chosen(next(iter(self.scenes.values())), TRAINING_JOINTS)


def draw_take(
    seed: int, index: int, role: Role, frames: int, height: int, *, subject: int, sequence: int, cameras: int
) -> MpiTake:
    """The first person of `role`, filmed by this many cameras around."""
    fps = 50.0 if (subject, sequence) in AT_50 else 25.0
    alone = replace(role, people=role.people[:1])
    first = draw_scene(seed, index, alone, frames, height, shot="fixed", fps=fps, neutral=True)
    scenes = {ORDER_OF_CAMERAS[0]: first}
    for place, number in enumerate(ORDER_OF_CAMERAS[1:cameras], start=1):
        scenes[number] = another_view(first, seed, 100 * index + number, 2 * np.pi * place / cameras)
    calibrations = {n: (s.camera.intrinsics, s.camera.camera_from_world[0]) for n, s in scenes.items()}
    middle = _chosen(first, TRAINING_JOINTS).mean((0, 1))
    for number in range(ALL_CAMERAS):  # the release calibrates and annotates all cameras
        if number not in calibrations:
            turned = calibrations[0][1] @ _turn(2 * np.pi * (number + 0.5) / ALL_CAMERAS, middle)
            calibrations[number] = (calibrations[0][0], turned)
    return MpiTake(subject, sequence, scenes, calibrations)


def _turn(angle: float, centre: Array) -> Array:
    """(4, 4) rotation about the upright axis through `centre`."""
    matrix = np.eye(4)
    matrix[0, 0] = matrix[2, 2] = np.cos(angle)
    matrix[0, 2], matrix[2, 0] = np.sin(angle), -np.sin(angle)
    matrix[:3, 3] = centre - matrix[:3, :3] @ centre
    return matrix


def _chosen(scene: Scene, sources: Sequence[int | tuple[int, int]]) -> Array:
    """(T, K, 3) points of the scene's person, world, metres."""
    joints, _ = all_joints(scene.performances[0])
    return np.stack([joints[:, list(np.atleast_1d(source))].mean(axis=1) for source in sources], axis=1)


def seen_by(calibration: tuple[Array, Array], world: Array) -> tuple[Array, Array]:
    """(T, K, 2) px and (T, K, 3) metres of camera axes of world points (T, K, 3)."""
    intrinsics, extrinsics = calibration
    camera = world @ extrinsics[:3, :3].T + extrinsics[:3, 3]
    image = camera @ intrinsics.T
    return image[..., :2] / image[..., 2:], camera


def write_official(folder: Path, take: MpiTake, *, extracted: bool = False) -> None:
    """Write a recording of the official release. Its annotation is written last and marks it complete.

    `extracted`: images numbered from 1 instead of videos.
    """
    place = folder / f"S{take.subject}" / f"Seq{take.sequence}"
    for number, scene in take.scenes.items():
        if extracted:
            images = place / "imageFrames" / f"video_{number}"
            _write_images(images, "frame_{:06d}.jpg", (image for image, _ in render_scene(scene)), first=1)
        else:
            write_video(
                place / "imageSequence" / f"video_{number}.avi",
                (image for image, _ in render_scene(scene)),
                scene.camera.size,
                scene.fps,
                codec="MJPG",
            )
    size = next(iter(take.scenes.values())).camera.size
    files.write_calibration(place / "camera.calibration", size, take.calibrations)
    world = take.world_joints
    seen = [seen_by(take.calibrations[number], world) for number in range(ALL_CAMERAS)]
    files.write_annotation(place / "annot.mat", [points for points, _ in seen], [joints for _, joints in seen])


def write_packed(folder: Path, takes: Sequence[MpiTake]) -> None:
    """Write the training set as packed by the published code: frames with all joints visible, and one file for all."""
    annots: dict[str, Any] = {}
    frame_info: dict[str, list[int]] = {}
    cam_info: dict[str, Any] = {}
    for take in takes:
        for number, scene in take.scenes.items():
            name = f"S{take.subject}_Seq{take.sequence}_video_{number}"
            points, joints = seen_by(take.calibrations[number], take.world_joints)
            inside = ((points >= 0) & (points < scene.camera.size)).all((1, 2))
            kept = np.flatnonzero(inside).tolist()
            for frame in kept:
                annots[f"{name}_F{frame:06d}.jpg"] = {
                    "kp2d": points[frame],
                    "kp3d": joints[frame],
                    "smpl_theta": np.zeros(66),
                    "smpl_beta": np.zeros(10),
                }
            frame_info[f"S{take.subject}/Seq{take.sequence}/imageSequence/video_{number}.avi"] = kept
            intrinsics, extrinsics = take.calibrations[number]
            cam_info[name] = {
                "intrinsics": np.array([intrinsics[0, 0], intrinsics[1, 1], intrinsics[0, 2], intrinsics[1, 2]]),
                "extrinsics": [extrinsics[:3, :3], extrinsics[:3, 3]],
            }
            pictures = [image for image, _ in render_scene(scene)]
            images = folder / "video_frames" / name
            for frame in kept:
                _write_images(images, f"{name}_F{{:06d}}.jpg", [pictures[frame]], first=frame)
    files.write_dictionaries(folder / "annots_video.npz", annots=annots, frame_info=frame_info, cam_info=cam_info)


def write_neural_annot(folder: Path, takes: Sequence[MpiTake], *, expressive: bool = False) -> None:
    """Write the bodies of all takes in NeuralAnnot's format: SMPL, or SMPL-X if `expressive`."""
    fits: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
    for take in takes:
        performance = next(iter(take.scenes.values())).performances[0]
        pose, shifts = performance.motion.pose[::2], performance.motion.translation[::2]
        frames = {}
        for frame, (rotations, shift) in enumerate(zip(pose.reshape(len(pose), 72), shifts), start=1):
            fit = {"shape": performance.person.betas.tolist(), "trans": shift.tolist()}
            parts = {"root_pose": rotations[:3], "body_pose": rotations[3:66]} if expressive else {"pose": rotations}
            frames[str(frame)] = {name: part.tolist() for name, part in parts.items()} | fit
        fits[str(take.subject)][str(take.sequence)] = frames
    files.write_json(folder / f"MPI-INF-3DHP_SMPL{'X' if expressive else ''}_NeuralAnnot.json", fits)


def write_test_subject(folder: Path, number: int, scene: Scene, *, packed: bool = False) -> dict[str, Any]:
    """Write a test subject, whose first frame is not annotated. Returns its part of the packed annotation."""
    images = folder / f"TS{number}" / "imageSequence"
    _write_images(images, "img_{:06d}.jpg", (image for image, _ in render_scene(scene)), first=1)
    calibration = scene.camera.intrinsics, scene.camera.camera_from_world[0]
    points, joints = seen_by(calibration, _chosen(scene, TEST_JOINTS))
    valid = np.arange(len(points)) > 0
    if not packed:
        files.write_test_annotation(folder / f"TS{number}" / "annot_data.mat", points, joints, valid)
    return {
        f"TS{number}/imageSequence/img_{frame + 1:06d}.jpg": {
            "kp2d": points[frame],
            "kp3d": joints[frame],
            "univ_kp3d": 0.95 * joints[frame],
        }
        for frame in np.flatnonzero(valid)
    }


def _write_images(folder: Path, name: str, images: Iterator[Image] | list[Image], first: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(images, start=first):
        (folder / name.format(number)).write_bytes(jpeg(image))


def write_mpi_inf_3dhp(
    folder: Path,
    seed: int,
    roles: Sequence[tuple[int, Role]],
    frames: int,
    height: int,
    progress: Progress = SILENT,
) -> None:
    """Write the official layout below `folder`/mpi_inf_3dhp: videos, the test set, and SMPL fits.

    Each role becomes one sequence, up to 14 recordings of 11 cameras for training, one for validation, and 6 test
    subjects. Further cameras of a recording show the person of its first role again. Complete recordings of an earlier
    call are kept; the fits are written last. `progress` counts roles.
    """
    root = folder / FOLDER
    of_split = _by_split(roles)
    recordings, takes = _recordings(of_split["train"], of_split["validation"]), []
    for (subject, sequence), group in recordings.items():
        (index, role), cameras = group[0], min(len(group), len(ORDER_OF_CAMERAS))
        role = replace(role, people=_actor(recordings, (subject, sequence)).people)
        take = draw_take(seed, index, role, frames, height, subject=subject, sequence=sequence, cameras=cameras)
        if not (root / f"S{subject}" / f"Seq{sequence}" / "annot.mat").exists():
            write_official(root, take)
        takes.append(take)
        progress.advance(len(take.scenes))
    for number, (index, role) in enumerate(of_split["test"][:TEST_SUBJECTS], start=1):
        if not (root / TEST_FOLDER / f"TS{number}" / "annot_data.mat").exists():
            alone = replace(role, people=role.people[:1])
            scene = draw_scene(seed, index, alone, frames, height, shot="fixed", fps=25.0, neutral=True)
            write_test_subject(root / TEST_FOLDER, number, scene)
        progress.advance()
    if takes:
        write_neural_annot(root, takes)


def actors(roles: Sequence[tuple[int, Role]]) -> set[int]:
    """The people who appear in the files of these roles."""
    of_split = _by_split(roles)
    recordings = _recordings(of_split["train"], of_split["validation"])
    shown = [_actor(recordings, place) for place in recordings] + [role for _, role in of_split["test"][:TEST_SUBJECTS]]
    return {role.people[0] for role in shown}


def performed(roles: Sequence[tuple[int, Role]]) -> set[int]:
    """The sequences, by index, in which somebody moves; the others are further cameras."""
    of_split = _by_split(roles)
    recordings = _recordings(of_split["train"], of_split["validation"])
    return {group[0][0] for group in recordings.values()} | {index for index, _ in of_split["test"][:TEST_SUBJECTS]}


def _by_split(roles: Sequence[tuple[int, Role]]) -> Mapping[str, list[tuple[int, Role]]]:
    roles_of: dict[str, list[tuple[int, Role]]] = {split: [] for split in PEOPLE}
    for index, role in roles:
        roles_of[role.split].append((index, role))
    return roles_of


def _actor(recordings: Mapping[tuple[int, int], list[tuple[int, Role]]], place: tuple[int, int]) -> Role:
    """The person in a recording, the same in both recordings of a subject."""
    return recordings.get((place[0], 1), recordings[place])[0][1]


def _recordings(
    training: list[tuple[int, Role]], validation: list[tuple[int, Role]]
) -> dict[tuple[int, int], list[tuple[int, Role]]]:
    """Subject and sequence to the roles of its cameras. S8 is in validation only."""
    recordings: dict[tuple[int, int], list[tuple[int, Role]]] = defaultdict(list)
    for number, entry in enumerate(training):
        recordings[PLACES[number % len(PLACES)]].append(entry)
    if validation:
        recordings[8, 2] = validation
    return dict(recordings)
