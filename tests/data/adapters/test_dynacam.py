"""The DynaCam adapter against the sample world, which shares nothing with it: what went in comes out, in every form."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from tiny_dynacam import FRAMES, HEIGHT, PANORAMA, ROLES, SEED, TRANSLATION, change, images, load, save, write

from trace_data.adapters import read_record
from trace_data.adapters.base import SequenceRef
from trace_data.adapters.dynacam import SPEC, find, read
from trace_data.adapters.dynacam.annotations import JOINT_SETS
from trace_data.assets.bodies import BodyModels, load_bodies
from trace_data.builder.build import build_shards
from trace_data.errors import AnnotationError
from trace_data.frames.video import PaddedPicture, contents
from trace_data.geometry import transform
from trace_data.sample_world.dynacam import OF_44, Variant, draw_dynacam_scene
from trace_data.sample_world.people import Role
from trace_data.sample_world.scene import all_joints
from trace_data.schema.check import check_record
from trace_data.schema.clip import ClipRef
from trace_data.schema.frame import PaddedFrame
from trace_data.schema.keypoints import ALL_44, LAYOUTS
from trace_data.schema.record import SequenceRecord
from trace_data.shards.checks.shards import verify_shards
from trace_data.shards.reader import ShardReader
from trace_data.shards.rows import rows_of
from trace_data.verify.datasets import verify_datasets

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


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dataset as released. Read only."""
    return write(tmp_path_factory.mktemp("world"))


@pytest.fixture
def folder(world: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return shutil.copytree(world, tmp_path / "DynaCam")


def everything(folder: Path) -> list[SequenceRef]:
    return [ref for split in SPEC.splits for ref in find(folder.parent, split)]


@pytest.mark.parametrize("name", VARIANTS)
def test_what_went_in_comes_out(name: str, tmp_path: Path, packs: Path) -> None:
    variant, words = VARIANTS[name]
    folder = write(tmp_path, variant)
    records = {record.name.split("_")[-1]: record for record in map(read, everything(folder))}
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


def compare(record: SequenceRecord, index: int, role: Role, half: Any, variant: Variant, bodies: BodyModels) -> None:
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
    record = read(next(ref for ref in everything(world) if ref.name.startswith("translation/")))
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


@pytest.fixture(scope="module")
def whole_world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dataset with whole frames. Read only."""
    return write(tmp_path_factory.mktemp("whole"), Variant(cut="no"))


def recut(folder: Path, boxes: Any, *, said: Any) -> SequenceRecord:
    """Cut the first sequence's frames of the translation half at `boxes`, let seq_bboxes say `said`, and read it."""
    for file, ((left, top), (right, bottom)) in zip(images(folder, TRANSLATION), boxes):
        cv2.imwrite(str(file), cv2.imread(str(file))[top:bottom, left:right])
    change(folder, TRANSLATION, lambda arrays: arrays.update(seq_bboxes=said))
    return read(next(ref for ref in find(folder.parent, "train") if ref.name.startswith("translation/")))


def seen(record: SequenceRecord) -> Any:
    """(S, T, 25, 3)."""
    return np.stack([person.keypoints2d.points for person in record.people if person.keypoints2d is not None])


def test_boxes_that_leave_the_frame_are_cut_at_its_edge(whole_world: Path, tmp_path: Path) -> None:
    """NumPy ends a slice at the edge and says nothing, so such a box is larger than the cut-out that it made."""
    folder = shutil.copytree(whole_world, tmp_path / "DynaCam")
    before = read(find(folder.parent, "train")[1])
    boxes = np.array([[[5 + i, 3], [HEIGHT + 12, 60 + 20 * i]] for i in range(FRAMES)])
    record = recut(folder, boxes, said=boxes.reshape(FRAMES, 4))
    assert record.provenance["layout"].endswith("cut-outs of different sizes, padded")
    assert (record.camera.width, record.camera.height) == (HEIGHT - 5, HEIGHT - 3)
    np.testing.assert_array_equal(before.camera.intrinsics - record.camera.intrinsics, corner_matrix(boxes[:, 0]))
    inside = (seen(before)[..., 2] > 0) & (seen(before)[..., :2] >= boxes[:, None, 0]).all(-1)
    inside &= (seen(before)[..., :2] <= np.minimum(boxes[:, None, 1], HEIGHT) - 0.5).all(-1)
    assert 0 < inside.sum() < (seen(before)[..., 2] > 0).sum(), "some are outside their cut-out"
    np.testing.assert_array_equal(seen(record)[..., 2] > 0, inside)
    moved = seen(before)[..., :2] - boxes[:, None, 0]
    np.testing.assert_allclose(seen(record)[..., :2][inside], moved[inside], atol=1e-4)


def corner_matrix(corner: Any) -> Any:
    matrices = np.zeros((FRAMES, 3, 3))
    matrices[:, :2, 2] = corner
    return matrices


def test_frames_of_different_sizes_that_hold_their_boxes_are_padded(whole_world: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(whole_world, tmp_path / "DynaCam")
    before = read(find(folder.parent, "train")[1])
    cuts = np.array([[[0, 0], [HEIGHT, HEIGHT - 8 * i]] for i in range(FRAMES)])
    record = recut(folder, cuts, said=np.tile([[2, 2], [30, 30]], (FRAMES, 1, 1)))
    assert record.provenance["layout"].endswith("whole frames of different sizes, padded")
    assert (record.camera.width, record.camera.height) == (HEIGHT, HEIGHT)
    np.testing.assert_array_equal(record.camera.intrinsics, before.camera.intrinsics)
    lower = seen(before)[..., 1] > HEIGHT - 0.5 - 8 * np.arange(FRAMES)[:, None]
    assert lower.any(), "some are outside their image"
    np.testing.assert_array_equal(seen(record), np.where(lower[..., None], 0, seen(before)))
    assert record.remarks == ("images differ in size and are larger than their boxes: taken as whole frames",)


def test_joint_sets_are_the_published_ones() -> None:
    for count, name in JOINT_SETS.items():
        assert [ALL_44.index(joint) for joint in LAYOUTS[name]] == OF_44[count], name


def test_points_without_confidence_and_without_hips(folder: Path) -> None:
    def edit(arrays: dict[str, Any]) -> None:
        points = arrays["kp2ds"][..., :2].copy()
        points[:, :, [9, 12]] = -2
        arrays["kp2ds"] = points

    change(folder, PANORAMA, edit)
    record = read(find(folder.parent, "train")[0])
    assert not seen(record)[:, :, [9, 12]].any()
    kept = np.delete(seen(record), [9, 12], axis=2)
    assert set(kept[..., 2].ravel()) == {0.0, 1.0} and kept[..., 2].mean() > 0.5
    assert "SMPL's translation: assumed, no hips are seen" in record.world_reason


def test_a_padded_picture_is_no_larger_than_its_frame(folder: Path) -> None:
    image = images(folder, PANORAMA)[0]
    with pytest.raises(AnnotationError, match="96x96 px, expected at most 90x200"):
        _ = PaddedPicture(frame=PaddedFrame(image, 90, 200)).pixels
    image.write_bytes(image.read_bytes()[:1500])
    with pytest.raises(AnnotationError, match="the JPEG ends too early"):
        _ = PaddedPicture(frame=PaddedFrame(image, 200, 200)).pixels
