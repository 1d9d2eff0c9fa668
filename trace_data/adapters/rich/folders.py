"""Where images, bodies and calibrations lie, in both spellings of the tree.

Facts: docs/reference/further-datasets.md#rich-files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from trace_data.adapters.base import DatasetSpec, dataset_folder
from trace_data.adapters.listing import entry, is_folder, listing
from trace_data.schema.record import Split

SPEC = DatasetSpec(
    name="rich",
    folders=("RICH", "rich", "Rich"),
    splits=("train", "val", "test"),
    page="https://rich.is.tue.mpg.de",
    expected="RICH/data/images/test/<sequence>/cam_00/00046_00.jpeg, RICH/data/bodies/test/<sequence>/00046/017.pkl"
    " and RICH/scan_calibration/<Capture>/calibration/000.xml, or RICH/test/<sequence> and RICH/test_body/<sequence>",
)
CALIBRATIONS = "scan_calibration"
_AROUND = (("data",), ("ps", "project", "multi-ioi", "rich_release"))
"""Folders that may lie around the parts: those of the makers' tools, and of older archives."""
_VIEW = re.compile(r"cam_(\d{1,3})", re.IGNORECASE)
_CALIBRATION = re.compile(r"(\d{1,3})\.xml", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceFiles:
    """One sequence on disk."""

    split: Split
    name: str
    views: Mapping[int, Path]
    """Folder of images by number of the camera; also links that lead nowhere."""
    broken: Mapping[int, str]
    """Reasons why some of these are none."""
    bodies: Path | None
    calibrations: Mapping[int, Path]
    """File of each calibrated camera of its capture."""

    @property
    def capture(self) -> str:
        """The place where it was filmed, which a calibration belongs to: `ParkingLot2`."""
        return self.name.partition("_")[0]


def rich_folder(root: Path) -> Path:
    """The dataset's folder. Raises DatasetLayoutError."""
    # folders called images are everywhere
    bodies = [name for split in SPEC.splits for name in (f"{split}_body", f"bodies/{split}")]
    parts = (CALIBRATIONS, *bodies)
    marks = [*parts, *(f"data/{part}" for part in parts)]
    return dataset_folder(SPEC, root, marks)


def sequences_in(folder: Path) -> Iterator[SequenceFiles]:
    """The sequences that have a folder of images, by split and name."""
    places = [folder, *(place for names in _AROUND if (place := _inside(folder, *names)) is not None)]
    calibrated: dict[str, dict[int, Path]] = {}
    for split in SPEC.splits:
        held = _below(places, ("images", split), (split,))
        bodies = _below(places, ("bodies", split), (f"{split}_body",))
        for name in sorted(held):
            inside = listing(held[name])
            views = {
                int(match[1]): held[name] / view
                for view in (*inside.broken, *inside.folders)
                if (match := _VIEW.fullmatch(view))
            }
            if not views:
                continue
            capture = name.partition("_")[0]
            if capture not in calibrated:
                calibrated[capture] = dict(_calibrations(places, capture))
            yield SequenceFiles(
                split=split,
                name=name,
                views=dict(sorted(views.items())),
                broken={number: inside.broken[place.name] for number, place in views.items()
                        if place.name in inside.broken},
                bodies=next((place for other, place in bodies.items() if other.lower() == name.lower()), None),
                calibrations=calibrated[capture],
            )  # fmt: skip


def image_pattern(view: int) -> re.Pattern[str]:
    """Names of the images of a camera, `00046_00.jpeg`; the frame's number is the last group."""
    return re.compile(rf"(\d{{5,9}})_0*{view}\.(?:jpe?g|bmp|png)", re.IGNORECASE)


def _inside(folder: Path, *names: str) -> Path | None:
    """A folder below another one, whatever the letter case."""
    found: Path | None = folder
    for name in names:
        found = None if found is None else entry(found, name)
        found = found if found is not None and is_folder(found) else None
    return found


def _below(places: list[Path], *ways: tuple[str, ...]) -> dict[str, Path]:
    """The folders below `ways` of some places, by name, the first of each; an archive unpacked into a folder of its own
    name is entered."""
    held: dict[str, Path] = {}
    for place in places:
        for names in ways:
            found = _inside(place, *names)
            found = found and (_inside(found, names[-1]) or found)
            for name in () if found is None else listing(found).folders:
                held.setdefault(name, found / name)  # type: ignore[operator]
    return held


def _calibrations(places: list[Path], capture: str) -> Iterator[tuple[int, Path]]:
    for place in places:
        found = _inside(place, CALIBRATIONS, capture, "calibration") or _inside(
            place, CALIBRATIONS, CALIBRATIONS, capture, "calibration"
        )
        if found is not None:
            held = listing(found)
            for name in (*held.files, *held.broken):
                if match := _CALIBRATION.fullmatch(name):
                    yield int(match[1]), found / name
            return
