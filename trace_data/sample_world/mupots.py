"""Scenes of the sample world as files of MuPoTS-3D's release (docs/reference/further-datasets.md#mupots-files).

Two people, a camera that stands still, and what the release has to beware of: people who are visible and not annotated,
joints of a body of standard height beside the person's own, and no camera.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.io

from trace_data.files import atomic_write
from trace_data.geometry import project, transform
from trace_data.progress import SILENT, Progress
from trace_data.sample_world.people import Role, people_of
from trace_data.sample_world.render import jpeg
from trace_data.sample_world.scene import SYNTHETIC, Scene, all_joints, before_camera, draw_scene, render_scene

Array = npt.NDArray[np.float64]

FOLDER = "MultiPersonTestSet"
LAST = "TS1/annot.mat"
"""The file that is written last."""
MOST = 20
"""Number of sequences for which the release has names."""
JOINTS = (38, 37, 17, 19, 21, 16, 18, 20, 35, 5, 8, 36, 4, 7, 39, 6, 43)
"""Index of the 44 for each of the 17: head top, neck, right arm, left arm, right leg, left leg, pelvis, spine, head."""
PELVIS = 14
SQUARE, WIDE = 1.0, 16 / 9
"""Width of a picture over its height, of sequences with odd and with even numbers."""
OFF_CENTRE, FLATTER = np.array([0.012, -0.008]), 1.004
"""Where the principal point lies beside the middle, as a share of the size; focal length along y over that along x."""
SLACK = 0.2
"""Metres of a body that lie before a joint within it."""
_HEADER = b"MATLAB 5.0 MAT-file, trace sample world (synthetic)"


@dataclass(frozen=True, slots=True, kw_only=True)
class MupotsTake:
    """One sequence, before it is written."""

    number: int
    scene: Scene
    joints: Array
    """(T, P, 17, 3) metres, camera axes."""
    points: Array
    """(T, P, 17, 2) px."""
    valid: npt.NDArray[np.bool_]
    """(T, P) who is annotated."""
    empty: npt.NDArray[np.bool_]
    """(T, P) where the others have not even a struct."""

    @property
    def factors(self) -> Array:
        """(P,) how many times as large the universal body is as a person's own: smaller, and another for each."""
        people = [performance.person.index for performance in self.scene.performances]
        return 0.85 + 0.01 * (np.array(people, np.float64) % 10)


def roles(count: int) -> list[Role]:
    """The people of the first `count` sequences: two in each, of the test split, like the release."""
    people = people_of("test")
    return [
        Role("test", (people[order % len(people)], people[(order + 1 + order // len(people)) % len(people)]))
        for order in range(min(count, MOST))
    ]


def draw_test(seed: int, number: int, index: int, role: Role, frames: int, height: int) -> MupotsTake:
    """Sequence TS`number`. `height`: of a picture, px."""
    aspect = SQUARE if number % 2 else WIDE
    drawn = draw_scene(seed, index, role, frames, 2 * round(height / 2), shot="fixed", aspect=aspect)
    size = np.array(drawn.camera.size)
    intrinsics = drawn.camera.intrinsics.copy()
    intrinsics[:2, 2] += OFF_CENTRE * size
    intrinsics[1, 1] *= FLATTER
    camera = replace(drawn.camera, intrinsics=intrinsics)
    scene = before_camera(drawn, seed, index, camera, drawn.azimuth)
    seen = [
        transform(camera.camera_from_world, all_joints(performance)[0][:, JOINTS]) for performance in scene.performances
    ]
    joints = np.stack(seen, axis=1)
    valid = np.ones(joints.shape[:2], bool)
    valid[1::4, -1] = False
    valid[2::4, 0] = number % 2 == 0
    empty = np.zeros_like(valid)
    empty[1::8, -1] = number % 2 == 0
    points = project(intrinsics, joints)
    return MupotsTake(number=number, scene=scene, joints=joints, points=points, valid=valid, empty=empty)


def write_mupots(
    folder: Path,
    seed: int,
    roles: Sequence[tuple[int, Role]],
    frames: int,
    height: int,
    longer: int = 0,
    progress: Progress = SILENT,
) -> None:
    """Draw the sequences `roles` of the world into the folder of MuPoTS, the first one last; `longer`: by so many
    frames is each sequence longer than the one before.

    The labels of a sequence are written last, atomically, and mark it complete.
    """
    for number, (index, role) in reversed(list(enumerate(roles, start=1))):
        place = folder / f"TS{number}"
        if not (place / "annot.mat").exists():
            take = draw_test(seed, number, index, role, frames + longer * (number - 1), height)
            place.mkdir(parents=True, exist_ok=True)
            write_matlab(place / "occlusion.mat", {"occlusion_labels": _pictures(place, take)})
            write_matlab(place / "annot.mat", {"annotations": labels(take), "synthetic": SYNTHETIC})
        progress.advance()


def _pictures(place: Path, take: MupotsTake) -> npt.NDArray[np.object_]:
    """Writes the images; returns who is hidden in them, cells (T, P) of (1, 17)."""
    depth = take.joints[..., 2]
    cells = np.empty(take.valid.shape, object)
    for frame, (image, seen) in enumerate(render_scene(take.scene)):
        (place / f"img_{frame:06d}.jpg").write_bytes(jpeg(image))
        inside = ((take.points[frame] >= 0) & (take.points[frame] <= np.array(image.shape[1::-1]) - 1)).all(axis=-1)
        for person in range(len(take.scene.performances)):
            hidden = [
                bool(inside[person, joint])
                and seen.hides(take.points[frame, person, joint], float(depth[frame, person, joint]), person, SLACK)
                for joint in range(len(JOINTS))
            ]
            cells[frame, person] = np.array([hidden], np.uint8)
    return cells


def labels(take: MupotsTake) -> npt.NDArray[np.object_]:
    """Cells (T, P) of structs, in millimetres. What does not count is zero in some sequences, NaN in others."""
    pelvis = take.joints[:, :, [PELVIS]]
    universal = pelvis + take.factors[:, None, None] * (take.joints - pelvis)
    arrays = {"annot2": take.points, "annot3": 1000 * take.joints, "univ_annot3": 1000 * universal}
    filler = 0.0 if take.number % 2 else np.nan
    cells = np.empty(take.valid.shape, object)
    for place in np.ndindex(cells.shape):
        if take.empty[place]:
            cells[place] = np.zeros((0, 0))
            continue
        kept = take.valid[place]
        held: dict[str, Any] = {
            name: array[place].T if kept else np.full(array[place].T.shape, filler) for name, array in arrays.items()
        }
        cells[place] = {**held, "isValidFrame": np.array([[float(kept)]])}
    return cells


def write_matlab(file: Path, content: Mapping[str, Any]) -> None:
    """Write a MATLAB file of version 5, the same bytes for the same content."""
    buffer: Any = io.BytesIO()
    scipy.io.savemat(buffer, dict(content), format="5", do_compression=True)
    with atomic_write(file) as partial:
        partial.write_bytes(_HEADER.ljust(116) + buffer.getvalue()[116:])  # the header's text contains the time
