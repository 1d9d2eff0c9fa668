"""The files of a rendered sequence, its reference and its record, which BEDLAM and BEDLAM2 have alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from trace_data.adapters.base import SequenceRef
from trace_data.adapters.bedlam.images import image_numbers
from trace_data.adapters.bedlam.scenes import ScenePlace
from trace_data.adapters.bedlam.stage import UP
from trace_data.adapters.bedlam.tables import BodyRow, SceneSequence, SceneTable, scene_table
from trace_data.errors import AnnotationError
from trace_data.schema.camera import Camera
from trace_data.schema.frame import Frame
from trace_data.schema.record import Person, SequenceRecord, Split
from trace_data.schema.thinning import kept

FPS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceParts:
    """The files of one sequence."""

    scene: ScenePlace
    sequence: str
    description: Path
    table: SceneTable
    camera: Path | None
    video: Path | None
    images: Path | None
    """Folder of images, if there are any."""
    motions: tuple[Path | None, ...]
    """Of each body."""
    beside: Path | None
    """What else is read: the scene's 2D joints (BEDLAM), or the table that says how cameras lie (BEDLAM2)."""

    @property
    def key(self) -> str:
        return f"{self.scene.name}/{self.sequence}"

    @property
    def rows(self) -> SceneSequence:
        """What the description says of it."""
        return self.table.sequences[self.sequence]

    @property
    def without_motion(self) -> list[BodyRow]:
        return [body for body, file in zip(self.rows.bodies, self.motions) if file is None]


def parts_in(
    scene: ScenePlace,
    description: Path,
    names: Sequence[str] | None,
    *,
    cameras: Sequence[str],
    motion: Callable[[BodyRow], Path | None],
    beside: Path | None,
) -> Iterator[SequenceParts]:
    """The sequences of a scene, by name, or those with these names. `cameras`: the folder of cameras, by its parts.

    Raises AnnotationError.
    """
    table, images = scene_table(description), scene.image_folders()
    for name in sorted(table.sequences) if names is None else names:
        yield SequenceParts(
            scene=scene,
            sequence=name,
            description=description,
            table=table,
            camera=scene.below(*cameras, f"{name}_camera.csv"),
            video=scene.below("mp4", f"{name}.mp4"),
            images=images.get(name.lower()),
            motions=tuple(motion(body) for body in table.sequences[name].bodies),
            beside=beside,
        )


def reference(parts: SequenceParts, dataset: str, split: Split, folder: Path, layouts: tuple[str, str]) -> SequenceRef:
    """What `find` says of a sequence. `layouts`: with a video, and with images in its place."""
    place = parts.video or parts.images
    assert place is not None
    return SequenceRef(
        dataset=dataset,
        split=split,
        name=parts.key,
        layout=layouts[parts.video is None],
        annotation=parts.description,
        images=place,
        frames=len(image_numbers(place, parts.sequence)) if parts.video is None else parts.rows.frames,
        options=(str(folder),),
        reads=(parts.description, *filter(None, (parts.camera, *parts.motions, parts.beside))),
    )


def parts_again(
    ref: SequenceRef,
    scenes: Iterable[ScenePlace],
    sequences: Callable[[ScenePlace, Path, Sequence[str]], Iterator[SequenceParts]],
    whole: Callable[[SequenceParts], bool],
) -> SequenceParts:
    """The files of a sequence that `find` saw. Raises AnnotationError when one is gone."""
    scene_name, _, sequence = ref.name.rpartition("/")
    table = scene_table(ref.annotation)
    scene = next((scene for scene in scenes if scene.name == scene_name), None)
    if scene is not None and sequence in table.sequences:
        [parts] = sequences(scene, ref.annotation, [sequence])
        if whole(parts):
            return parts
    hint = f"trace verify-datasets {ref.dataset}"
    raise AnnotationError(f"{ref.name} is no longer there", where=ref.annotation, hint=hint)


def rendered(
    ref: SequenceRef,
    parts: SequenceParts,
    *,
    frames: tuple[Frame, ...],
    there: npt.NDArray[np.bool_],
    camera: Camera,
    people: Sequence[Person],
    everyone: npt.NDArray[np.bool_],
    remarks: Sequence[str],
    release: str,
    provenance: Mapping[str, str],
) -> SequenceRecord:
    """The record in the renderer's world, of the frames that are `there` (T,)."""
    synthetic = parts.table.synthetic
    record = SequenceRecord(
        dataset=ref.dataset,
        split=ref.split,
        name=ref.name,
        frames=frames,
        frame_ids=np.arange(parts.rows.frames, dtype=np.int64),
        fps=FPS,
        camera=camera,
        people=tuple(people),
        everyone_annotated=everyone,
        world_valid=True,
        world_reason=("synthetic: " if synthetic else "") + "rendered: one exact world for all, metres",
        world_up=UP,
        remarks=tuple(remarks),
        provenance={
            "release": "synthetic sample world" if synthetic else release,
            "layout": ref.layout,
            **provenance,
            "adapter": f"{ref.dataset} 1",
            "defects": "",
            "synthetic": "true" if synthetic else "false",
        },
    )
    return record if there.all() else kept(record, there)


def own_name(row: BodyRow, names: Counter[str]) -> str:
    """The subject, which is the same person in every sequence; a second one of it in a sequence gets a number."""
    names[row.subject] += 1
    return row.subject if names[row.subject] == 1 else f"{row.subject}#{names[row.subject]}"
