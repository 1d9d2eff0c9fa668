"""Renders the annotated bodies of a clip as transparent overlays for its frames."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from trace_data.drawing import MESH, MeshPainter, Surface
from trace_data.files import sha256_of
from trace_data.geometry import transform
from trace_data.shards.entries import ShardIndex
from trace_train.body.layer import BodyLayer
from trace_train.build import body_layers
from trace_train.geometry.rotations import matrix_from_axis_angle
from trace_train.preview.clips import PreviewClip

OPACITY = 0.8
NEEDED = ("root_rotation", "body_pose", "translation")
"""Masks required for drawing a body."""
FINER = 2
"""Supersampling factor for smooth edges."""


class BodyPainter:
    """Poses the people of clips with the packs of a folder, loaded on demand."""

    def __init__(self, packs: Path, index: ShardIndex) -> None:
        self.packs = packs
        self._known = index.settings.get("body_models") or {}
        self._layers: dict[str, BodyLayer] = {}
        self.others: set[str] = set()
        """Names of packs that differ from those the shards were built with."""

    def _layer(self, gender: str) -> BodyLayer:
        if gender not in self._layers:
            name = f"SMPL_{gender.upper()}.pth"
            self._layers |= body_layers(self.packs, (gender,))
            if self._known.get(name) not in (None, sha256_of(self.packs / name)):
                self.others.add(name)
        return self._layers[gender]

    @property
    def faces(self) -> npt.NDArray[np.int64]:
        """(F, 3) faces, the same for all bodies."""
        faces: npt.NDArray[np.int64] = self._layer("neutral").faces.numpy()
        return faces

    @torch.inference_mode()
    def vertices(self, clip: PreviewClip) -> dict[tuple[int, int], npt.NDArray[np.float64]]:
        """(person, frame) -> (6890, 3) metres, camera frame, for every full body annotation. Raises AssetError."""
        known = clip.present & np.all([clip.mask(name) for name in NEEDED], axis=0)
        known = known & clip.batch.masks["intrinsics"][0].numpy()
        cameras = clip.batch.camera_from_world[0].numpy()
        meshes: dict[tuple[int, int], npt.NDArray[np.float64]] = {}
        for person, gender in enumerate(clip.genders):
            frames = np.flatnonzero(known[person])
            if not len(frames):
                continue
            pose = clip.batch.pose[0, person, frames]
            posed = self._layer(gender)(
                matrix_from_axis_angle(pose), clip.batch.betas[0, person, frames], vertices=True
            )
            assert posed.vertices is not None
            place = posed.root + clip.batch.translation[0, person, frames]
            world = (posed.vertices + place[:, None]).numpy()
            for frame, mesh in zip(frames.tolist(), world):
                meshes[person, frame] = transform(cameras[frame], mesh)
        return meshes

    def overlays(self, clip: PreviewClip) -> list[npt.NDArray[np.uint8] | None]:
        """For each frame an (H, W, 4) RGBA overlay of its size, or None without a body."""
        meshes = self.vertices(clip)
        people = [sorted(person for person, at in meshes if at == frame) for frame in range(len(clip.images))]
        return [
            self._overlay(clip, frame, {person: meshes[person, frame] for person in shown}) if shown else None
            for frame, shown in enumerate(people)
        ]

    def _overlay(
        self, clip: PreviewClip, frame: int, meshes: dict[int, npt.NDArray[np.float64]]
    ) -> npt.NDArray[np.uint8]:
        camera = clip.image_from_frame[frame] @ clip.batch.intrinsics[0, frame].numpy()
        bodies = [
            Surface(
                vertices=mesh,
                faces=self._layer(clip.genders[person]).faces.numpy(),
                colour=MESH[person % len(MESH)],
            )
            for person, mesh in meshes.items()
        ]
        return painted(bodies, camera, clip.images.shape[1:3])


def painted(
    bodies: Sequence[Surface], intrinsics: npt.NDArray[np.floating], size: tuple[int, int]
) -> npt.NDArray[np.uint8]:
    """(H, W, 4) RGBA of bodies for a picture of `size` (H, W) px taken with `intrinsics` (3, 3) px."""
    rgba = MeshPainter(finer=FINER).paint(bodies, intrinsics, size).rgba
    rgba[..., 3] = np.rint(OPACITY * rgba[..., 3])
    return rgba


def blended(image: npt.NDArray[np.uint8], overlay: npt.NDArray[np.uint8] | None) -> npt.NDArray[np.uint8]:
    """The picture with the overlay on top."""
    if overlay is None:
        return image.copy()
    share = overlay[..., 3:] / 255.0
    mixed: npt.NDArray[np.uint8] = np.rint(image * (1 - share) + overlay[..., :3] * share).astype(np.uint8)
    return mixed
