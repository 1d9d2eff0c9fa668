"""Where the parts of a scene lie below the dataset's folder, under which of its names, and in which split it is.

Facts: docs/reference/further-datasets.md#bedlam-scenes-and-split.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from trace_data.adapters.base import DatasetSpec, dataset_folder
from trace_data.adapters.listing import below, entry, is_folder, listing
from trace_data.schema.record import Split

SPEC = DatasetSpec(
    name="bedlam",
    folders=("BEDLAM", "bedlam", "Bedlam"),
    splits=("train", "val"),
    page="https://bedlam.is.tue.mpg.de",
    expected="BEDLAM/<scene>/{be_seq.csv,ground_truth/camera/seq_000000_camera.csv,mp4/seq_000000.mp4} and "
    "BEDLAM/smpl_ground_truth/<subject>/<animation>/motion_seq.npz, or "
    "BEDLAM/<scene>_6fps/png/seq_000000/seq_000000_0000.png and BEDLAM/all_npz_12_smpl_training/<scene>_6fps.npz",
)
VALIDATION = (
    "20221018_1_250_batch01hand_zoom_suburb_b",
    "20221018_3-8_250_batch01hand",
    "20221018_3_250_batch01hand_orbit_archVizUI3_time15",
    "20221019_3-8_250_highbmihand_orbit_stadium",
)
"""The official validation scenes; all others are for training."""
MOTIONS = "smpl_ground_truth"
DESCRIPTION = "be_seq.csv"
BETWEEN = "moving_body_para"
"""A folder that older releases have between a subject and its animations."""
_AROUND = ("training", "train", "validation", "val", "bedlam_images_train")
"""Folders that may lie around the scenes."""
_SCENE = re.compile(r"\d{8}[_-]\d.*")
_IMAGES_ONLY = re.compile(r"_(6|30)fps$", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenePlace:
    """One scene on disk."""

    name: str
    """As the release's table spells it."""
    folders: tuple[Path, ...]
    """Those that have this name in any spelling: archives of a scene do not always agree."""
    images: tuple[Path, ...] = ()
    """Those of images alone (`<scene>_6fps`)."""

    def below(self, *names: str) -> Path | None:
        """A file or folder of the scene, in the first of its folders that has it."""
        for folder in self.folders:
            if (found := below(folder, *names)) is not None:
                return found
        return None

    def image_folders(self) -> dict[str, Path]:
        """The folder of images of each sequence that has one."""
        held: dict[str, Path] = {}
        for folder in (*self.images, *self.folders):
            images = entry(folder, "png")
            if images is None or not is_folder(images):
                continue
            for name in (*listing(images).folders, *listing(images).broken):
                held.setdefault(name.lower(), images / name)
        return held

    @property
    def split(self) -> Split:
        return "val" if self.name.lower() in {name.lower() for name in VALIDATION} else "train"

    @property
    def portrait(self) -> bool:
        """Whether its camera stands on its side, so that upright frames are higher than wide."""
        return "closeup" in self.name.lower()


def scene_name(folder: str) -> str:
    """The name of a scene by that of its folder: without blanks around it, an underscore after the date, and a hyphen
    in the range of people (`3_10` and `3_8` of early copies)."""
    name = re.sub(r"^(\d{8})-", r"\1_", folder.strip())
    return re.sub(r"^(\d{8})_3_(8|10)_(?=\d+_)", r"\1_3-\2_", name)


def bedlam_folder(root: Path) -> Path:
    """The dataset's folder. Raises DatasetLayoutError."""
    marks = [MOTIONS]
    if is_folder(root):
        # scenes of BEDLAM2 are called alike and dated 2024 and later
        marks += [name for name in listing(root).folders if _SCENE.fullmatch(name.strip()) and name.strip() < "2024"]
    return dataset_folder(SPEC, root, marks)


def scenes_in(folder: Path) -> list[ScenePlace]:
    """All scenes below the dataset's folder, by name."""
    around = [folder, *(place for name in _AROUND if (place := folder / name) and is_folder(place))]
    held: dict[str, tuple[list[Path], list[Path]]] = {}
    for place in around:
        for name in listing(place).folders:
            whole = _IMAGES_ONLY.sub("", name.strip())
            if _SCENE.fullmatch(whole):
                held.setdefault(scene_name(whole), ([], []))[whole != name.strip()].append(place / name)
    return [
        ScenePlace(name=name, folders=tuple(folders), images=tuple(images))
        for name, (folders, images) in sorted(held.items())
    ]


def motions_folder(folder: Path) -> Path | None:
    """The folder of SMPL motions; archives that unpack into a folder of their own name are entered."""
    found = entry(folder, MOTIONS)
    for place in (folder / "bedlam_labels",):
        found = found or entry(place, MOTIONS)
    if found is None or not is_folder(found):
        return None
    return entry(found, MOTIONS) or found


def motion_file(motions: Path | None, subject: str, animation: str) -> Path | None:
    """The motion of a subject; None when it is not there."""
    if motions is None:
        return None
    for names in ((subject, animation), (subject, BETWEEN, animation), (BETWEEN, subject, animation)):
        if (found := below(motions, *names, "motion_seq.npz")) is not None:
            return found
    return None
