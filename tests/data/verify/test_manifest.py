"""Manifests: the same data is the same, and each way of being other is named with its place."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny_3dpw

from trace_cli.main import run
from trace_data.errors import DatasetLayoutError, OutputError
from trace_data.verify.manifest import EDGE, walk, write_manifest
from trace_data.verify.manifest_diff import compare_with

NAME = "train_walk_01"
IMAGES = f"3DPW/imageFiles/{NAME}"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    tiny_3dpw.write(folder, {"train": 2, "val": 1, "test": 1}, frames=4)
    write_manifest(["3dpw"], folder, folder / "3dpw.jsonl")
    return folder


@pytest.fixture
def root(whole: Path, tmp_path: Path) -> Path:
    shutil.copytree(whole, tmp_path / "root")
    return tmp_path / "root"


def told(root: Path, manifest: Path, **options: Any) -> list[tuple[str, tuple[str, ...]]]:
    return [(problem.what, problem.examples) for problem in compare_with(manifest, [], root, **options).problems]


def test_a_manifest_lists_every_file_and_every_sequence(whole: Path) -> None:
    head, *lines = [json.loads(line) for line in (whole / "3dpw.jsonl").read_text().splitlines()]
    assert (head["hash"], head["datasets"]) == ("sha256", ["3dpw"])
    files = {entry["file"]: entry for entry in lines if "file" in entry}
    on_disk = {str(f.relative_to(whole / "3DPW")): f for f in (whole / "3DPW").rglob("*") if f.is_file()}
    assert list(files) == sorted(on_disk) and len(files) == 4 + 16
    for name, file in on_disk.items():
        assert files[name]["hash"] == hashlib.sha256(file.read_bytes()).hexdigest()
        assert files[name]["bytes"] == file.stat().st_size
    sequences = [entry for entry in lines if "sequence" in entry]
    assert [(entry["sequence"], entry["frames"], entry["samples"]) for entry in sequences] == [
        ("3dpw/test/test_walk_00", 4, 8),
        ("3dpw/train/train_walk_00", 4, 8),
        ("3dpw/train/train_walk_01", 4, 8),
        ("3dpw/val/val_walk_00", 4, 8),
    ]
    assert lines[-1]["end"]["bytes"] == sum(file.stat().st_size for file in on_disk.values())


def test_the_same_data_elsewhere_is_the_same(root: Path) -> None:
    manifest = root / "3dpw.jsonl"
    (root / "3DPW").rename(root / "pw3d")  # another spelling of the folder, other dates, what a file manager left
    for file in root.rglob("*.jpg"):
        os.utime(file)
    (root / "pw3d" / ".DS_Store").touch()
    found = compare_with(manifest, [], root)
    assert found.ok and (found.files, found.sequences) == (20, 4)
    assert compare_with(manifest, ["3dpw"], root / "pw3d", jobs=2).ok


def forget(root: Path) -> None:
    shutil.rmtree(root / IMAGES)


def change_bytes(root: Path) -> None:
    file = root / IMAGES / "image_00002.jpg"
    file.write_bytes(file.read_bytes()[:-3] + b"x" + file.read_bytes()[-2:])


def other_annotation(root: Path) -> None:
    content = tiny_3dpw.load(root / "3DPW", "train", NAME)
    content["poses2d"][0][3] = 0
    content["campose_valid"][0][3] = 0
    tiny_3dpw.rewrite(root / "3DPW", "train", NAME, content)


DIFFERENCES: dict[str, tuple[Callable[[Path], object], list[tuple[str, str]]]] = {
    "missing": (
        lambda root: (root / IMAGES / "image_00001.jpg").unlink(),
        [
            ("1 file missing here", f"3dpw/imageFiles/{NAME}: image_00001.jpg"),
            ("1 sequence with other samples", f"3dpw/train/{NAME}: 0 frames with 0 people, expected 4 with 8"),
        ],
    ),
    "folder missing": (
        forget,
        [
            ("4 files missing here", f"3dpw/imageFiles/{NAME}: 4 files, first image_00000.jpg"),
            ("1 sequence with other samples", f"3dpw/train/{NAME}: 0 frames"),
        ],
    ),
    "extra": (
        lambda root: (root / "3DPW" / "imageFiles.zip").touch(),
        [("1 file only here", "3dpw: imageFiles.zip")],
    ),
    "cut short": (
        lambda root: os.truncate(root / IMAGES / "image_00003.jpg", 99),
        [("1 file of another size", f"3dpw/imageFiles/{NAME}: image_00003.jpg (99 bytes, expected ")],
    ),
    "other bytes": (
        change_bytes,
        [("1 file of the same size with other content", f"3dpw/imageFiles/{NAME}: image_00002.jpg")],
    ),
    "other annotation": (
        other_annotation,
        [
            ("1 file of another size", f"3dpw/sequenceFiles/train: {NAME}.pkl ("),
            ("1 sequence with other samples", f"3dpw/train/{NAME}: 4 frames with 7 people, expected 4 with 8"),
        ],
    ),
    "renamed": (
        lambda root: (root / "3DPW/sequenceFiles/train" / f"{NAME}.pkl").rename(
            root / "3DPW/sequenceFiles/train/b.pkl"
        ),
        [
            ("1 file missing here", f"3dpw/sequenceFiles/train: {NAME}.pkl"),
            ("1 file only here", "3dpw/sequenceFiles/train: b.pkl"),
            ("1 sequence missing here", f"3dpw/train/{NAME}"),
            ("1 sequence only here", "3dpw/train/b"),
        ],
    ),
}


@pytest.mark.parametrize("case", DIFFERENCES)
def test_each_difference_is_named_with_its_place(root: Path, case: str) -> None:
    change, expected = DIFFERENCES[case]
    change(root)
    found = told(root, root / "3dpw.jsonl")
    assert [what for what, _ in found] == [what for what, _ in expected]
    for (_, examples), (_, place) in zip(found, expected):
        assert examples[0].startswith(place)


def test_all_cases_are_named_when_asked_for(root: Path) -> None:
    forget(root)
    found = told(root, root / "3dpw.jsonl", examples=None)
    assert found[0][1] == tuple(f"3dpw/imageFiles/{NAME}/image_{number:05d}.jpg" for number in range(4))


def test_the_fast_hash_reads_both_ends(root: Path, tmp_path: Path) -> None:
    large = root / "3DPW" / "large.bin"
    data = bytearray(os.urandom(2 * EDGE + 999))
    large.write_bytes(data)
    write_manifest(["3dpw"], root, tmp_path / "fast.jsonl", hash="fast")
    for place, seen in ((10, True), (EDGE + 5, False), (len(data) - 10, True)):
        data[place] ^= 1
        large.write_bytes(data)
        assert bool(told(root, tmp_path / "fast.jsonl")) == seen
        data[place] ^= 1


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text[: len(text) // 2], "complete manifest"),
        (lambda text: "".join(text.splitlines(keepends=True)[:-1]), "it ends too early"),
        (lambda text: text.replace("manifest 1", "manifest 9", 1), "its format is 'trace dataset manifest 9'"),
        (lambda text: text.replace('"bytes"', '"byte"', 3), "a line holds"),
        (lambda text: "[]\n" + text, "a line holds"),
        (lambda text: "", "it ends too early"),
    ],
)
def test_a_damaged_manifest_is_refused(root: Path, damage: Callable[[str], str], message: str) -> None:
    file = root / "3dpw.jsonl"
    file.write_text(damage(file.read_text()))
    with pytest.raises(DatasetLayoutError, match=message):
        compare_with(file, [], root)


def test_what_cannot_be_listed_is_an_error_and_leaves_no_manifest(root: Path, tmp_path: Path) -> None:
    (root / IMAGES / "loop").symlink_to(root / "3DPW")
    with pytest.raises(DatasetLayoutError, match="a symbolic link to a folder that it lies in"):
        write_manifest(["3dpw"], root, tmp_path / "m.jsonl")
    (root / IMAGES / "loop").unlink()
    assert not list(tmp_path.glob("m.jsonl*"))
    with pytest.raises(OutputError, match="cannot be written"):
        write_manifest(["3dpw"], root, root / "3dpw.jsonl" / "m.jsonl")
    with pytest.raises(DatasetLayoutError, match="the manifest is missing"):
        compare_with(tmp_path / "nothing.jsonl", [], root)
    (root / IMAGES / "away.jpg").symlink_to("nowhere")
    write_manifest(["3dpw"], root, tmp_path / "m.jsonl")
    assert '"a link to nothing"' in (tmp_path / "m.jsonl").read_text()


def test_links_to_other_folders_are_followed(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "x").touch()
    (tmp_path / "a" / "b" / "one").symlink_to(tmp_path / "c")
    (tmp_path / "a" / "two").symlink_to(tmp_path / "c")
    assert sorted(walk(tmp_path / "a")) == ["b/one/x", "two/x"]


def test_the_command_writes_compares_and_exits_3(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TRACE_HOME", str(tmp_path / "home"))
    command = ["verify-datasets", "3dpw", "--root", str(root), "--depth", "layout", "--jobs", "1"]
    manifest = str(tmp_path / "m.jsonl")
    assert run([*command, "--write-manifest", manifest, "--fast"]) == 0
    assert "manifest: 20 files" in capsys.readouterr().out
    assert run([*command, "--against", manifest]) == 0
    assert "the same data" in capsys.readouterr().out
    (root / IMAGES / "image_00003.jpg").write_bytes(b"")
    assert run([*command, "--against", manifest, "--json"]) == 3
    shown = json.loads(capsys.readouterr().out)
    assert shown["ok"] and [problem["what"] for problem in shown["differences"]["problems"]] == [
        "1 file of another size"
    ]
    assert run([*command, "--fast"]) == 2
    assert "--fast belongs to --write-manifest" in capsys.readouterr().err
