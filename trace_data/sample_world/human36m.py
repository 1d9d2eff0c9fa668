"""The sample world as Human3.6M: in the official layout, the widely used re-packaging, or TRACE's packed files.

Facts: docs/reference/datasets.md#human36m.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from trace_data.files import atomic_write
from trace_data.progress import SILENT, Progress
from trace_data.sample_world.human36m_clips import LENS, TITLES, Human36mClip, clip_title, draw_clips
from trace_data.sample_world.people import Role
from trace_data.sample_world.render import jpeg, write_video

Array = npt.NDArray[np.float64]
Layout = Literal["official", "repackaged", "packed"]

NOTE_TEXT = "SYNTHETIC: the sample world of the TRACE toolkit in the files of Human3.6M. No person was filmed.\n"
SERIALS = ("54138969", "55011271", "58860488", "60457274")
CDF_FLOAT = 44
SOURCE_32 = (
    39, 35, 5, 8, 11, 32, 36, 4, 7, 10, 29, 39, 41, 12, 42, 43, 12, 16, 18, 20, 22, 22, 20, 20, 12, 17, 19, 21, 23, 23,
    21, 21,
)  # fmt: skip
"""Index of the 44 for each of the release's 32 joints."""
SOURCE_17 = (39, 35, 5, 8, 36, 4, 7, 41, 12, 42, 43, 16, 18, 20, 17, 19, 21)
"""The same for the 17 joints of the JSON files."""


def write_human36m(
    folder: Path,
    seed: int,
    roles: Sequence[tuple[int, Role]],
    frames: int,
    height: int,
    progress: Progress = SILENT,
) -> None:
    """Draw scenes into a folder in the official layout, with bodies. A subject of the split plays each scene, filmed by
    two cameras. `progress` counts videos.

    Existing videos are complete and kept; `metadata.xml` is written last. Raises OSError, and ConfigError on too many
    scenes.
    """
    write_dataset(folder, "official", seed, roles, frames, height, progress=progress)


def write_dataset(
    folder: Path,
    layout: Layout,
    seed: int,
    roles: Sequence[tuple[int, Role]],
    frames: int,
    height: int,
    *,
    lens: tuple[float, ...] = LENS,
    progress: Progress = SILENT,
) -> None:
    """The same in any layout. `lens`: k1, k2, k3, p1, p2; ignored by the re-packaging."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "SYNTHETIC.txt").write_text(NOTE_TEXT, encoding="utf-8")
    fps = 10.0 if layout == "packed" else 50.0
    subjects = list(draw_clips(seed, roles, frames, height, fps, () if layout == "repackaged" else lens))
    if layout == "official":
        _write_official(folder, subjects, progress)
    elif layout == "repackaged":
        for clips in subjects:
            _write_repackaged(folder, clips)
    else:
        _write_packed(folder, subjects)


def _write_official(folder: Path, subjects: list[list[Human36mClip]], progress: Progress) -> None:
    for clips in subjects:
        for clip in clips:
            place = folder / f"S{clip.subject}"
            name = f"{clip.title}.{SERIALS[clip.view]}"
            world = clip.joints()[:, SOURCE_32]
            poses = place / "MyPoseFeatures"
            write_cdf(poses / "D2_Positions" / f"{name}.cdf", clip.pixels(world))
            write_cdf(poses / "D3_Positions_mono" / f"{name}.cdf", 1000 * clip.in_camera(world))
            write_cdf(poses / "D3_Positions" / f"{clip.title}.cdf", 1000 * world)
            video = place / "Videos" / f"{name}.mp4"
            if not video.exists():
                write_video(video, clip.pictures(), clip.scene.camera.size, clip.scene.fps)
            progress.advance()
        _write_json(_json_file(folder, clips[0].subject, "SMPL_NeuralAnnot"), _bodies(clips))
    with atomic_write(folder / "metadata.xml") as partial:
        partial.write_text(metadata([clip for clips in subjects for clip in clips]), encoding="utf-8")


def metadata(clips: Sequence[Human36mClip]) -> str:
    """The text of `metadata.xml`: titles of the clips, and their cameras."""
    extrinsic, intrinsic = np.zeros((4, 11, 6)), np.zeros((4, 9))
    extrinsic[..., 5] = 1000.0
    intrinsic[:, :4] = 1000.0, 1000.0, 500.0, 500.0
    for clip in clips:
        rotation, place = clip.extrinsics()
        extrinsic[clip.view, clip.subject - 1] = [*_angles(rotation), *(1000 * place)]
        k = clip.scene.camera.intrinsics
        intrinsic[clip.view] = [k[0, 0], k[1, 1], k[0, 2], k[1, 2], *clip.lens]
    rows = [["action", "subaction", *(f"S{subject}" for subject in range(1, 12))]]
    rows += [
        [str(action), str(subaction), *(clip_title(subject, action, subaction) for subject in range(1, 12))]
        for action in TITLES
        for subaction in (1, 2)
    ]
    table = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    numbers = " ".join(repr(float(value)) for value in [*extrinsic.ravel(), *intrinsic.ravel()])
    return f"<?xml version='1.0'?><metadata><mapping>{table}</mapping><w0>[{numbers}]</w0></metadata>\n"


def _angles(rotation: Array) -> tuple[float, float, float]:
    """Angles a, b, c of a rotation by c about z, then b about y, then a about x."""
    return (
        float(np.arctan2(-rotation[1, 2], rotation[2, 2])),
        float(np.arcsin(rotation[0, 2])),
        float(np.arctan2(-rotation[0, 1], rotation[0, 0])),
    )


def write_cdf(file: Path, points: Array) -> None:
    """`Pose` (1, T, K * D) of points (T, K, D), single precision as in the release."""
    from cdflib.cdfwrite import CDF

    file.parent.mkdir(parents=True, exist_ok=True)
    flat = points.reshape(1, len(points), -1).astype(np.float32)
    cdf = CDF(file, delete=True)
    cdf.write_var(
        {
            "Variable": "Pose",
            "Data_Type": CDF_FLOAT,
            "Num_Elements": 1,
            "Rec_Vary": True,
            "Dim_Sizes": list(flat.shape[1:]),
            "Compress": 0,  # compressed data contains the time of writing
        },
        var_data=flat,
    )
    cdf.close()


def _write_repackaged(folder: Path, clips: list[Human36mClip]) -> None:
    """One subject: image folders, then its four JSON files."""
    subject = clips[0].subject
    cameras: dict[str, Any] = {}
    joints: dict[str, Any] = {}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for clip in clips:
        name = f"s_{subject:02d}_act_{clip.action:02d}_subact_{clip.subaction:02d}_ca_{clip.view + 1:02d}"
        _write_images(folder / "images" / name, clip, [f"{name}_{n + 1:06d}.jpg" for n in range(len(clip.scene.cuts))])
        rotation, place = clip.extrinsics()
        k = clip.scene.camera.intrinsics
        cameras[str(clip.view + 1)] = {
            "R": rotation.tolist(),
            "t": (-1000 * rotation @ place).tolist(),
            "f": [k[0, 0], k[1, 1]],
            "c": [k[0, 2], k[1, 2]],
        }
        world = clip.joints()[:, SOURCE_17]
        pixels = clip.pixels(world)
        low, high = pixels.min(axis=1), pixels.max(axis=1)
        width, height = clip.scene.camera.size
        for n in range(len(world)):
            place_17 = joints.setdefault(str(clip.action), {}).setdefault(str(clip.subaction), {})
            place_17[str(n)] = (1000 * world[n]).tolist()
            number = len(images)
            file = f"{name}/{name}_{n + 1:06d}.jpg"
            images.append(
                {"id": number, "file_name": file, "width": width, "height": height, "subject": subject, "frame_idx": n}
            )
            size = 1.2 * (high[n] - low[n])
            box = [*((low[n] + high[n] - size) / 2), *size]
            annotations.append({"id": number, "image_id": number, "bbox": box, "keypoints_vis": [True] * 17})
    for kind, content in (
        ("camera", cameras),
        ("data", {"images": images, "annotations": annotations}),
        ("SMPL_NeuralAnnot", _bodies(clips)),
        ("joint_3d", joints),
    ):
        _write_json(_json_file(folder, subject, kind), content)


def _write_packed(folder: Path, subjects: list[list[Human36mClip]]) -> None:
    rng = np.random.default_rng(0)
    annotations: dict[str, dict[str, Array]] = {}
    betas: dict[str, Array] = {}
    for clip in (clip for clips in subjects for clip in clips):
        names = [f"S{clip.subject}_{clip.title}_{clip.view}_{n}.jpg" for n in range(len(clip.scene.cuts))]
        _write_images(folder / "images", clip, names)
        rotation, _ = clip.extrinsics()
        all_44, (pose, shape, translation) = clip.joints(), clip.body()
        pixels, mono = clip.pixels(all_44[:, SOURCE_32]), clip.in_camera(all_44[:, SOURCE_32])
        roots = np.stack([cv2.Rodrigues(rotation @ cv2.Rodrigues(row[:3])[0])[0].reshape(3) for row in pose])
        # the joints of a body at the origin, with its root rotation in camera axes
        part = clip.performance
        root = part.figure.body.pose(np.zeros((1, 24, 3)), part.person.betas[None], np.zeros((1, 3)))[1][0, 0]
        posed = (all_44 - root - translation[:, None]) @ rotation.T + root
        for n, name in enumerate(names):
            others = pose[n] + rng.normal(0, 0.3, (3, 72))  # candidates that readers ignore
            others[1] = pose[n]
            turned = rng.normal(0, 1, (3, 3))
            turned[1] = roots[n]
            annotations[name] = {
                "kp2d": pixels[n],
                "kp3d_mono": mono[n],
                "kp3ds_smpl": posed[n],
                "poses": others[:, :66],
                "cam": turned,
            }
        betas[f"S{clip.subject}"] = shape
    np.savez(folder / "smpl_neutral_betas.npz", neutral_betas=np.array(betas, object))
    np.savez(folder / "annots_smplkps.npz", annots=np.array(annotations, object))


def _write_images(folder: Path, clip: Human36mClip, names: list[str]) -> None:
    """Write the images of a clip; the last one exists only when all do."""
    if (folder / names[-1]).exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    for name, image in zip(names, clip.pictures()):
        with atomic_write(folder / name, durable=False) as partial:
            partial.write_bytes(jpeg(image))


def _bodies(clips: Sequence[Human36mClip]) -> dict[str, Any]:
    """The content of NeuralAnnot's file of a subject."""
    held: dict[str, Any] = {}
    for clip in clips:
        pose, shape, translation = clip.body()
        held.setdefault(str(clip.action), {})[str(clip.subaction)] = {
            str(n): {"pose": pose[n].tolist(), "shape": shape.tolist(), "trans": translation[n].tolist()}
            for n in range(len(pose))
        }
    return held


def _json_file(folder: Path, subject: int, kind: str) -> Path:
    return folder / "annotations" / f"Human36M_subject{subject}_{kind}.json"


def _write_json(file: Path, content: Any) -> None:
    with atomic_write(file) as partial:
        partial.write_text(json.dumps(content), encoding="utf-8")
