"""Scenes of the sample world as files of RICH's release (docs/reference/further-datasets.md#rich-files).

Everything is in the frame of camera 0, which leans a little; calibrations are those of pictures in full size, whatever
size is drawn. Bodies are written as those of another model, whose pelvis is elsewhere at rest.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from trace_data.files import atomic_write
from trace_data.geometry import axis_angle_from_matrix, matrix_from_axis_angle
from trace_data.progress import SILENT, Progress
from trace_data.sample_world.cameras import PinholeCamera, draw_camera
from trace_data.sample_world.people import Role, people_of
from trace_data.sample_world.people import Split as Part
from trace_data.sample_world.render import jpeg
from trace_data.sample_world.scene import (
    SYNTHETIC,
    Image,
    Scene,
    before_camera,
    draw_scene,
    render_scene,
)

Array = npt.NDArray[np.float64]

FOLDER = "RICH"
FULL = (4112, 3008)
"""Width and height of the release's pictures, px."""
VIEWS = 2
"""Calibrated cameras of a sequence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Name:
    """One sequence of the release."""

    split: str
    capture: str
    subjects: tuple[int, ...]
    action: str
    cameras: tuple[int, int]
    first: int
    """Number of its first frame."""

    def __str__(self) -> str:
        return "_".join([self.capture, *(f"{subject:03d}" for subject in self.subjects), self.action])


NAMES = (
    Name(split="test", capture="ParkingLot2", subjects=(17,), action="burpeejump1", cameras=(0, 1), first=46),
    Name(split="train", capture="Pavallion", subjects=(3, 18), action="tossball", cameras=(0, 3), first=1),
    Name(split="val", capture="BBQ", subjects=(13,), action="guitar", cameras=(0, 4), first=7),
    Name(split="test", capture="LectureHall", subjects=(9, 21), action="reparingprojector1", cameras=(0, 2), first=1),
    Name(split="train", capture="ParkingLot1", subjects=(2,), action="burpee3", cameras=(0, 5), first=1),
    Name(split="train", capture="Gym", subjects=(10,), action="pushup", cameras=(0, 1), first=12),
)
"""As many as there are captures, since the cameras of one never move."""
PEOPLE = {17: 1, 9: 3, 21: 5, 3: 0, 18: 1, 2: 2, 10: 3, 13: 1}
"""Who plays a subject: the person of its split, of the same sex."""
PORTRAIT = (("Pavallion", 3),)
"""Cameras that lie on their side."""
CARRIED, CARRIED_IN = 10, "ParkingLot2"
"""The camera without calibration, and where there is one."""
LAST = "scan_calibration/ParkingLot2/calibration/000.xml"
"""The file that is written last."""
PELVIS = np.array([0.003, -0.351, 0.012])
"""Metres: the pelvis at rest of the other model, of a middling shape."""
LENSES = (
    np.array([-0.06, 0.09, 0.0006, -0.0004, -0.02]), np.array([-0.05, 0.04, -0.0005, 0.0008]), np.zeros(5),
    np.array([-0.08, 0.1, 0.0, 0.0005, 0.01]),
)  # fmt: skip
"""Coefficients of cameras, in turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RichTake:
    """One view of a sequence, before it is written."""

    name: Name
    camera: int
    scene: Scene
    """Before this camera, without what its lens bends."""
    lens: Array
    """Coefficients k1, k2, p1, p2 and mostly k3."""
    rig_from_world: Array
    """(4, 4) from the sample world to camera 0."""
    fitted: npt.NDArray[np.bool_]
    """(P, T) who has a body in a frame."""

    @property
    def numbers(self) -> range:
        """Of the frames."""
        return range(self.name.first, self.name.first + self.fitted.shape[1])

    @property
    def full_intrinsics(self) -> Array:
        """(3, 3) of pictures in full size."""
        width, height = self.scene.camera.size
        full = FULL if width > height else FULL[::-1]
        larger = np.eye(3)
        for axis, length in enumerate((width, height)):
            factor = full[axis] / length
            larger[axis, axis], larger[axis, 2] = factor, (factor - 1) / 2
        return larger @ self.scene.camera.intrinsics

    def pictures(self) -> Iterator[Image]:
        """The frames as the lens bends them, BGR."""
        width, height = self.scene.camera.size
        grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).reshape(-1, 1, 2).astype(np.float64)
        matrix = self.scene.camera.intrinsics
        straight = cv2.undistortPoints(grid, matrix, self.lens, P=matrix).reshape(height, width, 2).astype(np.float32)
        for image, _ in render_scene(self.scene):
            bent = cv2.remap(image, straight, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload]
            yield np.asarray(bent, np.uint8)


def roles(count: int) -> list[Role]:
    """The people of the first `count` views, as far as there are names: those of a sequence have the same."""
    return [_role(name) for name in NAMES for _ in range(VIEWS)][: count - count % VIEWS]


def _role(name: Name) -> Role:
    splits: dict[str, Part] = {"train": "train", "val": "validation", "test": "test"}
    people = people_of(splits[name.split])
    return Role(splits[name.split], tuple(people[PEOPLE[subject]] for subject in name.subjects))


def draw_takes(seed: int, views: Sequence[tuple[int, Role]], frames: int, height: int) -> Iterator[RichTake]:
    """The views, in the order of `roles`. `height`: short side of the pictures, px."""
    short, long = height, round(height * FULL[0] / FULL[1])
    for order, name in enumerate(NAMES[: len(views) // VIEWS]):
        index, role = views[VIEWS * order]
        drawn = draw_scene(seed, index, role, frames, 2 * round(long / 2 + 0.5), shot="fixed")
        joints = np.stack([performance.joints for performance in drawn.performances])
        fitted = np.ones(joints.shape[:2], bool)
        if frames >= 4:
            fitted[-1, frames // 2] = False
        rig: Array | None = None
        for number, camera in enumerate(name.cameras):
            rng = np.random.default_rng([seed, 11, index, number])
            azimuth = drawn.azimuth + number * rng.choice([-1, 1]) * rng.uniform(0.5, 1.2)
            size = (short, long) if (name.capture, camera) in PORTRAIT else (long, short)
            found = draw_camera(rng, np.arange(frames) / 30, joints, size, azimuth, "fixed")
            beside = np.array([[0, 0, 0.01 * long], [0, 0.2, -0.01 * short], [0, 0, 0]])
            found = replace(found, intrinsics=found.intrinsics + beside)
            rig = found.camera_from_world[0] if rig is None else rig
            yield RichTake(
                name=name,
                camera=camera,
                scene=before_camera(drawn, seed, index + number, found, azimuth),
                lens=LENSES[(VIEWS * order + number) % len(LENSES)],
                rig_from_world=rig,
                fitted=fitted,
            )


def write_rich(
    folder: Path,
    seed: int,
    views: Sequence[tuple[int, Role]],
    frames: int,
    height: int,
    progress: Progress = SILENT,
    *,
    raw: bool = False,
) -> None:
    """Draw the views of the world into the RICH folder, the first one last, see `draw_takes`.

    `raw`: in the tree of the archives, not in that of the makers' tools. The calibration of a view is written last,
    atomically; views that have one are kept.
    """
    for take in reversed(list(draw_takes(seed, views, frames, height))):
        split, name, camera = take.name.split, str(take.name), take.camera
        calibration = folder / "scan_calibration" / take.name.capture / "calibration" / f"{camera:03d}.xml"
        if not calibration.exists():
            images = folder / split / name if raw else folder / "data" / "images" / split / name
            _write_images(images / f"cam_{camera:02d}", take, camera)
            if take.name.capture == CARRIED_IN and camera == 0:
                _write_images(images / f"cam_{CARRIED:02d}", take, CARRIED)
            bodies = folder / f"{split}_body" / name if raw else folder / "data" / "bodies" / split / name
            _write_bodies(bodies, take)
            calibration.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(calibration) as partial:
                partial.write_text(_xml(take), encoding="utf-8")
        progress.advance()


def _write_images(folder: Path, take: RichTake, camera: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, image in zip(take.numbers, take.pictures()):
        (folder / f"{number:05d}_{camera:02d}.jpeg").write_bytes(jpeg(image))


def _write_bodies(folder: Path, take: RichTake) -> None:
    turn, shift = take.rig_from_world[:3, :3], take.rig_from_world[:3, 3]
    for subject, performance, fitted in zip(take.name.subjects, take.scene.performances, take.fitted):
        pose = performance.motion.pose[::2].reshape(-1, 24, 3)
        root = axis_angle_from_matrix(turn @ matrix_from_axis_angle(pose[:, 0]))
        translation = performance.joints[:, 0] @ turn.T + shift - performance.rest_pelvis_of_another_model(PELVIS)
        for frame in np.flatnonzero(fitted):
            content: dict[str, Any] = {
                "transl": translation[frame], "global_orient": root[frame], "body_pose": pose[frame, 1:22].reshape(63),
                "betas": np.zeros(10), "left_hand_pose": np.zeros(12), "right_hand_pose": np.zeros(12),
                "jaw_pose": np.zeros(3), "leye_pose": np.zeros(3), "reye_pose": np.zeros(3), "expression": np.zeros(10),
            }  # fmt: skip
            content = {key: values[None].astype(np.float32) for key, values in content.items()}
            file = folder / f"{take.numbers[frame]:05d}" / f"{subject:03d}.pkl"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(pickle.dumps(content, protocol=4))


def camera_from_rig(take: RichTake) -> Array:
    """(4, 4)."""
    camera: PinholeCamera = take.scene.camera
    found: Array = camera.camera_from_world[0] @ np.linalg.inv(take.rig_from_world)
    return found


def _xml(take: RichTake) -> str:
    """As OpenCV stores matrices."""
    matrices = {
        "CameraMatrix": camera_from_rig(take)[:3], "Intrinsics": take.full_intrinsics, "Distortion": take.lens[:, None],
    }  # fmt: skip
    parts = "\n".join(
        f'<{name} type_id="opencv-matrix">\n  <rows>{len(values)}</rows>\n  <cols>{values.shape[1]}</cols>\n'
        f"  <dt>d</dt>\n  <data>\n    {' '.join(f'{value:.17g}' for value in values.flat)}</data></{name}>"
        for name, values in matrices.items()
    )
    note = f'<synthetic>"{SYNTHETIC}"</synthetic>'
    return f'<?xml version="1.0"?>\n<opencv_storage>\n{parts}\n{note}\n</opencv_storage>\n'
