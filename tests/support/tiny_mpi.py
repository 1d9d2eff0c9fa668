"""MPI-INF-3DHP folders of a few small frames, written with scipy, h5py, numpy and cv2 alone.

A person of random joints stands in a room of 14 fixed cameras. Frame f of every camera is grey of value 20 + 20 f.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import scipy.io
from standing_figure import standing

SIZE = 96
FRAMES = 8
Change = Callable[[dict[str, Any]], Any]


def unchanged(content: dict[str, Any]) -> None:
    """The change that is none."""


def room(seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Intrinsics (3, 3) and camera_from_world (4, 4) in millimetres of 14 cameras on a circle about the origin."""
    rng = np.random.default_rng(seed)
    cameras = []
    for angle in np.arange(14) * 2 * np.pi / 14 + rng.uniform(0, 3):
        down = rng.uniform(0.05, 0.3)
        z = np.array([-np.sin(angle) * np.cos(down), -np.sin(down), -np.cos(angle) * np.cos(down)])
        x = np.cross(z, [0.0, 1, 0]) / np.cos(down)
        rotation = np.stack([x, np.cross(z, x), z])
        place = -rng.uniform(3.5, 4.5) * z
        extrinsics = np.eye(4)
        extrinsics[:3, :3], extrinsics[:3, 3] = rotation, -1000 * rotation @ place
        focal, centre = rng.uniform(100, 120), SIZE / 2 + rng.uniform(-3, 3, 2)
        cameras.append((np.array([[focal, 0, centre[0]], [0, focal, centre[1]], [0, 0, 1]]), extrinsics))
    return cameras


def joints(count: int, seed: int, frames: int = FRAMES) -> np.ndarray:
    """(frames, count, 3) metres of the world."""
    rng = np.random.default_rng([seed, 5])
    skeleton = rng.uniform(-0.8, 0.8, (1, count, 3))
    for left, right in ((9, 14), (18, 23)) if count == 28 else ((5, 2), (11, 8)):
        # shoulders and hips agree about where left is
        skeleton[:, left, 0], skeleton[:, right, 0] = abs(skeleton[:, left, 0]), -abs(skeleton[:, right, 0])
    legs = ["Hip", "Knee", "Ankle", "SmallToe", "BigToe"][: 5 if count == 28 else 3]  # knees bend forwards
    names = [f"{side}_{leg}" for side in ("LR" if count == 28 else "RL") for leg in legs]
    first = 18 if count == 28 else 8
    skeleton[:, first : first + len(names)] = standing(names, 1) + np.array([0, 0.9, 0])
    return skeleton + rng.uniform(-0.02, 0.02, (frames, 1, 3))


def seen(camera: tuple[np.ndarray, np.ndarray], world: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixels, and millimetres of camera axes, of world metres."""
    intrinsics, extrinsics = camera
    inside = 1000 * world @ extrinsics[:3, :3].T + extrinsics[:3, 3]
    image = inside @ intrinsics.T
    return image[..., :2] / image[..., 2:], inside


def grey(frame: int, size: int = SIZE) -> np.ndarray:
    return np.full((size, size, 3), 20 + 20 * frame, np.uint8)


def images(folder: Path, name: str, numbers: Sequence[int], first: int, size: int = SIZE) -> None:
    """Image `number` shows frame `number - first`."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        cv2.imwrite(str(folder / name.format(number)), grey(number - first, size))


def video(file: Path, frames: int, size: int = SIZE) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    out = cv2.VideoWriter(str(file), cv2.VideoWriter.fourcc(*"MJPG"), 25.0, (size, size))
    for frame in range(frames):
        out.write(grey(frame, size))
    out.release()


def recording(subject: int, sequence: int, frames: int = FRAMES) -> dict[str, Any]:
    """What a recording's two files are made of, to be changed before they are written."""
    seed = 10 * subject + sequence
    world, cameras = joints(28, seed, frames), room(seed)
    both = [seen(camera, world) for camera in cameras]
    return {
        "world": world,
        "annot2": [points.reshape(frames, 56) for points, _ in both],
        "annot3": [millimetres.reshape(frames, 84) for _, millimetres in both],
        "cameras": np.arange(14, dtype=np.uint8)[None],
        "frames": np.arange(frames)[:, None],
        "intrinsics": [camera[0].copy() for camera in cameras],
        "extrinsics": [camera[1].copy() for camera in cameras],
        "size": SIZE,
    }


def official(
    root: Path,
    recordings: Sequence[tuple[int, int]] = ((1, 1), (1, 2), (8, 2)),
    cameras: Sequence[int] = (0, 2),
    *,
    extracted: bool = False,
    changed: tuple[int, int] = (1, 1),
    change: Change = unchanged,
    name: str = "mpi_inf_3dhp",
    frames: int = FRAMES,
) -> Path:
    """The training release; `change` is made to the content of one recording. Returns the dataset's folder."""
    for subject, sequence in recordings:
        content = recording(subject, sequence, frames)
        if (subject, sequence) == changed:
            change(content)
        folder = root / name / f"S{subject}" / f"Seq{sequence}"
        write_recording(folder, content)
        for camera in cameras:
            if extracted:
                place = folder / "imageFrames" / f"video_{camera}"
                images(place, "frame_{:06d}.jpg", range(1, frames + 1), first=1)
            else:
                video(folder / "imageSequence" / f"video_{camera}.avi", frames)
    return root / name


def write_recording(folder: Path, content: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    matrices: dict[str, Any] = {key: content[key] for key in ("cameras", "frames")}
    for key in ("annot2", "annot3"):
        cell = np.empty((len(content[key]), 1), object)
        for place, array in enumerate(content[key]):
            cell[place, 0] = array
        matrices |= {key: cell, "univ_annot3": cell}
    scipy.io.savemat(folder / "annot.mat", matrices)
    text = "Skeletool Camera Calibration File V1.0\n"
    for camera, (intrinsics, extrinsics) in enumerate(zip(content["intrinsics"], content["extrinsics"])):
        square = np.eye(4)
        square[:3, :3] = intrinsics
        text += f"name          {camera}\n  sensor      10 10\n  size        {content['size']} {content['size']}\n"
        text += f"  animated    0\n  intrinsic   {' '.join(map(str, square.ravel().tolist()))} \n"
        text += f"  extrinsic   {' '.join(map(str, extrinsics.ravel().tolist()))} \n  radial      0\n"
    (folder / "camera.calibration").write_text(text)


def test_subject(number: int) -> dict[str, Any]:
    """What a test subject's file is made of: frames 0 and 3 are not annotated."""
    camera = room(100 + number)[0]
    valid = np.isin(np.arange(FRAMES), [0, 3], invert=True)
    points, millimetres = seen(camera, joints(17, 100 + number))
    return {
        "camera": camera,
        "annot2": np.where(valid[:, None, None], points, 0.0)[:, None],
        "annot3": np.where(valid[:, None, None], millimetres, 0.0)[:, None],
        "valid_frame": valid[:, None].astype(float),
    }


def test_set(
    folder: Path, *, numbers: Sequence[int] = (1, 5), packed: bool = False, change: Change = unchanged
) -> Path:
    """The test set, official or packed; `change` is made to TS1."""
    annots: dict[str, Any] = {}
    for number in numbers:
        content = test_subject(number)
        if number == 1:
            change(content)
        place = folder / f"TS{number}"
        images(place / "imageSequence", "img_{:06d}.jpg", range(1, FRAMES + 1), first=1)
        if packed:
            for frame in np.flatnonzero(content["valid_frame"]):
                annots[f"TS{number}/imageSequence/img_{frame + 1:06d}.jpg"] = {
                    "kp2d": content["annot2"][frame, 0],
                    "kp3d": content["annot3"][frame, 0] / 1000,
                    "univ_kp3d": content["annot3"][frame, 0] / 1100,
                }
        else:
            with h5py.File(place / "annot_data.mat", "w") as file:
                for key in ("annot2", "annot3", "valid_frame"):
                    if content.get(key) is not None:
                        file[key] = content[key]
    if packed:
        np.savez(folder / "annots.npz", annots=annots, frame_info={"TS1": [1]})  # type: ignore[arg-type]
    return folder


def packing(frames: Sequence[int] = range(FRAMES), cameras: Sequence[int] = (0, 2)) -> dict[str, Any]:
    """What the packed file is made of, for S1/Seq1 and S8/Seq2."""
    content: dict[str, Any] = {"annots": {}, "frame_info": {}, "cam_info": {}}
    for subject, sequence in ((1, 1), (8, 2)):
        made = recording(subject, sequence)
        for camera in cameras:
            name = f"S{subject}_Seq{sequence}_video_{camera}"
            k, e = made["intrinsics"][camera], made["extrinsics"][camera]
            content["cam_info"][name] = {
                "intrinsics": np.array([k[0, 0], k[1, 1], k[0, 2], k[1, 2]]),
                "extrinsics": [e[:3, :3], e[:3, 3] / 1000],
            }
            content["frame_info"][f"S{subject}/Seq{sequence}/imageSequence/video_{camera}.avi"] = list(frames)
            for frame in frames:
                content["annots"][f"{name}_F{frame:06d}.jpg"] = {
                    "kp2d": made["annot2"][camera][frame].reshape(28, 2),
                    "kp3d": made["annot3"][camera][frame].reshape(28, 3) / 1000,
                    "smpl_theta": np.zeros(66),
                    "smpl_beta": np.zeros(10),
                }
    return content


def packed(
    root: Path, *, change: Change = unchanged, frames: Sequence[int] = range(FRAMES), padded: bool = True
) -> Path:
    """The packed training layout; returns the dataset's folder."""
    folder = root / "mpi_inf_3dhp"
    content = packing(frames)
    for name in content["cam_info"]:
        images(folder / "video_frames" / name, name + ("_F{:06d}.jpg" if padded else "_F{}.jpg"), frames, first=0)
    change(content)
    np.savez(folder / "annots_video.npz", **content)
    return folder


def fits(file: Path, frames: Sequence[int], *, expressive: bool = False) -> dict[str, Any]:
    """A NeuralAnnot file about S1/Seq1, frames counted from 0; returns its fits."""
    rng = np.random.default_rng(3)
    made = {
        str(frame + 1): {"pose": rng.normal(0, 0.3, 72).tolist(), "shape": rng.normal(0, 1, 10).tolist(),
                         "trans": rng.normal(0, 0.2, 3).tolist()}
        for frame in frames
    }  # fmt: skip
    if expressive:
        for fit in made.values():
            fit["root_pose"], fit["body_pose"] = fit["pose"][:3], fit.pop("pose")[3:66]
    file.write_text(json.dumps({"1": {"1": made}}))
    return made
