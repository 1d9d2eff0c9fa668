"""Annotated sequences on a page."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from page_numbers import PageNumbers

from trace_data.errors import ConfigError
from trace_data.geometry import project, transform
from trace_data.schema.clip import ClipAnnotations, ClipRef
from trace_data.shards.reader import ShardReader
from trace_data.view import from_shards
from trace_data.view.from_shards import sequence_scene
from trace_data.view.page import page_text
from trace_data.view.scene import Points, ShownBody, ShownScene, Stills
from trace_data.view.view import Choice, scene_of_sequence


def whole(reader: ShardReader, row: int) -> ClipAnnotations:
    return reader.annotations(ClipRef(sequence=row, start=0, stride=1, length=reader.index.sequences[row].frames))


def two_people(reader: ShardReader) -> int:
    return next(row for row, entry in enumerate(reader.index.sequences) if len(entry.people) == 2)


def annotated(clip: ClipAnnotations, index: int, frame: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    """(R, 24, 2) px of the annotated joints, through the annotated camera."""
    return project(clip.intrinsics[frame], transform(clip.camera_from_world[frame], clip.kp3d[index, frame, :24, :3]))


def pixels(scene: ShownScene, person: int, joints: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    frame = scene.people[person].frame
    return project(scene.intrinsics[frame], transform(scene.camera_from_world[frame], joints))


def test_bodies_stand_upright_and_hit_the_annotated_pixels(shards: Path, packs: Path) -> None:
    reader = ShardReader(shards)
    row = two_people(reader)
    scene, clip = sequence_scene(reader, row, packs), whole(reader, row)
    assert len(scene.people) == 2
    for index, person in enumerate(scene.people):
        assert isinstance(person.shape, ShownBody) and person.shape.mesh is not None
        assert 0.5 < np.median(person.pelvis[:, 1]) < 1.5
        shown = pixels(scene, index, person.pelvis[:, None])
        assert np.abs(shown - annotated(clip, index, person.frame)[:, :1]).max() < 0.1
    assert isinstance(scene.picture, Stills) and len(scene.picture.jpegs) == len(scene.time)
    assert scene.badge == "synthetic" and PageNumbers(page_text(scene)).scene["stills"] == [*range(len(scene.time))]


def test_without_packs_joints_are_shown(shards: Path, tmp_path: Path) -> None:
    reader = ShardReader(shards)
    scene = sequence_scene(reader, two_people(reader), None)
    for index, person in enumerate(scene.people):
        assert isinstance(person.shape, Points)
        expected = annotated(whole(reader, two_people(reader)), index, person.frame)
        assert np.abs(pixels(scene, index, person.shape.joints) - expected).max() < 0.1
    assert any("skeletons" in note and "prepare-smpl" in note for note in scene.notes)


def test_people_in_2d_only_and_an_unknown_lens_are_told(shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = ShardReader(shards)
    row = two_people(reader)
    clip = whole(reader, row)
    masks = {name: np.zeros_like(mask) for name, mask in clip.masks.items()}
    flat = replace(clip, kp3d=np.zeros_like(clip.kp3d), masks=masks)
    monkeypatch.setattr(reader, "annotations", lambda ref: flat)
    scene = sequence_scene(reader, row, None)
    assert not scene.people and any("2 people with 2D" in note for note in scene.notes)
    assert any("lens" in note for note in scene.notes) and "<canvas" in page_text(scene)


def test_long_sequences_are_thinned(shards: Path, packs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(from_shards, "MOST_FRAMES", 3)
    reader = ShardReader(shards)
    scene = sequence_scene(reader, 0, packs)
    assert len(scene.time) == 3 and scene.number.tolist() == whole(reader, 0).frame_ids[::3].tolist()


def test_one_sequence_has_to_be_meant(shards: Path) -> None:
    def shown(name: str | None) -> str:
        return scene_of_sequence(shards, name, Choice()).title

    key = ShardReader(shards).index.sequences[1].key
    assert shown(key) == key
    with pytest.raises(ConfigError, match="could be meant") as caught:
        shown(None)
    assert "--sequence" in str(caught.value.hint)
    with pytest.raises(ConfigError, match="no sequence"):
        shown("dancing")
