"""Where the parts of BEDLAM2 lie, and which of its scenes were filmed by a camera on its side.

Facts: docs/reference/further-datasets.md#bedlam2.
"""

from __future__ import annotations

import csv
from pathlib import Path

from trace_data.adapters.base import DatasetSpec, dataset_folder
from trace_data.adapters.bedlam.scenes import ScenePlace, scene_name, scenes_in
from trace_data.adapters.files import refused
from trace_data.adapters.listing import entry, is_folder
from trace_data.errors import AnnotationError
from trace_data.text_files import content_of

SPEC = DatasetSpec(
    name="bedlam2",
    folders=("BEDLAM2", "bedlam2", "BEDLAM-2", "BEDLAM2.0"),
    splits=("train",),
    page="https://bedlam2.is.tue.mpg.de",
    expected="BEDLAM2/<scene>/{be_seq.csv,ground_truth/meta_exr_csv/seq_000000_camera.csv,mp4/seq_000000.mp4}, "
    "BEDLAM2/motions_npz_training/<body>_<motion>.npz and BEDLAM2/bedlam2_scene_names.csv",
)
MOTIONS = "motions_npz_training"
NAMES = "bedlam2_scene_names.csv"
PORTRAIT = "portrait"
"""A part of the name that a scene has in the table, where its camera lies on its side. Folders do not say it."""
GET_NAMES = f"put {NAMES}, which comes with the makers' code for processing the release, into the dataset's folder"
_MOST_BYTES = 1 << 20


def bedlam2_folder(root: Path) -> Path:
    """The dataset's folder. Raises DatasetLayoutError."""
    return dataset_folder(SPEC, root, (MOTIONS, NAMES))


def scenes_of(folder: Path) -> list[ScenePlace]:
    """The scenes of which there is more than images, by name."""
    return [scene for scene in scenes_in(folder) if scene.folders]


def motions_folder(folder: Path) -> Path | None:
    """The folder of motions; an archive unpacked into a folder of its own name is entered."""
    found = entry(folder, MOTIONS)
    if found is None or not is_folder(found):
        return None
    inner = entry(found, MOTIONS)
    return inner if inner is not None and is_folder(inner) else found


def names_file(folder: Path) -> Path | None:
    """The table of scenes."""
    return entry(folder, NAMES)


def portraits(file: Path) -> dict[str, bool]:
    """Whether the camera lies on its side, by folder of a scene. Raises AnnotationError."""
    try:
        text = content_of(file, error=AnnotationError, limit_bytes=_MOST_BYTES).decode("utf-8-sig")
    except FileNotFoundError as error:
        raise refused(error, file) from error
    except UnicodeDecodeError as error:
        raise AnnotationError(f"byte {error.start:,} is not UTF-8 text", where=file, hint=GET_NAMES) from error
    found: dict[str, bool] = {}
    try:
        for number, cells in enumerate(csv.reader(text.replace("\0", "").splitlines()), start=1):
            words = [cell.strip() for cell in cells]  # the second column begins with a blank
            if not any(words):
                continue
            if len(words) < 2 or not all(words[:2]):
                what = f"has {len(words)} cells, expected a folder and the name of its scene"
                raise AnnotationError(what, where=f"{file} line {number}", hint=GET_NAMES)
            found[scene_name(words[0]).lower()] = PORTRAIT in words[1].lower()
    except csv.Error as error:
        raise AnnotationError(f"cannot be read as CSV: {error}", where=file, hint=GET_NAMES) from error
    return found


def is_portrait(file: Path, scene: str) -> bool:
    """Whether the camera of a scene lies on its side. Raises AnnotationError where the table does not have it."""
    found = portraits(file).get(scene.lower())
    if found is None:
        hint = (
            "whether its frames stand upright is not known: the table is of another version, or the folder was renamed"
        )
        raise AnnotationError(f"has no scene {scene}", where=file, hint=hint)
    return found
