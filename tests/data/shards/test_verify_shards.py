"""Shards with one thing wrong each: it is found, named with the command that mends it, and that command mends it."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import pytest
import tiny_3dpw
from shard_damage import reseal

from trace_cli.main import run
from trace_data.builder.build import build_shards
from trace_data.errors import ConfigError, ShardError
from trace_data.files import sha256_of
from trace_data.shards.checks.shards import DEPTHS, ShardsReport, verify_shards
from trace_data.shards.index import load_index, save_index
from trace_data.shards.layout import FRAME_BYTES, FRAME_OFFSET, FRAME_SIZE, PEOPLE_OFFSET
from trace_data.shards.levels import Storage

FILE = "3dpw-train-00000.h5"
OTHER = "3dpw-train-00001.h5"
VAL = "3dpw-val-00000.h5"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Datasets with a person who is missing in some frames, and without a body in others."""
    folder = tmp_path_factory.mktemp("datasets")
    tiny_3dpw.write(folder, {"train": 3, "val": 1, "test": 1}, frames=6)
    content = tiny_3dpw.load(folder / "3DPW", "train", "train_walk_00")
    content["campose_valid"][0][2:4] = 0
    content["poses2d"][0][3:4] = 0
    tiny_3dpw.rewrite(folder / "3DPW", "train", "train_walk_00", content)
    return folder


def build(root: Path, out: Path, **options: Any) -> Any:
    return build_shards(["3dpw"], root, out, shard_bytes=20_000, storage=Storage(heights=(32, 64)), **options)


@pytest.fixture(scope="module")
def built(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two levels of frames, one sequence a shard. Read only."""
    out = tmp_path_factory.mktemp("built") / "shards"
    assert len(build(root, out).index.shards) == 5
    return out


@pytest.fixture
def own(built: Path, tmp_path: Path) -> Path:
    """A copy of its own, to be spoilt."""
    return Path(shutil.copytree(built, tmp_path / "shards"))


def found(report: ShardsReport) -> dict[str, list[str]]:
    """File -> what is wrong with it."""
    lines = {shard.file: [e for p in shard.problems for e in p.examples] for shard in report.shards}
    lines["index"] = [example for problem in report.index for example in problem.examples]
    return {name: texts for name, texts in lines.items() if texts}


def hints(report: ShardsReport) -> str:
    return " ".join(problem.hint for shard in report.shards for problem in shard.problems)


@pytest.mark.parametrize("depth", DEPTHS)
def test_whole_shards_are_well(built: Path, depth: Any) -> None:
    report = verify_shards(built, depth=depth, jobs=2 if depth == "frames" else 1)
    assert report.ok and found(report) == {} and not report.synthetic
    frames = depth == "frames"
    assert [shard.images for shard in report.shards] == [2 * 6 if frames else 0] * 5, "every frame of both levels"
    assert [max(s.reprojection_px.values(), default=None) for s in report.shards] == [0.0 if frames else None] * 5
    assert json.loads(json.dumps(report.to_json()))["shards"][0]["ok"] is True


def test_the_sample_world_is_well_and_says_that_it_is_synthetic(shards: Path, capsys: Any) -> None:
    assert run(["verify-shards", str(shards), "--jobs", "1"]) == 0
    shown = capsys.readouterr().out
    assert "(synthetic)" in shown and shown.endswith("\nyes, all well\n")


def flip(folder: Path) -> None:
    data = bytearray((folder / FILE).read_bytes())
    with h5py.File(folder / FILE) as content:
        at = content[FRAME_BYTES].id.get_offset() + content[FRAME_BYTES].nbytes // 2
    data[at] ^= 0x10
    (folder / FILE).write_bytes(data)


def swap(folder: Path) -> None:
    (folder / FILE).rename(folder / "aside")
    (folder / OTHER).rename(folder / FILE)
    (folder / "aside").rename(folder / OTHER)


DAMAGES: dict[str, tuple[Callable[[Path], object], dict[str, str]]] = {
    "flipped bit": (flip, {FILE: "the content changed: SHA-256"}),
    "truncated": (lambda f: os.truncate(f / FILE, 9000), {FILE: "the shard has 9,000 bytes, expected"}),
    "empty": (lambda f: os.truncate(f / FILE, 0), {FILE: "the shard has 0 bytes, expected"}),
    "missing": (lambda f: (f / FILE).unlink(), {FILE: "the shard is missing"}),
    "pipe": (lambda f: ((f / FILE).unlink(), os.mkfifo(f / FILE)), {FILE: "not a plain file"}),
    "swapped": (swap, {FILE: "begins with 3dpw/train/train_walk_01", OTHER: "begins with 3dpw/train/train_walk_00"}),
    "another": (lambda f: shutil.copy(f / VAL, f / FILE), {FILE: "begins with 3dpw/val/val_walk_00"}),
    "index": (lambda f: edit_index(f, lambda i: i["sequences"][0].update(first_frame=1)), {"index": "without gap"}),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_named_and_the_same_build_mends_it(root: Path, own: Path, damage: str) -> None:
    change, expected = DAMAGES[damage]
    change(own)
    report = verify_shards(own)
    assert not report.ok and set(found(report)) == set(expected)
    for name, words in expected.items():
        assert any(words in text for text in found(report)[name]), found(report)[name]
    assert ("run the same build again" in hints(report)) == (damage != "index")
    if (own / FILE).is_fifo():
        (own / FILE).unlink()  # what is no file the build leaves to its owner
    again = build(root, own)
    assert again.built == len([name for name in expected if name != "index"]), "only what is damaged is built"
    assert verify_shards(own).ok


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--sequences", "train_*", "--sequences", "val_walk_00", "--every", "2"],
        ["--split", "train", "--split", "val", "--limit", "2", "--height", "32", "--height", "64"],
        ["--frames", "original", "--shard-size", "1", "--no-defects"],
    ],
)
def test_the_command_in_the_hint_is_the_one_that_built_these_shards(
    root: Path, tmp_path: Path, words: list[str], capsys: Any
) -> None:
    out = tmp_path / "my shards"
    assert run(["build-shards", "3dpw", "--root", str(root), "--out", str(out), "--jobs", "1", *words]) == 0
    (out / FILE).unlink()
    assert run(["verify-shards", str(out), "--jobs", "1"]) == 3
    hint = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("  → "))
    _, *again = shlex.split(hint.partition("only what is damaged: ")[2].replace("--root DIR", f"--root {root}"))
    assert again[0] == "build-shards" and run(again) == 0
    assert run(["verify-shards", str(out), "--jobs", "1"]) == 0


def test_an_index_with_settings_from_other_hands(own: Path) -> None:
    (own / FILE).unlink()
    text = (own / "index.json").read_text()
    for settings in ({"splits": 3, "names": ["3dpw"]}, {"sequences": [1]}, {"shard_bytes": "big"}, {}):
        edit_index(own, lambda index, settings=settings: index.update(settings=settings))
        assert "trace build-shards" in hints(verify_shards(own, depth="index"))
    for key in ("settings", "provenance", "enlarged_crops", "datasets"):
        (own / "index.json").write_text(text)
        edit_index(own, lambda index, key=key: index.update({key: 7}))
        with pytest.raises(ShardError, match="malformed index"):
            load_index(own)


def test_at_depth_index_a_shard_of_equal_length_is_known_by_what_it_says(own: Path) -> None:
    grown = (own / VAL).read_bytes()
    length = (own / FILE).stat().st_size
    (own / FILE).write_bytes(grown[:length] + bytes(max(0, length - len(grown))))
    texts = found(verify_shards(own, depth="index"))[FILE]
    assert any("the shard says split val, expected train" in text for text in texts) or "not readable" in texts[0]


def edit_index(folder: Path, change: Callable[[Any], object]) -> None:
    content = json.loads((folder / "index.json").read_text())
    change(content)
    (folder / "index.json").write_text(json.dumps(content))


INDEXES: dict[str, tuple[Callable[[Any], object], str]] = {
    "shard number": (lambda i: i["sequences"][1].update(shard=9), "lies in shard 9, there are 5"),
    "listed twice": (lambda i: i["sequences"].append(i["sequences"][0]), "the sequence is listed twice"),
    "lost": (lambda i: i["sequences"].pop(2), "0 of 0 frames are listed, expected 1 of 6"),
    "other dataset": (lambda i: i["shards"][0].update(dataset="h36m"), "holds 3dpw/train/train_walk_00, expected h36m"),
    "way out": (lambda i: i["shards"][0].update(file="../../secret.h5"), "is no name of a shard in this folder"),
    "text": (lambda i: i["sequences"][0].update(frames="6"), "'6' is of type str, expected int"),
    "truth": (lambda i: i["shards"][0].update(bytes=True), "True is of type bool, expected int"),
    "split": (lambda i: i["sequences"][0].update(split="all"), "'all', expected one of train, val, test"),
    "frame ids": (lambda i: i["sequences"][0].update(frame_id_runs=[[0, 1, 10**15]]), "expected 6"),
    "usable": (lambda i: i["sequences"][0].update(usable=[[[0, 9]], []]), "ranges ((0, 9),) of 6 frames"),
    "people": (lambda i: i["sequences"][0].update(people=["0", "0"]), "['0', '0'] with usable ranges of 2"),
    "synthetic": (lambda i: i["sequences"][0].update(synthetic=True), "is marked True, its provenance says otherwise"),
    "numbers": (lambda i: i["sequences"][3].update(first_person=1), "people are not numbered one after the other"),
}


@pytest.mark.parametrize("change", INDEXES)
def test_an_index_that_contradicts_itself(own: Path, change: str) -> None:
    edit, expected = INDEXES[change]
    edit_index(own, edit)
    report = verify_shards(own, depth="index")
    assert not report.ok and set(found(report)) == {"index"}
    assert any(expected in text for text in found(report)["index"]), found(report)
    assert "it writes the index anew: trace build-shards 3dpw --root DIR" in report.index[0].hint


def test_an_index_that_cannot_be_used(own: Path, capsys: Any) -> None:
    with pytest.raises(ConfigError, match="unknown depth"):
        verify_shards(own, depth="all")  # type: ignore[arg-type]
    edit_index(own, lambda index: index.update(format_version=9))
    assert run(["verify-shards", str(own), "--json"]) == 3
    shown = capsys.readouterr()
    assert json.loads(shown.out)["error"]["kind"] == "ShardError"
    assert "shard format 9, expected 4" in shown.err and "pip install" in shown.err
    (own / "index.json").unlink()
    with pytest.raises(ShardError, match="no finished shards"):
        verify_shards(own)


def craft(folder: Path, change: Callable[[Any], object]) -> None:
    """Change a shard from within, then give it the right length and hash in the index and in the build's record."""
    with h5py.File(folder / FILE, "r+") as content:
        change(content)
        reseal(content)
    values = {"bytes": (folder / FILE).stat().st_size, "sha256": sha256_of(folder / FILE)}
    edit_index(folder, lambda index: index["shards"][0].update(values))
    record = folder / ".build" / f"{Path(FILE).stem}.json"
    written = json.loads(record.read_text())
    written["shard"].update(values)
    record.write_text(json.dumps(written))


def put(name: str, at: Any, value: Any) -> Callable[[Any], None]:
    def change(content: Any) -> None:
        content[name][at] = value

    return change


def scaled_rotation(content: Any) -> None:
    content["camera/camera_from_world"][2, :3, :3] *= 1.01


def one_frame_moved(content: Any) -> None:
    content["people/kp2d"][:, :, 0] += 5.0 * (content["people/kp2d"][:, :, 2] > 0)


def other_size(content: Any) -> None:
    """An image of another size in the place of a stored one, with room to spare."""
    begin, end = content[FRAME_OFFSET][1, 2:4]
    data = cv2.imencode(".jpg", np.zeros((16, 24, 3), np.uint8))[1].tobytes()
    content[FRAME_BYTES][begin:end] = np.frombuffer(data.ljust(end - begin, b"\0"), np.uint8)


CRAFTED: dict[str, tuple[Callable[[Any], object], str]] = {
    "nan": (put("people/pose", (3, 5, 1), np.nan), "people/pose: NaN or infinite values in 1 of 11 rows, first in fra"),
    "infinite": (put("camera/intrinsics", (4, 0, 0), np.inf), "camera/intrinsics: NaN or infinite values in 1 of 6 ro"),
    "translation": (put("people/translation", (2, 1), 1e38), "people/translation: values beyond 1000 in 1 of 11 rows"),
    "far joints": (put("people/kp3d", (2, 1, 0), -1e30), "people/kp3d: values beyond 1000"),
    "far camera": (put("camera/camera_from_world", (2, 0, 3), 1e9), "camera/camera_from_world: values beyond 1000"),
    "huge pose": (put("people/pose", (3, 5, 1), 1e30), "people/pose: values beyond 100"),
    "rotation": (scaled_rotation, "no rotation (R Rᵀ is off by 0.02) in 1 of 6 rows, first in frame 2"),
    "last row": (put("camera/camera_from_world", (0, 3, 3), 2), "the last row is not 0 0 0 1"),
    "focal": (put("camera/intrinsics", (1, 1, 1), -5), "no pinhole camera in 1 of 6 rows"),
    "mask of two": (put("masks/shape", 0, 2), "masks/shape: values up to 2, expected below 2"),
    "gender": (put("people/gender", 0, 3), "people/gender: values up to 3, expected below 3"),
    "changed gender": (put("people/gender", 0, 0), "people/gender: person 0 has several"),
    "value without mask": (put("people/betas_neutral", (1, 0), 0.5), "betas_neutral: values where their mask is 0"),
    "pose without mask": (put("masks/body_pose", 2, 0), "people/pose: values where their mask is 0"),
    "confidence": (put("people/kp2d", (0, 12, 2), 1.5), "people/kp2d: confidences outside 0 to 1"),
    "mask of joints": (put("masks/joints3d", 0, 0), "masks/joints3d: says other than the confidences"),
    "world": (put("masks/world", 1, 1), "1 without a body or where the sequence has no valid world"),
    "centre": (put("people/center", 0, (-40, 0)), "people/center: outside its box"),
    "box": (put("people/box", 0, (0, 0, 500, 50)), "people/box: outside the picture"),
    "usable": (put("masks/center", 0, 0), "usable: person 0 is usable in frames"),
    "moved joints": (one_frame_moved, "3D joints meet the 2D joints at 5.0 px (median), expected 1.9"),
    "image": (other_size, "frame 2, level 1: the image is 24x16 px, expected 96x64"),
    "image cut": (put(FRAME_BYTES, slice(40, 700), 0), "frame 0, level 0: the JPEG ends too early"),
    "stored size": (put(FRAME_SIZE, (0, 0), (48, 48)), "larger than the original, or of another shape"),
    "offsets": (put(FRAME_OFFSET, (0, 2), 5), "images do not lie back to back"),
    "rows": (put(PEOPLE_OFFSET, 2, 9), "people/offset: runs from 0 to 11, falling on the way"),
    "fps": (put("sequence/fps", 0, 25), "3dpw/train/train_walk_00 has 25.0, the index 30.0"),
    "frame id": (put("frame_id", 3, 9), "the ids of 3dpw/train/train_walk_00 are others than in the index"),
    "twice": (put("people/person", 1, 0), "somebody twice in a frame, or people out of order"),
    "stranger": (put("people/person", 1, 2), "names person 2, the index has 2"),
    "name": (put("sequence/name", 0, b"3dpw/train/x"), "sequence 0 is 3dpw/train/x, the index has 3dpw/train/train_w"),
    "version": (lambda c: c.attrs.modify("format_version", 5), "the shard says format_version 5, expected 4"),
}


@pytest.mark.parametrize("change", CRAFTED)
def test_what_no_hash_can_tell(own: Path, change: str) -> None:
    edit, expected = CRAFTED[change]
    craft(own, edit)
    assert set(found(verify_shards(own, depth="hashes"))) <= {FILE}
    report = verify_shards(own)
    assert not report.ok and set(found(report)) == {FILE}
    assert any(expected in text for text in found(report)[FILE]), found(report)[FILE]
    assert f"remove it and run the same build again: rm {own / FILE}; trace build-shards" in hints(report)


def test_a_crafted_annotation_is_mended_as_the_hint_says(root: Path, own: Path) -> None:
    craft(own, put("people/pose", (3, 5, 1), np.nan))
    assert build(root, own).built == 0, "its hash is right, so the build alone would keep it"
    assert not verify_shards(own).ok
    (own / FILE).unlink()
    assert build(root, own).built == 1
    assert verify_shards(own).ok


def replaced(name: str, make: Callable[[Any], object]) -> Callable[[Any], None]:
    def change(content: Any) -> None:
        del content[name]
        make(content)

    return change


def as_object(content: Any) -> None:
    content.create_dataset("people/betas", data=["x"] * 10, dtype=h5py.string_dtype())


def elsewhere(content: Any) -> None:
    content.create_dataset("frame_id", shape=(6,), dtype="<i8", external=[("/etc/passwd", 0, 48)])


FOREIGN: dict[str, tuple[Callable[[Any], object], str]] = {
    "object type": (replaced("people/betas", as_object), "people/betas: type |O, expected <f4: objects and variable"),
    "values elsewhere": (replaced("frame_id", elsewhere), "its values lie in the file '/etc/passwd', which was not op"),
    "soft link": (replaced("frame_id", lambda c: c.__setitem__("frame_id", h5py.SoftLink("/x"))), "a link to '/x'"),
    "chunks": (
        replaced("frame_id", lambda c: c.create_dataset("frame_id", data=np.arange(6), chunks=(2,))),
        "frame_id: stored in chunks",
    ),
    "never written": (
        replaced("frame_id", lambda c: c.create_dataset("frame_id", shape=(6,), dtype="<i8")),
        "frame_id: its values were never written",
    ),
    "type": (
        replaced("frame_id", lambda c: c.create_dataset("frame_id", data=np.arange(6.0))),
        "type <f8, expected <i8",
    ),
    "shape": (replaced("frame_id", lambda c: c.create_dataset("frame_id", data=np.arange(7))), "shape (7,), expected"),
    "missing": (replaced("masks/world", lambda c: None), "masks/world: the dataset is missing"),
    "more": (
        lambda c: c.create_dataset("people/hair", data=[1]),
        "people/hair: a dataset that the format does not know",
    ),
    "loop": (lambda c: c.__setitem__("people/loop", c["/"]), "people/loop: a group that the format does not know"),
}


@pytest.mark.parametrize("change", FOREIGN)
def test_a_file_of_another_make(own: Path, change: str) -> None:
    edit, expected = FOREIGN[change]
    craft(own, edit)
    assert any(expected in text for text in found(verify_shards(own))[FILE]), found(verify_shards(own))[FILE]


@pytest.mark.parametrize("name", ["frame_id", "people", "sequence/name"])
def test_links_out_of_the_file_are_never_followed(own: Path, tmp_path: Path, name: str) -> None:
    """A pipe stands where the link leads: whoever opens it waits there for ever."""
    os.mkfifo(tmp_path / "trap.h5")
    craft(own, replaced(name, lambda c: c.__setitem__(name, h5py.ExternalLink(str(tmp_path / "trap.h5"), "/x"))))
    command = [sys.executable, "-m", "trace_cli", "verify-shards", str(own), "--jobs", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 3 and f"{name}: a link to '{tmp_path}/trap.h5'" in done.stdout
    edit_index(own, lambda index: index["shards"][0].update(bytes=10**6))  # also when only its name is looked up
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 3 and "expected 1,000,000" in done.stdout


def test_a_shard_whose_bytes_are_as_built_is_not_to_be_removed(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk or library that cannot open a whole shard says nothing against the shard."""

    def refuses(*_: object, **__: object) -> None:
        raise OSError("unable to lock file, errno = 37, error message = 'No locks available'")

    monkeypatch.setattr(h5py, "File", refuses)
    report = verify_shards(own, depth="index")
    assert not report.ok and "not readable as a shard" in str(report.shards[0].problems)
    assert "rm " not in hints(report) and "keep it" in hints(report)


def test_at_depth_index_a_suspect_is_hashed_for_the_hint(own: Path) -> None:
    with (own / FILE).open("r+b") as stream:
        stream.write(bytes(4000))
    report = verify_shards(own, depth="index")
    assert "the content changed" in str(report.shards[0].problems)
    assert "rm " not in hints(report) and "run the same build again" in hints(report)


def test_what_must_be_copied_is_quoted_and_what_is_shown_is_harmless(own: Path, capsys: Any) -> None:
    nasty = "x; touch X # $(id) \x1b[2J"
    settings = {"names": [nasty], "splits": [nasty], "sequences": [nasty], "limit": nasty, "every": nasty,
                "raised": False, "heights": [nasty]}  # fmt: skip
    edit_index(own, lambda index: index.update(settings=settings))
    (own / FILE).unlink()
    command = hints(verify_shards(own, depth="index")).partition("only what is damaged: ")[2]
    assert shlex.split(command)[:3] == ["trace", "build-shards", nasty] and shlex.split(command).count(nasty) == 6
    assert run(["verify-shards", str(own), "--jobs", "1", "--depth", "index"]) == 3
    shown = capsys.readouterr()
    assert "\\x1b[2J" in shown.out and "\x1b" not in shown.out + shown.err


def test_strays_are_named_and_do_no_harm(own: Path) -> None:
    (own / "3dpw-train-00009.h5").write_bytes(b"old")
    (own / f"{FILE}.partial").write_bytes(b"half")
    report = verify_shards(own, depth="index")
    assert report.ok and len(found(report)["index"]) == 2
    assert {problem.severity for problem in report.index} == {"warning"}
    assert any(problem.hint == f"rm {own}/3dpw-train-00009.h5" for problem in report.index)


def test_shards_without_their_records_say_so_in_the_hint(own: Path) -> None:
    shutil.rmtree(own / ".build")
    (own / FILE).unlink()
    assert "--force  (or copy the file again" in hints(verify_shards(own))


def test_what_the_build_left_out_is_told(root: Path, own: Path, capsys: Any) -> None:
    index = load_index(own)
    save_index(index)
    edit_index(own, lambda i: i["bad"].append({"key": "3dpw/train/x", "reason": "no frames"}))
    assert run(["verify-shards", "--shards", str(own), "--depth", "index"]) == 0
    shown = capsys.readouterr().out
    assert "1 sequence left out by the build, first 3dpw/train/x" in shown
    assert "\nyes, all well, at depth index: no byte" in shown


def test_the_command_says_in_which_dataset_a_problem_is(own: Path, capsys: Any) -> None:
    craft(own, FOREIGN["type"][0])
    assert run(["verify-shards", str(own), "--jobs", "1", "--depth", "index"]) == 3
    assert "    frame_id: type <f8, expected <i8\n" in capsys.readouterr().out


def test_the_command_says_once_which_shard_a_file_is(own: Path, capsys: Any) -> None:
    shutil.copy(own / VAL, own / FILE)
    assert run(["verify-shards", str(own), "--jobs", "1", "--depth", "index"]) == 3
    assert capsys.readouterr().out.count("begins with 3dpw/val/val_walk_00") == 1


def test_the_command_lists_everything_at_once(own: Path, capsys: Any) -> None:
    flip(own)
    (own / VAL).unlink()
    assert run(["verify-shards", str(own), "--jobs", "1"]) == 3
    shown = capsys.readouterr().out
    assert f"{FILE}  error: the content changed" in shown and f"{VAL}  error: the shard is missing" in shown
    assert shown.endswith(f"\nnot well: {FILE}, {VAL}\n")
    assert run(["verify-shards", str(own), "--jobs", "1", "--json"]) == 3
    report = json.loads(capsys.readouterr().out)
    assert [shard["ok"] for shard in report["shards"]] == [False, True, True, False, True]
    assert run(["verify-shards", "a", "--shards", "b"]) == 2
