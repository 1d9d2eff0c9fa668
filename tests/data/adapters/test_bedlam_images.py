"""BEDLAM with images in place of videos: every fifth frame, in the same world."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
import tiny_bedlam
from tiny_bedlam import CLOSEUP, ORBIT, STATIC, STILL_FRAMES

from trace_data.adapters import read_record
from trace_data.adapters.base import SequenceRef
from trace_data.adapters.bedlam import IMAGES, LAYOUT, SPEC, find, inspect
from trace_data.adapters.bedlam.scenes import ScenePlace
from trace_data.errors import AnnotationError
from trace_data.frames.video import contents
from trace_data.sample_world.bedlam_rows import write_images
from trace_data.schema.check import check_record
from trace_data.schema.frame import TurnedFrame
from trace_data.verify.datasets import verify_datasets

NUMBERS = [0, 5, 10]


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dataset with videos and images. Read only."""
    folder = tiny_bedlam.write(tmp_path_factory.mktemp("world"), STILL_FRAMES)
    write_images(folder, tiny_bedlam.still_truth().values())
    return folder


@pytest.fixture
def folder(videos: Path, tmp_path: Path) -> Path:
    """The same without videos."""
    copy = shutil.copytree(videos, tmp_path / "BEDLAM")
    for video in copy.glob("*/mp4/*.mp4"):
        video.unlink()
    return copy


def everything(folder: Path) -> dict[str, SequenceRef]:
    return {ref.name: ref for split in SPEC.splits for ref in find(folder.parent, split)}


def test_images_show_every_fifth_frame_of_the_same_world(videos: Path, folder: Path) -> None:
    refs, others = everything(folder), everything(videos)
    assert set(refs) == set(others) == set(tiny_bedlam.still_truth()) and inspect(folder.parent) == []
    for name, ref in refs.items():
        record, other = read_record(ref), read_record(others[name])
        assert (ref.layout, others[name].layout) == (IMAGES, LAYOUT) and ref.frames == len(record.frames) == 3
        assert check_record(record) == [] and record.frame_ids.tolist() == NUMBERS and record.fps == 30
        assert record.world_valid and record.world_up == other.world_up and record.everyone_annotated.all()
        for one, two in zip(record.camera.per_frame(3), other.camera.per_frame(len(other.frames))):
            np.testing.assert_array_equal(one, two[NUMBERS])
        for person, same in zip(record.people, other.people, strict=True):
            assert person.body is not None and same.body is not None and person.body.translation is not None
            np.testing.assert_array_equal(person.body.pose, same.body.pose[NUMBERS])
            np.testing.assert_array_equal(person.body.translation, same.body.translation[NUMBERS])  # type: ignore[index]
        pictures = list(tiny_bedlam.still_truth()[name].pictures())
        for number, content in zip(NUMBERS, contents(record.frames)):
            found = cv2.imread(str(content)) if isinstance(content, Path) else content.pixels
            np.testing.assert_array_equal(found, pictures[number])
        assert isinstance(record.frames[0], TurnedFrame) == (CLOSEUP in name)


def test_folders_of_images_are_looked_through_once_for_each_scene_and_not_for_each_sequence(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: Counter[str] = Counter()
    look = ScenePlace.image_folders

    def counted(scene: ScenePlace) -> dict[str, Path]:
        asked[scene.name] += 1
        return look(scene)

    monkeypatch.setattr(ScenePlace, "image_folders", counted)
    sequences = Counter(name.partition("/")[0] for name in everything(folder))
    assert sequences[ORBIT] > 1 and len(set(asked.values())) == 1, "however many sequences a scene has"


def test_they_verify_and_labels_beside_them_are_compared(folder: Path, packs: Path) -> None:
    tiny_bedlam.write_stills(folder.parent)  # the same images once more, and labels
    assert all(ref.layout == IMAGES for ref in everything(folder).values())
    report = verify_datasets(["bedlam"], folder.parent, depth="geometry", packs=packs)
    assert report.ok and not report.datasets[0].problems
    assert report.largest_reprojection_px is not None and report.largest_reprojection_px < 0.02


def test_without_motions_labels_are_read_and_without_labels_motions_are_missed(folder: Path) -> None:
    shutil.rmtree(folder / "smpl_ground_truth")
    assert everything(folder) == {}
    assert any("smpl_ground_truth" in finding.key for finding in inspect(folder.parent))
    tiny_bedlam.write_stills(folder.parent)
    assert inspect(folder.parent) == [] and len(everything(folder)) == len(tiny_bedlam.still_truth())
    assert not any(read_record(ref).world_valid for ref in everything(folder).values())


@pytest.mark.parametrize("number", NUMBERS[:2])
def test_an_image_that_is_lost_is_missed(folder: Path, number: int) -> None:
    place = folder / f"{STATIC}_6fps/png/seq_000000"
    (place / f"seq_000000_{number:04d}.png").unlink()
    [finding] = inspect(folder.parent)
    assert finding.key == f"{STATIC}/seq_000000" and f"image {number} is missing" in finding.what
    with pytest.raises(AnnotationError, match=f"image {number} ") as caught:
        read_record(everything(folder)[f"{STATIC}/seq_000000"])
    assert caught.value.where == str(place)


def test_images_of_another_size_or_sequence_are_refused(folder: Path) -> None:
    ref = everything(folder)[f"{ORBIT}/seq_000000"]
    for file in ref.images.iterdir():
        cv2.imwrite(str(file), cv2.imread(str(file))[::2, ::2])
    with pytest.raises(AnnotationError, match="64x36 px"):
        read_record(ref)
    shutil.copy(ref.images / "seq_000000_0010.png", ref.images / "seq_000000_0015.png")
    with pytest.raises(AnnotationError, match="image 15") as caught:
        read_record(ref)
    assert caught.value.where == str(ref.images)
