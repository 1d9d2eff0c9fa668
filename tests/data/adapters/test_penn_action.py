"""The Penn Action adapter in both layouts: against files written here, and against scenes of the sample world."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import pytest
import tiny_penn_action as tiny
from found_at_depth import Payload

from trace_data.adapters import canonical_name, read_record
from trace_data.adapters.penn_action import SIDES, SPEC, find, inspect, read
from trace_data.builder.build import build_shards
from trace_data.builder.plan import BuildPart
from trace_data.errors import AnnotationError, ConfigError, DatasetLayoutError
from trace_data.sample_world.penn_action import write_penn_action
from trace_data.sample_world.people import Role
from trace_data.sample_world.scene import all_joints, draw_scene, render_scene
from trace_data.schema.check import check_record
from trace_data.schema.keypoints import ALL_44, PENN_13, PENN_13_OFFICIAL
from trace_data.schema.record import SequenceRecord
from trace_data.verify.datasets import DEPTHS, Depth, verify_datasets

LAYOUTS = ("labels", "npz")
L_SHOULDER, R_SHOULDER = ALL_44.index("L_Shoulder"), ALL_44.index("R_Shoulder")
ROLES: list[tuple[int, Role]] = [(0, Role("train", (1,))), (4, Role("test", (61, 60)))]


@pytest.fixture(params=LAYOUTS)
def folder(request: Any, tmp_path: Path) -> Path:
    return tiny.write(tmp_path, packed=request.param == "npz")


@pytest.fixture
def official(tmp_path: Path) -> Path:
    return tiny.write(tmp_path)


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    return tiny.write(tmp_path, packed=True)


@pytest.fixture(scope="module", params=LAYOUTS)
def world(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("penn") / "Penn_Action"
    folder.mkdir()
    write_penn_action(folder, 5, ROLES, 6, 128, request.param)
    return folder


def problems(folder: Path, depth: Depth) -> list[str]:
    report = verify_datasets(["penn-action"], folder.parent, depth=depth)
    return [f"{p.severity}: {p.what}" for p in report.datasets[0].problems]


def test_what_goes_in_comes_out(folder: Path) -> None:
    refs = find(folder.parent, "train")
    assert [ref.key for ref in refs] == ["penn-action/train/0001", "penn-action/train/0003"]
    assert [ref.name for ref in find(folder, "test")] == ["0002"] and find(folder, "val") == []
    record = read(refs[0])
    assert check_record(record) == [] and inspect(folder) == []
    content = tiny.labels(1, 4, 1)
    assert [file.name for file in record.frames] == [f"{n:06d}.jpg" for n in (1, 2, 3, 4)]
    np.testing.assert_array_equal(record.frame_ids, [1, 2, 3, 4])
    (person,) = record.people
    assert person.keypoints2d is not None and person.keypoints2d.layout == "PENN_13"
    points = person.keypoints2d.points
    np.testing.assert_array_equal(points[..., 2], content["visibility"])
    seen = content["visibility"] == 1
    np.testing.assert_array_equal(points[..., 0][seen], content["x"][seen] - 1)
    np.testing.assert_array_equal(points[..., 1][seen], content["y"][seen] - 1)
    assert (points[~seen] == 0).all() and person.present.all() and person.joints3d is None
    assert not record.everyone_annotated.any() and not record.world_valid and not record.camera.known
    assert (record.camera.width, record.camera.height, record.camera.moving) == (tiny.WIDTH, tiny.HEIGHT, False)
    assert record.provenance["synthetic"] == "false" and record.provenance["layout"] == refs[0].layout
    assert person.body is not None and person.body.known == {"body_pose"}
    np.testing.assert_array_equal(person.body_valid, [False, True, False, False])
    pose = np.random.default_rng(9).normal(0, 0.3, 72).reshape(24, 3)
    np.testing.assert_array_equal(person.body.pose[1, 1:], pose[1:])
    assert not person.body.pose[:, 0].any() and not person.body.pose[[0, 2, 3]].any()
    assert read(refs[1]).people[0].body is None, "no frame of it was fitted"


def test_the_layout_is_said_and_the_release_comes_first(tmp_path: Path) -> None:
    folder = tiny.write(tmp_path, packed=True, eft=False)
    assert find(folder, "train")[0].layout == "packed (annots_train.npz)"
    assert [f.what for f in inspect(folder)] == ["there is no eft_annots.npz: 2D joints only, no body poses"]
    (folder / "annots_train.npz").rename(folder / "Annots.npz")  # the published page calls it so
    assert find(folder, "train")[0].layout == "packed (Annots.npz)"
    (folder / "frames").rename(folder / "Frames")
    folder.rename(tmp_path / "PennAction")
    assert len(find(tmp_path, "train")) == 2
    other = tiny.write(tmp_path / "both")
    np.savez(other / "annots.npz", seq_info=np.array({}, object))
    assert find(other, "train")[0].layout == "official (labels) + eft_annots.npz"
    assert {canonical_name(name) for name in ("penn-action", "Penn_Action", "pennaction", "PENN")} == {SPEC.name}


def of_scene(record: SequenceRecord, index: int, role: Role) -> None:
    scene = draw_scene(5, index, role, 6, 128, shot="fixed", neutral=True)
    (person,) = record.people
    assert person.keypoints2d is not None and person.body is not None
    pixels, _ = scene.camera.pixels(all_joints(scene.performances[0])[0])
    points = person.keypoints2d.to_44()
    known = points[..., 2] > 0
    assert known.sum() > 40 and set(np.flatnonzero(known.any(0))) <= {ALL_44.index(name) for name in PENN_13}
    np.testing.assert_allclose(points[known][:, :2], pixels[known], atol=1e-9)
    np.testing.assert_array_equal(person.body_valid, [True, False] * 3)
    pose = scene.performances[0].motion.pose[::2]
    np.testing.assert_array_equal(person.body.pose[::2, 1:], pose[::2, 1:])
    for file, (image, _) in zip(record.frames, render_scene(scene), strict=True):
        assert isinstance(file, Path)
        assert np.abs(cv2.imread(str(file)).astype(int) - image).mean() < 6, "it is this frame's picture"


def test_scenes_come_back_from_both_layouts(world: Path) -> None:
    assert problems(world, "geometry") == []
    for split, (index, role) in zip(("train", "test"), ROLES):
        (ref,) = find(world.parent, split)  # type: ignore[arg-type]
        assert ref.name == f"{index + 1:04d}"
        record = read(ref)
        assert record.provenance["synthetic"] == "true" and not record.world_valid
        of_scene(record, index, role)


def test_writing_again_gives_the_same_bytes(world: Path, tmp_path: Path) -> None:
    layout: Any = "labels" if (world / "labels").is_dir() else "npz"
    folder = tmp_path / "Penn_Action"
    folder.mkdir()
    write_penn_action(folder, 5, ROLES, 6, 128, layout)
    files = {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}
    assert files == {str(file.relative_to(world)) for file in world.rglob("*") if file.is_file()}
    assert [name for name in files if (folder / name).read_bytes() != (world / name).read_bytes()] == []
    if layout == "labels":
        before = (folder / "frames" / "0001" / "000001.jpg").stat().st_mtime_ns
        (folder / "labels" / "0005.mat").unlink()
        write_penn_action(folder, 5, ROLES, 6, 128, layout)
        assert (folder / "frames" / "0001" / "000001.jpg").stat().st_mtime_ns == before
        assert (folder / "labels" / "0005.mat").read_bytes() == (world / "labels" / "0005.mat").read_bytes()


def test_shards_hold_body_poses_and_nothing_that_is_not_known(world: Path, packs: Path, tmp_path: Path) -> None:
    report = build_shards(["penn-action"], world.parent, tmp_path, packs=packs, splits=("train", "test"))
    assert report.bad == () and report.warnings == ()
    with h5py.File(tmp_path / "penn-action-train-00000.h5") as shard:
        masks = {name: shard[f"masks/{name}"][:].tolist() for name in shard["masks"]}
        assert masks["body_pose"] == [1, 0] * 3 and masks["pose2d"] == masks["center"] == [1] * 6
        empty = {"root_rotation", "shape", "translation", "joints3d", "world"}
        assert not any(any(masks[name]) for name in empty) and set(masks) == empty | {"body_pose", "pose2d", "center"}
        assert not shard["frame_masks/intrinsics"][:].any() and not shard["frame_masks/everyone_annotated"][:].any()
        assert not shard["people/kp3d"][:].any() and not shard["people/betas"][:].any()


def test_the_first_of_each_pair_is_the_right_side(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The label files have right before left, whatever the readme says; its list can be had, and the ref carries it."""
    assert [name.replace("R_", "L_") for name in PENN_13[1::2]] == list(PENN_13[2::2])
    assert list(PENN_13_OFFICIAL[1::2]) == list(PENN_13[2::2]) and PENN_13_OFFICIAL[0] == PENN_13[0]
    before = find(folder.parent, "train")[0]
    monkeypatch.setenv(SIDES, "official")
    ref = find(folder.parent, "train")[0]
    assert ref.layout.endswith(", sides official") and ref != before
    monkeypatch.delenv(SIDES)
    measured, official = read_record(before), read_record(ref)
    assert (measured.provenance["sides"], official.provenance["sides"]) == ("right-first", "official")
    points = measured.people[0].keypoints2d
    assert points is not None and (points.to_44()[:, R_SHOULDER, 0] < points.to_44()[:, L_SHOULDER, 0]).all()
    one, other = (record.people[0].keypoints2d for record in (official, measured))
    assert one is not None and other is not None
    left, right = ALL_44.index("L_Knee"), ALL_44.index("R_Knee")
    np.testing.assert_array_equal(one.to_44()[:, left], other.to_44()[:, right])
    np.testing.assert_array_equal(one.points, other.points)
    monkeypatch.setenv(SIDES, "left")
    with pytest.raises(ConfigError, match="unknown sides 'left'"):
        find(folder.parent, "train")


def exchange_sides(content: dict[str, Any]) -> None:
    for key in ("x", "y", "visibility"):
        content[key] = content[key][:, [0, *(n for pair in range(1, 13, 2) for n in (pair + 1, pair))]]


def test_shoulders_that_contradict_the_view_are_said(official: Path) -> None:
    assert not any("shoulders" in line for line in problems(official, "content"))
    tiny.change_mat(official, "0002", lambda c: c.update(pose="back"))  # a turned torso: one of three
    (line,) = (line for line in problems(official, "content") if "shoulders" in line)
    assert line.startswith("warning: ") and "view" in line
    tiny.change_mat(official, "0002", lambda c: exchange_sides(c) or c.update(pose="back"))
    assert not any("shoulders" in line for line in problems(official, "content")), "seen from behind, and all is well"
    for name in ("0001", "0003"):
        tiny.change_mat(official, name, exchange_sides)
    assert any(line.startswith("error: left and right are exchanged") for line in problems(official, "content"))


def test_the_readme_s_list_is_found_to_exchange_left_and_right(official: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SIDES, "official")
    assert any(line.startswith("error: left and right are exchanged") for line in problems(official, "content"))
    for name in ("0001", "0002", "0003"):  # nothing is said of these, so nothing contradicts
        tiny.change_mat(official, name, lambda c: c.update(pose="left"))
    assert not any("left and right" in line for line in problems(official, "content"))


@pytest.mark.parametrize("parts", [None, 2], ids=["at once", "in parts"])
def test_a_build_says_that_sides_are_exchanged(parts: int | None, official: Path, tmp_path: Path) -> None:
    root, out = official.parent, tmp_path / "shards"
    build = partial(build_shards, ["penn-action"], root, shard_bytes=1)
    assert not any("shoulders" in line for line in build(tmp_path / "right").warnings)
    for name in ("0001", "0003"):
        tiny.change_mat(official, name, exchange_sides)
    for number in range(parts or 0):
        build(out, part=BuildPart(number=number + 1, of=parts or 0))
    for again in (False, True):  # what finished shards showed is remembered
        (line,) = (line for line in build(out, finish=parts is not None or again).warnings if "shoulders" in line)
        assert "2 of 3 sequences" in line and "TRACE_PENN_SIDES" in line


Change = Callable[[dict[str, Any]], Any]
MAT: dict[str, tuple[Change, str]] = {
    "a key is missing": (lambda c: c.pop("visibility"), "visibility is missing, expected the keys of the release"),
    "NaN": (lambda c: c["x"].__setitem__((2, 3), np.nan), r"x has 1 NaN .* first at \[2, 3\]"),
    "a frame short": (lambda c: c.update(y=c["y"][:3]), r"y has shape \(3, 13\), expected 4x13"),
    "other joints": (lambda c: c.update(x=np.ones((4, 14))), r"x has shape \(4, 14\), expected nx13"),
    "no frames": (lambda c: c.update(x=np.zeros((0, 13))), r"x has no rows|x has shape"),
    "more frames": (lambda c: c.update(nframes=9), "nframes is 9, expected 4, the number of rows of x"),
    "a flag that is none": (lambda c: c.update(train=0), r"train is \[0.0\], expected 1 \(train\) or -1"),
    "visibility in percent": (lambda c: c["visibility"].__setitem__((0, 0), 87), "visibility is 87 at 1 joints"),
    "frames of another size": (
        lambda c: c.update(dimensions=np.array([[480, 640, 4]])),
        r"dimensions say \(640, 480\) px, the frames are 64x48",
    ),
    "cells for numbers": (lambda c: c.update(x=np.array([["a", 1]], object)), "x is no array of numbers"),
    "a struct for numbers": (lambda c: c.update(y={"a": 1.0}), "y is no array of numbers"),
}


@pytest.mark.parametrize("case", MAT)
def test_a_malformed_label_file_is_named(official: Path, case: str) -> None:
    change, message = MAT[case]
    file = tiny.change_mat(official, "0003", change)
    assert problems(official, "layout") == []
    (problem,) = verify_datasets([SPEC.name], official.parent, depth="content").datasets[0].problems
    assert len(problem.examples) == 1 and problem.examples[0].startswith("penn-action/train/0003: annotation: ")
    with pytest.raises(AnnotationError, match=message) as caught:
        read(find(official.parent, "train")[1])
    assert caught.value.where == str(file) and caught.value.hint


def test_a_file_that_is_no_label_file_is_named(official: Path) -> None:
    file = official / "labels" / "0003.mat"
    whole = file.read_bytes()
    newer = official / "newer.mat"
    with h5py.File(newer, "w", userblock_size=512) as content:
        content["x"] = np.ones((13, 4))
    version = b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM"
    for data in (whole[:700], b"no labels", b"", version + newer.read_bytes()[128:]):
        file.write_bytes(data)
        refs = find(official.parent, "train")
        assert [ref.name for ref in refs] == ["0001", "0003"], "the others are found all the same"
        with pytest.raises(AnnotationError, match="not readable as a MATLAB file of version 5") as caught:
            read(refs[1])
        assert caught.value.where == str(file)


def rename(key: str, old: str, new: str) -> Change:
    return lambda c: c[key].update({new: c[key].pop(old)})


NPZ: dict[str, tuple[Change, str]] = {
    "no annotations": (lambda c: c.pop("annot"), "annot is missing"),
    "a frame is missing": (rename("annot", "0003-000002.jpg", "0003-000009.jpg"), "0003-000002.jpg is missing"),
    "a list for a dict": (
        lambda c: c.update(seq_frame_names=[1, 2]),
        "seq_frame_names holds a ndarray, expected a dict",
    ),
    "no names": (lambda c: c["seq_frame_names"].update({"0003": []}), r"seq_frame_names\['0003'\] holds 0 frames"),
    "a name twice": (lambda c: c["seq_frame_names"]["0003"].append("000004.jpg"), "holds 4 frames, expected one"),
    "a name of another kind": (lambda c: c["seq_frame_names"]["0003"].append("4.png"), "holds '4.png', expected names"),
    "two people": (lambda c: c["annot"]["0003-000001.jpg"][0].append(np.ones((13, 3))), "has 2 people, expected one"),
    "nobody": (lambda c: c["annot"].update({"0003-000001.jpg": 3}), r"is a int, expected \[\[points\]"),
    "NaN": (lambda c: c["annot"]["0003-000001.jpg"][0][0].__setitem__((0, 0), np.inf), "1 NaN or infinite"),
    "a joint short": (lambda c: c["annot"].update({"0003-000001.jpg": [[np.ones((12, 3))], [2]]}), "expected 13x3"),
    "confidences": (
        lambda c: c["annot"]["0003-000001.jpg"][0][0].__setitem__((0, 2), 0.3),
        "visibility of 0003 is 0.3",
    ),
}


@pytest.mark.parametrize("case", NPZ)
def test_a_malformed_packed_file_is_named(packed: Path, case: str) -> None:
    change, message = NPZ[case]
    file = tiny.change_npz(packed, change)
    ref = find(packed.parent, "train")[1]
    with pytest.raises(AnnotationError, match=message) as caught:
        read(ref)
    assert caught.value.where == str(file) and caught.value.hint


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("seq_info"), "seq_info is missing"),
        (lambda c: c["seq_info"].update({"0002": [1, 2]}), r"seq_info\['0002'\] is a list, expected action, number"),
        (lambda c: c["seq_info"]["0002"].__setitem__(2, 5), r"seq_info\['0002'\] is \[5.0\], expected 1"),
    ],
)
def test_without_a_split_nothing_is_found(packed: Path, change: Change, message: str) -> None:
    file = tiny.change_npz(packed, change)
    with pytest.raises(AnnotationError, match=message) as caught:
        find(packed.parent, "train")
    assert caught.value.where == str(file)
    assert problems(packed, "layout") and message.split(" ")[0].replace("\\", "") in problems(packed, "layout")[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda c: c["annots"].update({"0001-000002.jpg": [[np.ones(66), np.ones(10)]]}),
            "has shape .66,., expected 72",
        ),
        (lambda c: c["annots"].update({"0001-000002.jpg": []}), r"is a list, expected a list of \[pose, betas\]"),
        (lambda c: c.pop("annots"), "annots is missing"),
    ],
)
def test_a_malformed_file_of_body_poses_is_named(folder: Path, change: Change, message: str) -> None:
    file = tiny.change_npz(folder, change, "eft_annots.npz")
    with pytest.raises(AnnotationError, match=message) as caught:
        read(find(folder.parent, "train")[0])
    assert caught.value.where == str(file)


def poison(content: dict[str, Any], key: str, mark: Path) -> None:
    content[key]["0001-000001.jpg"] = Payload(mark)


def test_an_object_array_with_a_forbidden_class_runs_nothing(packed: Path, tmp_path: Path) -> None:
    for name in ("annots_train.npz", "eft_annots.npz"):
        kept = (packed / name).read_bytes()
        key = "annot" if "train" in name else "annots"
        tiny.change_npz(packed, partial(poison, key=key, mark=tmp_path / "ran"), name)
        with pytest.raises(AnnotationError, match=r"posix\.mkdir"):
            read(find(packed.parent, "train")[0])
        (packed / name).write_bytes(kept)
    assert not (tmp_path / "ran").exists()


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-40])


def shift(folder: Path, names: Sequence[int]) -> None:
    for number in names:
        (folder / f"{number:06d}.jpg").rename(folder / f"{number - 1:06d}.jpg")


FILES: dict[str, tuple[Depth, Callable[[Path], Any], str]] = {
    "a frame is lost": ("layout", lambda f: (f / "000002.jpg").unlink(), "000002.jpg is missing (3 frames, 1 to 4)"),
    "the last is lost": ("content", lambda f: (f / "000004.jpg").unlink(), "has 3: 000004.jpg is missing"),
    "numbers from 0": ("layout", lambda f: shift(f, (1, 2, 3, 4)), "000004.jpg is missing (4 frames, 0 to 3)"),
    "no frames": ("layout", lambda f: f.rename(f.parent / "0033"), "labels without frames"),
    "a truncated frame": ("content", lambda f: cut(f / "000003.jpg"), "the JPEG ends too early"),
    "an empty frame": ("content", lambda f: (f / "000003.jpg").write_bytes(b""), "000003.jpg"),
    "another size": (
        "content",
        lambda f: cv2.imwrite(str(f / "000003.jpg"), np.zeros((9, 9, 3), np.uint8)),
        "9x9 px, expected 64x48",
    ),
    "a loop of links": (
        "layout",
        lambda f: (f.rename(f.parent / "0033"), f.symlink_to(f)),
        "a symbolic link that leads back to itself",
    ),
}


@pytest.mark.parametrize("case", FILES)
def test_lost_and_broken_frames_are_found_at_their_depth(folder: Path, case: str) -> None:
    depth, change, message = FILES[case]
    change(folder / "frames" / "0003")
    for before in DEPTHS[: DEPTHS.index(depth)]:
        assert problems(folder, before) == []
    found = problems(folder, depth)
    assert any(message in line for line in found), found


def test_layout_errors_say_what_was_looked_for(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(DatasetLayoutError, match=r"looked for Penn_Action, PennAction, Penn-Action, found nothing"):
        (tmp_path / "empty").mkdir()
        find(tmp_path / "empty", "train")
    for name in ("labels", "annots_train.npz"):
        if (folder / name).exists():
            (folder / name).rename(folder / "elsewhere")
    with pytest.raises(DatasetLayoutError, match=r"neither labels/0001.mat nor annots_train.npz or annots.npz"):
        find(folder.parent, "train")
    (folder / "frames").rename(folder / "pictures")
    with pytest.raises(DatasetLayoutError, match="there is no frames/"):
        find(folder.parent, "train")


def test_frames_without_labels_and_beyond_them_are_warnings(official: Path) -> None:
    (official / "labels" / "0003.mat").unlink()
    frame = official / "frames" / "0001" / "000004.jpg"
    frame.with_name("000005.jpg").write_bytes(frame.read_bytes())
    assert problems(official, "layout") == ["warning: frames without labels"]
    assert "warning: 5 images, 4 annotated frames" in problems(official, "content")


@pytest.mark.parametrize("scale", [0.667, 0.75, 1.36])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_coordinates_count_from_where_unlabelled_points_stand(layout: str, scale: float, tmp_path: Path) -> None:
    """docs/reference/datasets.md#penn-action-coordinates: labels were counted from 1 and scaled with the picture."""
    folder = tiny.write(tmp_path, packed=layout == "npz")
    content = tiny.labels(1, 4, 1)
    places = np.stack([content["x"], content["y"]], axis=2) * scale
    places[0, 5] = 3.0, 17.0  # hidden, and yet somebody placed it
    if layout == "labels":
        tiny.change_mat(folder, "0001", lambda c: c.update(x=places[..., 0], y=places[..., 1]))
    else:

        def change(held: dict[str, Any]) -> None:
            for row, image in zip(places, held["seq_frame_names"]["0001"]):
                held["annot"][f"0001-{image}"][0][0][:, :2] = row

        tiny.change_npz(folder, change)
    record = read(find(tmp_path, "train")[0])
    seen = content["visibility"] == 1
    points = record.people[0].keypoints2d
    assert points is not None
    np.testing.assert_allclose(points.points[seen][:, :2], places[seen] - scale, atol=1e-12)


def test_videos_with_useless_labels_are_left_out_and_said(folder: Path, tmp_path: Path) -> None:
    if (folder / "labels").exists():
        (folder / "labels/0003.mat").rename(folder / "labels/1021.mat")
    else:

        def rename(held: dict[str, Any]) -> None:
            for key in ("seq_frame_names", "seq_info"):
                held[key]["1021"] = held[key].pop("0003")
            held["annot"] = {key.replace("0003-", "1021-"): value for key, value in held["annot"].items()}

        tiny.change_npz(folder, rename)
    (folder / "frames/0003").rename(folder / "frames/1021")
    report = build_shards(["penn-action"], tmp_path, tmp_path / "out", splits=["train"])
    assert [entry.name for entry in report.index.sequences] == ["0001"] and not report.bad
    assert any("left out" in line and "warning" in line for line in problems(folder, "layout"))


def test_labels_far_outside_and_frames_without_any_are_found_in_unknown_videos_too(official: Path) -> None:
    def enlarge(content: dict[str, Any]) -> None:
        content["x"][:2] *= 3

    def blank(content: dict[str, Any]) -> None:
        content["visibility"][1:3] = 0

    tiny.change_mat(official, "0001", enlarge)
    tiny.change_mat(official, "0003", blank)
    found = problems(official, "content")
    assert any(line.startswith("error") and "outside the frames" in line for line in found)
    assert any(line.startswith("warning") and "nobody is annotated in 2 of 4" in line for line in found)
