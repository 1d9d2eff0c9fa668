"""The DynaCam adapter against the sample world, which shares nothing with it: what went in comes out, in every form."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from trace_data.adapters import read_record
from trace_data.adapters.base import SequenceRef
from trace_data.adapters.dynacam import find, read
from trace_data.build import build_shards
from trace_data.completion import Bodies, load_bodies
from trace_data.errors import AnnotationError
from trace_data.geometry import transform
from trace_data.sample_world.dynacam import OF_44, Variant, draw_dynacam_scene, write_dynacam
from trace_data.sample_world.people import Role
from trace_data.sample_world.scene import all_joints
from trace_data.schema.check import check_record
from trace_data.schema.clip import ClipRef
from trace_data.schema.frame import PaddedFrame
from trace_data.schema.record import SequenceRecord, Split
from trace_data.shards.reader import ShardReader
from trace_data.shards.rows import rows_of
from trace_data.shards.verify import verify_shards
from trace_data.verify import DEPTHS, VerifyReport, verify_datasets
from trace_data.video import contents

ROLES = [
    (0, Role("train", (0,))),
    (1, Role("train", (1, 2))),
    (2, Role("validation", (60, 61))),
    (3, Role("validation", (62,))),
    (4, Role("test", (70,))),
    (5, Role("test", (71,))),
]
FRAMES, HEIGHT, SEED = 4, 96, 5
SPLITS: tuple[Split, ...] = ("train", "val", "test")
PANORAMA, TRANSLATION = "panorama_train", "translation_train"
VARIANTS = {
    "as released": (Variant(), ("cut-outs of different sizes", "aligned world;", "SMPL's translation")),
    "44 joints, cut-outs of one size, plain world": (
        Variant(joints=44, cut="same", aligned=False),
        ("cut-outs of one size", "plain world;", "SMPL's translation"),
    ),
    "17 joints, whole frames, translation of the hips": (
        Variant(joints=17, cut="no", hips=True),
        ("whole frames", "aligned world;", "the middle of the hips"),
    ),
    "world from camera": (Variant(inverted=True), ("cut-outs", "extrinsics inverted", "SMPL's translation")),
}


def write(root: Path, variant: Variant | None = None) -> Path:
    write_dynacam(root / "DynaCam", SEED, ROLES, FRAMES, HEIGHT, variant or Variant())
    return root / "DynaCam"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dataset as released. Read only."""
    return write(tmp_path_factory.mktemp("world"))


@pytest.fixture
def folder(world: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return shutil.copytree(world, tmp_path / "DynaCam")


def refs(folder: Path) -> list[SequenceRef]:
    return [ref for split in SPLITS for ref in find(folder.parent, split)]


def load(folder: Path, part: str) -> dict[str, Any]:
    annots: dict[str, Any] = np.load(folder / "annotations" / f"{part}.npz", allow_pickle=True)["annots"].item()
    return annots


def save(folder: Path, part: str, annots: Any) -> None:
    np.savez(folder / "annotations" / f"{part}.npz", annots=np.array(annots, dtype=object))


def change(folder: Path, part: str, edit: Callable[[dict[str, Any]], Any]) -> str:
    """Edit the arrays of the first sequence of an annotation file; its name."""
    annots = load(folder, part)
    name = next(iter(annots["sequence_dict"]))
    edit(annots[name])
    save(folder, part, annots)
    return name


def images(folder: Path, part: str) -> list[Path]:
    """Of the first sequence of a part."""
    return sorted(next(iter(sorted((folder / "video_frames" / part).iterdir()))).iterdir())


@pytest.mark.parametrize("name", VARIANTS)
def test_what_went_in_comes_out(name: str, tmp_path: Path, packs: Path) -> None:
    variant, words = VARIANTS[name]
    folder = write(tmp_path, variant)
    records = {record.name.split("_")[-1]: record for record in map(read, refs(folder))}
    assert len(records) == 6
    for index, role in ROLES:
        record = records[f"{index:04d}"]
        half = "translation" if index % 2 else "panorama"
        assert record.name.startswith(f"{half}/") and record.key == f"dynacam/{record.split}/{record.name}"
        assert check_record(record) == [] or record.remarks  # the sample world's own words on remarkable forms
        assert record.split == {"validation": "val"}.get(role.split, role.split)
        assert record.provenance["synthetic"] == "true" and record.world_valid and record.fps == 30.0
        np.testing.assert_array_equal(record.frame_ids, np.arange(4) + index % 7)
        np.testing.assert_array_equal(record.everyone_annotated, half == "panorama")
        compare(record, index, role, half, variant, load_bodies(packs))
        if half == "translation":
            assert words[0] in record.provenance["layout"]
        elif variant.inverted:
            assert words[1] in record.world_reason and any("inverted" in remark for remark in record.remarks)
        else:
            assert words[1] in record.world_reason
        assert words[2] in record.world_reason
    report = verify_datasets(["dynacam"], tmp_path, depth="geometry", packs=packs)
    assert report.ok and report.datasets[0].synthetic
    assert report.largest_reprojection_px is not None and report.largest_reprojection_px < 0.05


def compare(record: SequenceRecord, index: int, role: Role, half: Any, variant: Variant, bodies: Bodies) -> None:
    """A record with the scene that it was drawn from."""
    scene = draw_dynacam_scene(SEED, index, role, FRAMES, HEIGHT, half)
    intrinsics, extrinsics = record.camera.per_frame(FRAMES)
    corner = scene.camera.intrinsics[:2, 2] - intrinsics[:, :2, 2]
    cut = half == "translation" and variant.cut != "no"
    assert (corner == 0).all() if not cut else (corner >= 0).all() and (corner > 0).any()
    np.testing.assert_allclose(
        intrinsics[:, (0, 1), (0, 1)], scene.camera.intrinsics[(0, 1), (0, 1)][None].repeat(4, 0)
    )
    assert [person.name for person in record.people] == [str(identity) for identity in role.people]
    for person, performance in zip(record.people, scene.performances):
        assert person.gender == "neutral" and person.present.all() and person.body is not None
        np.testing.assert_allclose(person.body.betas, np.tile(performance.person.betas, (4, 1)), rtol=1e-6, atol=1e-7)
        np.testing.assert_allclose(person.body.pose[:, 1:], performance.motion.pose[::2, 1:], rtol=1e-6, atol=1e-6)
        truth = transform(scene.camera.camera_from_world, all_joints(performance)[0])
        found = transform(extrinsics, bodies.place(person.body)[0])
        np.testing.assert_allclose(found, truth, atol=5e-5)  # what the packs and float32 cost
        assert person.keypoints2d is not None and len(OF_44[variant.joints]) == variant.joints
        points = person.keypoints2d.points
        pixels = scene.camera.pixels(all_joints(performance)[0])[0][:, OF_44[variant.joints]] - corner[:, None]
        seen = points[..., 2] > 0
        assert seen.mean() > 0.5 and (points[~seen] == 0).all()
        np.testing.assert_allclose(points[seen][:, :2], pixels[seen], atol=1e-4)
        assert (person.keypoints2d.to_44()[..., 2] > 0).sum() == seen.sum(), "every joint has its name"


def test_cut_outs_lie_in_the_corner_of_frames_of_one_size(world: Path) -> None:
    record = read(next(ref for ref in refs(world) if ref.name.startswith("translation/")))
    assert isinstance(record.frames[0], PaddedFrame)
    sizes = set()
    for frame, content in zip(record.frames, contents(record.frames)):
        assert isinstance(frame, PaddedFrame) and not isinstance(content, Path)
        cut = cv2.imread(str(frame.image))
        height, width = cut.shape[:2]
        sizes.add((width, height))
        assert content.pixels.shape == (record.camera.height, record.camera.width, 3)
        np.testing.assert_array_equal(content.pixels[:height, :width], cut)
        assert (content.pixels[height:] == 0).all() and (content.pixels[:, width:] == 0).all()
    assert len(sizes) > 1 and np.max(list(sizes), axis=0).tolist() == [record.camera.width, record.camera.height]


def test_a_translation_of_the_hips_reaches_shards_as_the_file_format_means_it(tmp_path: Path, packs: Path) -> None:
    """Both forms of one world give the same rows; without a body model the hips cannot be turned into one."""
    bodies, rows = load_bodies(packs), []
    for hips in (False, True):
        folder = write(tmp_path / str(hips), Variant(hips=hips))
        record = read(find(folder.parent, "train")[0])
        assert record.people[0].body is not None and record.people[0].body.origin == ("hips" if hips else "model")
        rows.append(rows_of(record, bodies.complete(record)).people)
    np.testing.assert_allclose(rows[0]["people/translation"], rows[1]["people/translation"], atol=2e-5)
    np.testing.assert_allclose(rows[0]["people/kp3d"], rows[1]["people/kp3d"], atol=2e-5)
    assert rows[1]["masks/translation"].all() and rows[1]["masks/world"].all()
    alone = rows_of(record, {}).people
    assert not alone["masks/translation"].any() and not alone["masks/world"].any()
    assert (alone["people/translation"] == 0).all() and alone["masks/root_rotation"].all()


def test_shards_are_built_from_cut_outs(world: Path, packs: Path, tmp_path: Path) -> None:
    """Frames come back padded, with the camera that belongs to them; names may contain a slash."""
    index = build_shards(["dynacam"], world.parent, tmp_path, packs=packs, splits=["train"]).index
    assert not index.bad and verify_shards(tmp_path).ok
    number = next(i for i, entry in enumerate(index.sequences) if entry.name.startswith("translation/"))
    entry, record = index.sequences[number], read(find(world.parent, "train")[1])
    assert entry.key == record.key and entry.people == ("1", "2") and entry.world_valid
    ref, reader = ClipRef(sequence=number, start=1, stride=2, length=2), ShardReader(tmp_path)
    for data, content in zip(reader.encoded(ref), list(contents(record.frames))[1::2]):
        assert not isinstance(content, Path)
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        assert picture.shape == content.pixels.shape
        assert np.abs(picture.astype(int) - content.pixels).mean() < 8  # a JPEG
    clip = reader.annotations(ref)
    np.testing.assert_allclose(clip.intrinsics, record.camera.intrinsics[1::2], rtol=1e-6)
    assert np.ptp(record.camera.intrinsics[:, 0, 2]) > 0, "each cut-out has its own principal point"


def test_reading_leaves_the_shared_arrays_alone(world: Path) -> None:
    ref = find(world.parent, "train")[1]
    first, second = read(ref), read(ref)
    for one, other in zip(first.people, second.people):
        assert one.body is not None and other.body is not None and one.keypoints2d is not None
        assert other.keypoints2d is not None
        np.testing.assert_array_equal(one.body.pose, other.body.pose)
        np.testing.assert_array_equal(one.keypoints2d.points, other.keypoints2d.points)
    np.testing.assert_array_equal(first.camera.intrinsics, second.camera.intrinsics)


def test_the_same_seed_gives_the_same_bytes(world: Path, tmp_path: Path) -> None:
    again = write(tmp_path)
    files = sorted(file.relative_to(world) for file in world.rglob("*") if file.is_file())
    assert files == sorted(file.relative_to(again) for file in again.rglob("*") if file.is_file())
    assert len(files) == 6 * FRAMES + 6
    for file in files:
        assert (world / file).read_bytes() == (again / file).read_bytes(), file


def test_gaps_stay_gaps_and_frames_are_put_in_order(folder: Path) -> None:
    """Frames 0, 1, 2, 9 stored backwards, the image of frame 1 lost, that of frame 2 called 2.JPEG."""
    name = change(folder, PANORAMA, lambda arrays: backwards(arrays))
    annots = load(folder, PANORAMA)
    annots["sequence_dict"][name] = [9, 2, 1, 0]
    save(folder, PANORAMA, annots)
    truth = load(folder, PANORAMA)[name]
    files = images(folder, PANORAMA)
    files[3].rename(files[3].with_name("000009.jpg"))
    files[2].rename(files[2].with_name("2.JPEG"))
    files[1].unlink()
    record = read(find(folder.parent, "train")[0])
    assert record.frame_ids.tolist() == [0, 2, 9]
    assert [frame.name for frame in record.frames if isinstance(frame, Path)] == ["000000.jpg", "2.JPEG", "000009.jpg"]
    assert record.provenance["frames without image"] == "1"
    body = record.people[0].body
    assert body is not None
    np.testing.assert_allclose(body.pose[:, 1:], truth["poses"][0][[3, 1, 0], 1:])
    assert check_record(record) == []


def backwards(arrays: dict[str, Any]) -> None:
    for key, value in arrays.items():
        if key != "person_id":
            arrays[key] = value[::-1] if key.startswith(("camera", "frame")) else value[:, ::-1]
    arrays["frame_ids"] = ["9", "2", "1", "0"]  # words, as lists of file names have them


def test_known_defects_are_those_of_four_sequences(folder: Path) -> None:
    old = find(folder.parent, "train")[0]
    annots, name = load(folder, PANORAMA), old.images.name
    for part in (annots, annots["sequence_dict"]):
        part["pano-slam_dunk-2-0-0"] = part.pop(name)
    save(folder, PANORAMA, annots)
    old.images.rename(old.images.with_name("pano-slam_dunk-2-0-0"))
    ref = find(folder.parent, "train")[0]
    assert not read_record(ref).everyone_annotated.any() and "not annotated" in read_record(ref).provenance["defects"]
    assert read_record(ref, defects=False).everyone_annotated.all()


def test_boxes_alone_move_the_points(folder: Path) -> None:
    ref = next(ref for ref in find(folder.parent, "train") if ref.name.startswith("translation/"))
    given = read(ref)
    change(folder, TRANSLATION, lambda arrays: arrays.pop("kp2ds_crop"))
    derived = read(ref)
    for one, other in zip(given.people, derived.people):
        assert one.keypoints2d is not None and other.keypoints2d is not None
        np.testing.assert_allclose(one.keypoints2d.points, other.keypoints2d.points, atol=1e-4)


def swap_sides(arrays: dict[str, Any]) -> None:
    order = np.arange(25)
    for right, left in ((2, 5), (3, 6), (4, 7), (9, 12), (10, 13), (11, 14), (15, 16), (17, 18), (19, 22), (20, 23)):
        order[[right, left]] = left, right
    arrays["kp2ds"] = arrays["kp2ds"][:, :, order]


def stale(arrays: dict[str, Any]) -> None:
    arrays["camera_intrinsics"] = arrays["camera_intrinsics"] * np.array([[1.5], [1.5], [1.0]])


def late(arrays: dict[str, Any]) -> None:
    """The 2D joints of each frame are those of the next sequence's length: turned round in time."""
    arrays["kp2ds"] = np.roll(arrays["kp2ds"], 1, axis=1) + np.float32([3, 0, 0])


ARRAYS: dict[str, tuple[str, str, Callable[[dict[str, Any]], Any], str]] = {
    "NaN": (
        "content", PANORAMA, lambda a: a["poses"].__setitem__((0, 2, 3, 1), np.nan),
        "error: poses has 1 NaN or infinite values, first at [0, 2, 3, 1], expected finite numbers",
    ),
    "millimetres": (
        "content", PANORAMA, lambda a: a.update(world_trans_aligned=a["world_trans_aligned"] * 1000),
        "m from the origin",
    ),
    "19 joints": (
        "content", PANORAMA, lambda a: a.update(kp2ds=a["kp2ds"][:, :, :19]),
        "error: kp2ds has 19 joints, expected 17 (COCO_17) or 25 (OpenPose_25) or 44 (ALL_44)",
    ),
    "a key is missing": ("content", TRANSLATION, lambda a: a.pop("world_trans"), "error: world_trans is missing"),
    "a person short": (
        "content", TRANSLATION, lambda a: a.update(betas=a["betas"][:1]), "betas has shape (1, 4, 10), expected 2x4x10",
    ),
    "frames short": (
        "content", TRANSLATION, lambda a: a.update(camera_extrinsics=a["camera_extrinsics"][:3]),
        "camera_extrinsics has shape (3, 3, 4), expected 4xnx4",
    ),
    "frame ids that differ": (
        "content", PANORAMA, lambda a: a.update(frame_ids=np.array([0, 1, 2, 8])),
        "frame_ids has 4 numbers from 0 to 8, sequence_dict 4 numbers from 0 to 3",
    ),
    "frame ids that are none": ("content", PANORAMA, lambda a: a.update(frame_ids="many"), "expected a list of frame"),
    "no rotations": (
        "content", TRANSLATION, lambda a: a.update(camera_extrinsics=a["camera_extrinsics"] * 0),
        "camera_extrinsics has no rotations",
    ),
    "boxes of other frames": (
        "content", TRANSLATION, lambda a: a.update(seq_bboxes=a["seq_bboxes"] + np.array([[0, 0], [9, 9]])),
        "neither its box of seq_bboxes",
    ),
    "crops without boxes": ("content", TRANSLATION, lambda a: a.pop("seq_bboxes"), "there is no seq_bboxes"),
    "points of other boxes": (
        "content", TRANSLATION, lambda a: a.update(kp2ds_crop=a["kp2ds_crop"] + np.float32([7, 0, 0])),
        "kp2ds_crop lies 7.0 px (median) from kp2ds moved into the box",
    ),
    "two people with one id": ("content", TRANSLATION, lambda a: a["person_id"].fill(3), "names repeat: ['3', '3']"),
    "another world": (
        "content", TRANSLATION, lambda a: a.update(world_grots=a["world_grots"][:, ::-1] + 0.4),
        "world roots are # degrees (median) from the camera's",
    ),
    "left and right": ("geometry", PANORAMA, swap_sides, "error: left and right are exchanged for 0"),
    "stale calibration": ("geometry", PANORAMA, stale, "error: 3D joints meet the 2D joints at"),
    "points of other frames": ("geometry", PANORAMA, late, "error: 3D joints meet the 2D joints at"),
}  # fmt: skip
REMARKABLE = {"another world"}
"""Found, but of no hindrance: the sequence is read without supervision of its world."""


def verify(folder: Path, depth: Any = "content", packs: Path | None = None) -> VerifyReport:
    return verify_datasets(["dynacam"], folder.parent, depth=depth, packs=packs)


def problems(report: VerifyReport) -> list[str]:
    return [f"{p.severity}: {p.what}" for dataset in report.datasets for p in dataset.problems]


@pytest.mark.parametrize("case", ARRAYS)
def test_wrong_arrays_are_found_at_their_depth(folder: Path, case: str, packs: Path) -> None:
    depth, part, edit, message = ARRAYS[case]
    name = change(folder, part, edit)
    assert verify(folder, DEPTHS[DEPTHS.index(depth) - 1]).ok  # type: ignore[arg-type]
    report = verify(folder, depth, packs)
    assert report.ok == (case in REMARKABLE)
    found = problems(report)
    begin, _, end = message.partition("#")
    assert any(begin in what and end in what for what in found), found
    assert all(name in example for problem in report.datasets[0].problems for example in problem.examples)


def test_a_world_that_does_not_fit_is_not_supervised(folder: Path) -> None:
    """The aligned arrays of the panorama half were made for another camera: the plain ones are used, and said so."""
    change(folder, PANORAMA, lambda a: a.update(world_grots_aligned=a["world_grots_aligned"] + 0.4))
    record = read(find(folder.parent, "train")[0])
    assert record.world_valid and "plain world" in record.world_reason
    assert record.remarks == ("the plain world is used: the aligned one is missing or does not fit",)
    change(folder, PANORAMA, lambda a: a.update(world_grots=a["world_grots"] + 0.4))
    record = read(find(folder.parent, "train")[0])
    assert not record.world_valid and "disagree" in record.world_reason


def rename(parts: list[Path], by: int) -> None:
    for file in sorted(parts, reverse=by > 0):
        file.rename(file.with_name(f"{int(file.stem) + by:06d}{file.suffix}"))


def exchange(folder: Path) -> None:
    """The frames of the two first sequences, whose numbers differ."""
    one, other = (images(folder, part)[0].parent for part in (PANORAMA, "panorama_test"))
    one.rename(folder / "kept")
    other.rename(one)
    (folder / "kept").rename(other)


def forbidden(folder: Path) -> None:
    class Command:
        def __reduce__(self) -> tuple[Any, ...]:
            import os

            return os.system, (f"touch {folder / 'ran'}",)

    save(folder, PANORAMA, {"ID_num": 1, "sequence_dict": {}, "a": Command()})


def loop(folder: Path) -> None:
    target = folder / "video_frames" / "panorama_val"
    shutil.rmtree(target)
    target.symlink_to(target)


def truncate(file: Path, bytes_kept: int) -> None:
    file.write_bytes(file.read_bytes()[:bytes_kept])


FILES: dict[str, tuple[str, Callable[[Path], Any], str]] = {
    "annotation file": (
        "layout", lambda f: (f / "annotations" / f"{PANORAMA}.npz").unlink(),
        "error: is missing, with images of 1 sequences",
    ),
    "annotation file cut short": (
        "layout", lambda f: truncate(f / "annotations" / f"{PANORAMA}.npz", 900), "error: is not readable as an .npz",
    ),
    "annotation file of another kind": (
        "layout", lambda f: np.savez(f / "annotations" / f"{PANORAMA}.npz", poses=np.zeros(3)),
        "error: has no annots, expected a dict under annots",
    ),
    "forbidden class": ("layout", forbidden, "posix.system"),
    "annotations": ("layout", lambda f: shutil.rmtree(f / "annotations"), "error: there is no annotations/ in it"),
    "frames": ("layout", lambda f: shutil.rmtree(f / "video_frames"), "error: there is no video_frames/ in it"),
    "frames of a part": (
        "layout", lambda f: shutil.rmtree(f / "video_frames" / PANORAMA),
        "error: annotation of 1 sequences without any images",
    ),
    "a link in a circle": ("layout", loop, "cannot be followed: Too many levels of symbolic links"),
    "frame numbers one too high": (
        "layout", lambda f: rename(images(f, PANORAMA), 1), "error: image numbers are those of the annotation +1",
    ),
    "swapped names": ("layout", exchange, "error: no image is annotated"),
    "a sequence twice": (
        "layout", lambda f: save(f, "panorama_val", {**load(f, "panorama_val"), **load(f, PANORAMA)}),
        "error: the sequence is in train and val",
    ),
    "a truncated JPEG": (
        "content", lambda f: truncate(images(f, PANORAMA)[2], 1500), "error: the JPEG ends too early (1,500 bytes",
    ),
    "a truncated PNG": (
        "content", lambda f: truncate(images(f, TRANSLATION)[1], 3000), "bytes do not decode as an image",
    ),
    "a frame of another size": (
        "content", lambda f: cv2.imwrite(str(images(f, PANORAMA)[1]), np.zeros((20, 30, 3), np.uint8)),
        "error: is 30x20 px, the first of the sequence 96x96; there is no seq_bboxes",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", FILES)
def test_wrong_files_are_found_at_their_depth(folder: Path, case: str) -> None:
    depth, edit, message = FILES[case]
    if case == "swapped names":  # whose numbers overlap in nothing
        rename(images(folder, "panorama_test"), 20)
        change(folder, "panorama_test", lambda a: a.update(frame_ids=a["frame_ids"] + 20))
        annots = load(folder, "panorama_test")
        annots["sequence_dict"] = {name: annots[name]["frame_ids"].tolist() for name in annots["sequence_dict"]}
        save(folder, "panorama_test", annots)
        assert problems(verify(folder)) == []
    edit(folder)
    if depth == "content":
        assert verify(folder, "layout").ok
    report = verify(folder, depth)
    assert not report.ok and any(message in what for what in problems(report)), problems(report)
    assert not (folder / "ran").exists()


def test_the_known_state_of_the_release_is_a_warning(folder: Path) -> None:
    """Sequences with only one of images and annotation, single frames lost, a part not downloaded."""
    shutil.copytree(images(folder, PANORAMA)[0].parent, folder / "video_frames" / PANORAMA / "pano-extra-0")
    annots = load(folder, TRANSLATION)
    name = next(iter(annots["sequence_dict"]))
    for part in (annots, annots["sequence_dict"]):
        part["lost"] = part[name]
    save(folder, TRANSLATION, annots)
    images(folder, "panorama_val")[1].unlink()
    (folder / "annotations" / "panorama_test.npz").unlink()
    shutil.rmtree(folder / "video_frames" / "panorama_test")
    report = verify(folder)
    assert report.ok and report.datasets[0].sequences == {"train": 2, "val": 2, "test": 1}
    assert sorted(problems(report)) == [
        "warning: 1 of 4 annotated frames have no image, first 000003",
        "warning: annotation without images",
        "warning: images without annotation",
        "warning: is not here",
    ]


def test_letter_case_does_not_matter(folder: Path) -> None:
    before = [(ref.key, ref.frames) for ref in refs(folder)]
    moves = {
        f"annotations/{PANORAMA}.npz": "annotations/Panorama_Train.NPZ",
        "annotations/translation_val.npz": "annotations/translation_validation.npz",
        f"video_frames/{TRANSLATION}": "video_frames/Translation-train",
        "annotations": "Annotations",
        "video_frames": "Video_Frames",
    }
    for old, new in moves.items():
        (folder / old).rename(folder / new)
    image = next((folder / "Video_Frames" / "Translation-train").iterdir())
    image.rename(image.with_name(image.name.upper()))
    folder.rename(folder.with_name("dynacam"))
    assert [(ref.key, ref.frames) for ref in refs(folder.with_name("dynacam"))] == before
    assert problems(verify(folder)) == []


def test_what_is_not_there_is_named(folder: Path) -> None:
    ref = find(folder.parent, "train")[0]
    other = SequenceRef(**{name: getattr(ref, name) for name in SequenceRef.__slots__} | {"name": ref.name + "x"})
    with pytest.raises(AnnotationError, match=rf"is not in the file, but {ref.images.name} is"):
        read(other)
    ref.annotation.unlink()
    with pytest.raises(AnnotationError, match="cannot be read: No such file"):
        read(ref)
