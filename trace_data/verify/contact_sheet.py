"""Contact sheet of verified datasets: the worst frames of each and some random ones, with their annotations.

2D points are pale, dashed where they only say about where somebody is; projected 3D joints are broad and saturated, so
an error shows as two skeletons. The mesh is the body.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from trace_data.adapters import find_sequences, load_adapter, read_record
from trace_data.assets.bodies import BodyModels, load_bodies
from trace_data.consistency.joint_errors import joints_to_show
from trace_data.consistency.sequence import Consistency
from trace_data.drawing import MESH, Picture, contact_sheet, draw_mesh, draw_skeleton
from trace_data.errors import OutputError, TraceError
from trace_data.files import atomic_write
from trace_data.frames.image import decode, read_bytes
from trace_data.frames.video import contents
from trace_data.geometry import project, transform
from trace_data.schema.record import SequenceRecord
from trace_data.schema.thinning import kept
from trace_data.verify.datasets import VerifyReport

WORST = 4
"""Number of frames with the largest errors, each of another sequence."""
RANDOM = 4
WIDTH, HEIGHT = 320, 400
"""Size of a tile, px; taller pictures are scaled down."""
LONGEST_CAPTION = 60
"""Characters that fit below a tile; longer names are shortened."""


def draw_sheet(report: VerifyReport, file: Path, *, packs: Path | None = None, defects: bool = True) -> int:
    """Write the contact sheet as JPEG or PNG, by the suffix of `file`. Returns the number of frames on it.

    When no frame can be shown, nothing is written and the number is 0. Raises OutputError.
    """
    sheet, count = make_sheet(report, packs=packs, defects=defects)
    if sheet is None:
        return 0
    suffix = file.suffix.lower() if file.suffix.lower() in (".jpg", ".jpeg", ".png") else ".jpg"
    encoded = cv2.imencode(suffix, sheet[..., ::-1])[1].tobytes()
    try:
        with atomic_write(file) as partial:
            partial.write_bytes(encoded)
    except OSError as error:
        raise OutputError(f"cannot be written: {error.strerror}", where=file, hint="name another file") from error
    return count


def make_sheet(report: VerifyReport, *, packs: Path | None = None, defects: bool = True) -> tuple[Picture | None, int]:
    """The contact sheet (None when no frame can be shown) and the number of frames on it.

    Deterministic for a report. `packs`: prepared body models, for the meshes.
    """
    bodies = None if packs is None else load_bodies(packs)
    tiles = [tile for dataset in report.datasets for tile in _tiles(report, dataset.name, bodies, defects)]
    return (contact_sheet(tiles, columns=WORST, tile_width=WIDTH, tile_height=HEIGHT) if tiles else None), len(tiles)


def _tiles(report: VerifyReport, name: str, bodies: BodyModels | None, defects: bool) -> Iterator[tuple[str, Picture]]:
    """Captioned frames of one dataset."""
    dataset = next(dataset for dataset in report.datasets if dataset.name == name)
    try:
        spec = load_adapter(name).SPEC
        refs = {ref.key: ref for split in spec.splits for ref in find_sequences(name, report.roots, split)}
    except (TraceError, OSError):
        return  # the report has the reason
    by_worst = sorted(dataset.geometry, key=lambda a: -(a.reprojection_px.worst if a.reprojection_px else 0.0))
    measured = {consistency.key: consistency for consistency in by_worst}
    shown = [consistency for consistency in by_worst if consistency.reprojection_px or consistency.body_mm][:WORST]
    wanted: list[tuple[str, int | None]] = [(consistency.key, _worst(consistency)) for consistency in shown]
    rng = np.random.default_rng(0)
    keys = sorted(measured or refs)
    wanted += [(keys[number], None) for number in rng.permutation(len(keys))[:RANDOM].tolist()]
    for key, frame in wanted:
        try:
            record = read_record(refs[key], defects=defects)
            number = int(rng.integers(len(record.frames))) if frame is None else frame
            yield _caption(record, number, measured.get(key), worst=frame is not None), _drawn(record, number, bodies)
        except Exception:  # noqa: BLE001  the report has the reason; the picture shows the rest
            continue


def _worst(consistency: Consistency) -> int:
    """The frame to show."""
    spreads = (consistency.reprojection_px, consistency.body_mm)
    return next((spread.worst_frame for spread in spreads if spread is not None), 0)


def _caption(record: SequenceRecord, frame: int, consistency: Consistency | None, *, worst: bool) -> str:
    errors = []
    if consistency is not None and (pixels := consistency.reprojection_px) is not None:
        errors.append(f"{pixels.worst:.1f} px" if worst else f"median {pixels.median:.1f} px")
    if consistency is not None and consistency.body_mm is not None:
        errors.append(f"body {consistency.body_mm.median:.0f} mm")
    title = f"{'worst: ' if worst else ''}{record.dataset} {record.name}"
    if record.provenance.get("synthetic") == "true":
        errors.append("synthetic")  # the picture may be passed on without the report
    facts = f"  frame {record.frame_ids[frame]}  {'  '.join(errors)}".rstrip()
    room = LONGEST_CAPTION - len(facts)
    return (title if len(title) <= room else f"{title[: room - 1]}…") + facts


def _drawn(whole: SequenceRecord, frame: int, bodies: BodyModels | None) -> Picture:
    """The frame with meshes, projected 3D joints and 2D points of all people."""
    record = kept(whole, np.arange(len(whole.frames)) == frame)
    content = next(contents(record.frames))
    pixels = decode(read_bytes(content), content) if isinstance(content, Path) else content.pixels
    image: Picture = np.ascontiguousarray(pixels[..., ::-1])
    intrinsics, extrinsics = (matrices[0] for matrices in record.camera.per_frame(1))
    for number, person in enumerate(record.people):
        placed = None if bodies is None or person.body is None else bodies.place(person.body, person.joints3d)
        if bodies is not None and person.body is not None and placed is not None and person.body_valid[0]:
            model = bodies.model(person.body.gender)
            vertices = model.vertices(person.body.pose, person.body.betas, placed[1])[0]
            colour = MESH[number % len(MESH)]
            seen = transform(extrinsics, vertices)
            draw_mesh(image, seen, model.faces, intrinsics, colour=colour, opacity=0.6)
    for person in record.people:
        joints = joints_to_show(person, bodies)
        if joints is not None and record.camera.known:
            pixels_of_joints = project(intrinsics, transform(extrinsics, joints[0, :, :3]), record.camera.distortion)
            draw_skeleton(image, np.concatenate([pixels_of_joints, joints[0, :, 3:]], axis=1))
        if person.keypoints2d is not None:
            about = person.keypoints2d.place_only
            draw_skeleton(image, person.keypoints2d.to_44()[0], annotated=True, dashed=about)
    return image
