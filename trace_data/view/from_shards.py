"""An annotated sequence of the shards as a scene: bodies where they are known, else the joints that are.

The world of a dataset has axes of its own. The one that most people stand along becomes Y, the lowest joints the floor.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from trace_data.assets.bodies import PACK_FILES
from trace_data.assets.body_model import BodyModel
from trace_data.drawing import colour_of
from trace_data.errors import AssetError, in_one_line
from trace_data.export.mesh import BodyMesh, SkinnedSurface, surface
from trace_data.frames.image import decode
from trace_data.geometry import transform
from trace_data.progress import counted
from trace_data.results.scene import shortest_turn
from trace_data.results.world_placement import in_frame, rigid_inverse
from trace_data.schema.body import GENDERS, Gender
from trace_data.schema.clip import ClipAnnotations, ClipRef
from trace_data.schema.keypoints import SMPL_24
from trace_data.shards.entries import SequenceEntry
from trace_data.shards.reader import ShardReader
from trace_data.view.picture import WIDTH, jpeg, nearest, spread
from trace_data.view.scene import Points, ShownBody, ShownPerson, ShownScene, Stills

Floats = npt.NDArray[np.float64]

MOST_FRAMES = 1800
"""Of a sequence on a page; longer ones are thinned evenly."""
WHOLE = ("root_rotation", "body_pose", "shape", "translation")
NECK = SMPL_24.index("Neck")
LOWEST = 2.0
"""Percentile of the heights of joints at which the floor is: single wrong joints lie lower."""


def sequence_scene(reader: ShardReader, row: int, packs: Path | None) -> ShownScene:
    """The scene of a sequence. `packs`: folder of body models; without them people are skeletons. Raises ShardError."""
    entry = reader.index.sequences[row]
    stride = -(-entry.frames // MOST_FRAMES)
    ref = ClipRef(sequence=row, start=0, stride=stride, length=-(-entry.frames // stride))
    clip = reader.annotations(ref)
    change = _upright(clip)
    models = _Models(packs)
    people = tuple(_people(clip, entry, change, models))
    ids = clip.frame_ids.astype(np.int64)
    notes = [*models.missing]
    if flat := int((~(_whole(clip) | _placed_joints(clip)).any(axis=1)).sum()):
        notes.append(f"{_people_in_words(flat)} with 2D annotations only: trace preview shows them.")
    if not clip.masks["intrinsics"].all():
        notes.append("The lens is not known but assumed: the bodies need not fit the picture.")
    camera = clip.camera_from_world.astype(np.float64) @ rigid_inverse(change)
    return ShownScene(
        title=entry.key,
        time=(ids - ids[0]) / clip.fps,
        number=ids,
        size=(clip.width, clip.height),
        intrinsics=clip.intrinsics.astype(np.float64),
        camera_from_world=camera,
        observed=np.ones(len(ids), np.bool_),
        people=people,
        picture=_stills(reader, ref),
        facts=_facts(entry, clip, models, stride),
        lead=f"annotations of {_people_in_words(len(clip.identity))}, {counted(len(ids), 'frame')}.",
        notes=notes,
        badge="synthetic" if entry.synthetic else "",
    )


class _Models:
    """Body models by gender, with one surface each, as far as there are packs."""

    def __init__(self, packs: Path | None) -> None:
        self._packs = packs
        self._loaded: dict[Gender, tuple[BodyModel, SkinnedSurface] | None] = {}
        self.missing: list[str] = []

    def of(self, gender: Gender) -> tuple[BodyModel, SkinnedSurface] | None:
        if gender not in self._loaded:
            self._loaded[gender] = self._load(gender)
        return self._loaded[gender]

    def _load(self, gender: Gender) -> tuple[BodyModel, SkinnedSurface] | None:
        try:
            if self._packs is None:
                raise AssetError("no packs have been prepared", hint="trace prepare-smpl --source DIR")
            model = BodyModel.load(self._packs / PACK_FILES[gender])
        except AssetError as error:
            self.missing.append(f"People ({gender}) are shown as skeletons: {in_one_line(error)}.")
            return None
        return model, surface(model.faces, model.weights, model.pose_directions)


def _people(clip: ClipAnnotations, entry: SequenceEntry, change: Floats, models: _Models) -> Iterator[ShownPerson]:
    """A person with rows as a body, and one with the other rows that have joints; both have one colour."""
    whole = _whole(clip)
    for index, identity in enumerate(clip.identity.tolist()):
        number = identity - entry.first_person
        label, colour = _label(entry, number), colour_of(number + 1)
        known = clip.kp3d[index, :, :24, 3] > 0
        bodies = np.flatnonzero(whole[index])
        loaded = models.of(GENDERS[int(clip.gender[index])]) if len(bodies) else None
        bodies = bodies if loaded else bodies[:0]
        if loaded:
            model, shared = loaded
            yield _body(clip, index, bodies, change, model, shared, label, colour)
        rest = np.setdiff1d(np.flatnonzero(_placed_joints(clip)[index]), bodies)
        if len(rest):
            joints = transform(change, clip.kp3d[index, rest, :24, :3].astype(np.float64))
            joints[~known[rest]] = np.nan
            yield ShownPerson(
                label=f"{label}, joints only" if len(bodies) else label,
                colour=colour, frame=rest.astype(np.int32), state=np.zeros(len(rest), np.uint8),
                pelvis=joints[:, 0], shape=Points(joints=joints),
            )  # fmt: skip


def _body(
    clip: ClipAnnotations, index: int, rows: npt.NDArray[np.int64], change: Floats, model: BodyModel,
    shared: SkinnedSurface, label: str, colour: tuple[int, int, int],
) -> ShownPerson:  # fmt: skip
    # one shape for the page: annotations of a person differ by less than can be seen
    betas = np.median(clip.betas[index, rows].astype(np.float64), axis=0)[None]
    rest = model.rest_joints(betas)[0]
    pose = clip.pose[index, rows].astype(np.float64)
    pose[:, 0], moved = in_frame(change, pose[:, 0], clip.translation[index, rows], rest[0])
    vertices = model.rest_vertices(betas)[0].astype(np.float32)
    mesh = BodyMesh(surface=shared, vertices=vertices, rest=rest, pelvis=rest[0])
    return ShownPerson(
        label=label, colour=colour, frame=rows.astype(np.int32), state=np.zeros(len(rows), np.uint8),
        pelvis=moved + rest[0], shape=ShownBody(pose=pose, rest=rest, mesh=mesh),
    )  # fmt: skip


def _whole(clip: ClipAnnotations) -> npt.NDArray[np.bool_]:
    """(P, T) whether a body can be posed and placed."""
    whole: npt.NDArray[np.bool_] = np.logical_and.reduce([clip.present, *(clip.masks[name] for name in WHOLE)])
    return whole


def _placed_joints(clip: ClipAnnotations) -> npt.NDArray[np.bool_]:
    """(P, T) whether the pelvis and so the skeleton has a place."""
    placed: npt.NDArray[np.bool_] = (clip.kp3d[..., 0, 3] > 0) & clip.present
    return placed


def _label(entry: SequenceEntry, number: int) -> str:
    name = str(entry.people[number])
    return f"person {name}" if name.isdecimal() else name


def _people_in_words(count: int) -> str:
    return "1 person" if count == 1 else f"{count:,} people"


def _upright(clip: ClipAnnotations) -> Floats:
    """(4, 4) the page's world from the dataset's: Y up, the floor at 0, the first person at the origin."""
    joints, known = clip.kp3d[..., :24, :3].astype(np.float64), (clip.kp3d[..., :24, 3] > 0) & clip.present[..., None]
    change = np.eye(4)
    both = known[..., 0] & known[..., NECK]
    spine = (joints[..., NECK, :] - joints[..., 0, :])[both].mean(axis=0) if both.any() else np.array([0.0, -1, 0])
    axis = int(np.abs(spine).argmax())
    up = np.zeros(3)
    up[axis] = np.sign(spine[axis]) or -1.0
    change[:3, :3] = shortest_turn(up, np.array([0.0, 1, 0]))
    if known.any():
        placed = transform(change, joints[known])
        change[1, 3] = -np.percentile(placed[:, 1], LOWEST)
        change[[0, 2], 3] = -placed[0, [0, 2]]
    return change


def _stills(reader: ShardReader, ref: ClipRef) -> Stills | None:
    """Small pictures of evenly chosen frames. Raises ShardError."""
    entry, wanted = reader.index.sequences[ref.sequence], spread(ref.length)
    found: dict[int, bytes] = {}
    for at in wanted.tolist():
        one = ClipRef(sequence=ref.sequence, start=ref.start + at * ref.stride, stride=1, length=1)
        data, _ = reader.stored(one, max(entry.width, entry.height), WIDTH)
        if data[0]:
            pixels = decode(data[0], entry.key, rgb=True)
            high = max(1, round(pixels.shape[1] * entry.height / entry.width))
            if abs(high - pixels.shape[0]) > 1:
                pixels = np.asarray(cv2.resize(pixels, (pixels.shape[1], high)), np.uint8)
            found[at] = jpeg(pixels)
    if not found:
        return None
    kept = np.array(sorted(found))
    return Stills(jpegs=[found[at] for at in kept.tolist()], frame=nearest(kept, ref.length))


def _facts(entry: SequenceEntry, clip: ClipAnnotations, models: _Models, stride: int) -> list[tuple[str, str]]:
    thinned = f", every {stride}th of {entry.frames:,}" if stride > 1 else ""
    focal = clip.intrinsics[0, 0, 0]
    lens = "known" if clip.masks["intrinsics"].all() else "assumed"
    whole, joints = _whole(clip), _placed_joints(clip)
    return [
        ("dataset and split", f"{entry.dataset}, {entry.split}"),
        ("frames", f"{len(clip.frame_ids):,}{thinned}; {clip.fps:g} frame numbers a second"),
        ("picture", f"{entry.width} × {entry.height} px"),
        ("lens", f"focal length {focal:.0f} px, {lens}"),
        ("camera", "moves" if entry.moving else "stands still"),
        ("world", ("usable" if entry.world_valid else "not usable") + f": {entry.world_reason}"),
        ("up axis", "Y on the page; the dataset's axis along which people stand"),
        *(
            (
                _label(entry, identity - entry.first_person),
                f"{GENDERS[int(clip.gender[k])]}; annotated in {int(clip.present[k].sum()):,} frames, "
                f"bodies in {int(whole[k].sum()):,}, 3D joints in {int(joints[k].sum()):,}",
            )
            for k, identity in enumerate(clip.identity.tolist())
        ),
        *((name, value) for name, value in sorted(entry.provenance.items()) if name != "synthetic"),
    ]
