"""Known defects of the datasets, kept as data: a file a dataset, an entry a defect, with its reason and source.

They are applied when a sequence is read, said in its provenance, counted in reports, and can be switched off.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import lru_cache
from importlib import resources
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import yaml

from trace_data.errors import ConfigError
from trace_data.schema.keypoints import Keypoints
from trace_data.schema.record import Person, SequenceRecord
from trace_data.schema.thinning import kept

Effect = Literal["frames", "body", "joints3d", "everyone"]
"""What cannot be used: the frames at all, the body, the 3D joints, or the belief that everyone is annotated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Defect:
    """One known defect."""

    sequences: tuple[str, ...]
    """Names of the sequences that have it; `*` stands for any text."""
    frames: tuple[int, int] | None
    """First and last frame id that have it; None for all."""
    effect: Effect
    reason: str
    source: str
    """Who found it."""

    def concerns(self, record: SequenceRecord) -> npt.NDArray[np.bool_]:
        """(T,) which frames of a record have it."""
        if not any(fnmatchcase(record.name, pattern) for pattern in self.sequences):
            return np.zeros(len(record.frame_ids), bool)
        first, last = self.frames or (0, np.iinfo(np.int64).max)
        flags: npt.NDArray[np.bool_] = (record.frame_ids >= first) & (record.frame_ids <= last)
        return flags


@lru_cache(maxsize=8)
def known_defects(dataset: str) -> tuple[Defect, ...]:
    """The known defects of a dataset; none for one without a file. Raises ConfigError on a malformed file."""
    file = resources.files("trace_data.defects").joinpath(f"{dataset}.yaml")
    if not file.is_file():
        return ()
    return tuple(_defect(entry, str(file)) for entry in yaml.safe_load(file.read_text(encoding="utf-8")))


def _defect(entry: Any, where: str) -> Defect:
    try:
        frames = entry.pop("frames", None)
        defect = Defect(
            sequences=tuple(entry.pop("sequences")), frames=None if frames is None else (frames[0], frames[1]), **entry
        )
    except (AttributeError, KeyError, TypeError, IndexError) as error:
        raise ConfigError(f"malformed defect {entry!r}: {error}", where=where) from error
    if defect.effect not in get_args(Effect):
        raise ConfigError(f"unknown effect {defect.effect!r}, expected {', '.join(get_args(Effect))}", where=where)
    return defect


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """A defect that was taken out of a record."""

    reason: str
    effect: Effect
    frames: int
    """Of the record."""


def without_defects(record: SequenceRecord, defects: Sequence[Defect]) -> SequenceRecord:
    """The record with what is known to be wrong taken out, and said so in its provenance."""
    return take_out(record, defects)[0]


def take_out(record: SequenceRecord, defects: Sequence[Defect]) -> tuple[SequenceRecord, tuple[Applied, ...]]:
    """The same, and what was taken out."""
    applied = []
    for defect in defects:
        wrong = defect.concerns(record)
        if not wrong.any():
            continue
        applied.append(Applied(reason=defect.reason, effect=defect.effect, frames=int(wrong.sum())))
        if defect.effect == "frames":
            record = kept(record, ~wrong)
        elif defect.effect == "everyone":
            record = replace(record, everyone_annotated=record.everyone_annotated & ~wrong)
        else:
            people = tuple(_person(person, wrong, defect.effect) for person in record.people)
            record = replace(record, people=people)
    if applied:
        said = "; ".join(f"{entry.reason} ({entry.frames} frames: {entry.effect})" for entry in applied)
        record = replace(record, provenance={**record.provenance, "defects": said})
    return record, tuple(applied)


def _person(person: Person, wrong: npt.NDArray[np.bool_], effect: Effect) -> Person:
    if effect == "body":
        return replace(person, body_valid=person.body_valid & ~wrong)
    joints = person.joints3d
    if joints is None:
        return person
    points = np.where(wrong[:, None, None], 0.0, joints.points)
    return replace(person, joints3d=Keypoints(layout=joints.layout, points=points))
