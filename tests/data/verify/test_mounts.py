"""What keeps us from looking is told from what is not there: permissions, broken mounts, links, names."""

from __future__ import annotations

import errno
import json
import os
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
import tiny_3dpw
from rights import linux, without_rights

import trace_data.adapters.listing as listing_module
from trace_data.adapters.listing import SETTLED_NS, entry, listing, numbered, numbered_groups
from trace_data.errors import DatasetLayoutError
from trace_data.verify.datasets import verify_datasets

NAME = "train_walk_01"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_3dpw.write(tmp_path, {"train": 2, "val": 1, "test": 1}, frames=4)


def problems(folder: Path, depth: str = "content") -> list[tuple[str, str]]:
    report = verify_datasets(["3dpw"], folder.parent, depth=depth)  # type: ignore[arg-type]
    return [(problem.what, problem.hint) for problem in report.datasets[0].problems]


@linux
@pytest.mark.parametrize(
    ("place", "depth"),
    [
        ("", "layout"),
        ("sequenceFiles", "layout"),
        ("sequenceFiles/train", "layout"),
        (f"imageFiles/{NAME}", "layout"),
        (f"sequenceFiles/train/{NAME}.pkl", "content"),
        (f"imageFiles/{NAME}/image_00002.jpg", "content"),
    ],
)
def test_a_permission_is_no_missing_file(folder: Path, place: str, depth: str) -> None:
    closed = folder / place
    closed.chmod(0)
    try:
        found = without_rights(lambda: problems(folder, depth))
    finally:
        closed.chmod(0o755)
    text = json.dumps(found).lower()
    assert "permission" in text and str(closed).lower() in text and "missing" not in text
    assert len(found) == 1


@linux
def test_a_folder_that_may_be_listed_but_not_entered(folder: Path) -> None:
    images = folder / "imageFiles" / NAME
    images.chmod(0o444)
    try:
        what, hint = without_rights(lambda: problems(folder))[0]
    finally:
        images.chmod(0o755)
    assert what.startswith("permission denied") and "image_00003.jpg" in what and "owner and mode" in hint


@pytest.mark.parametrize(
    ("code", "words"),
    [(errno.EIO, "input/output error"), (errno.ESTALE, "stale file handle"), (errno.ENOTCONN, "endpoint")],
)
def test_a_broken_mount_is_no_missing_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch, code: int, words: str
) -> None:
    scandir = os.scandir

    def broken(place: Any) -> Any:
        if Path(place).name == NAME:
            raise OSError(code, os.strerror(code), str(place))
        return scandir(place)

    monkeypatch.setattr(listing_module.os, "scandir", broken)
    what, hint = problems(folder, "layout")[0]
    assert "mount does not respond" in what and words in what and f"imageFiles/{NAME}" in what
    assert "not missing" in hint and "mount it again" in hint


@pytest.mark.parametrize("code", [errno.EIO, errno.ESTALE])
def test_a_mount_that_breaks_in_between_is_said_of_each_frame(
    folder: Path, monkeypatch: pytest.MonkeyPatch, code: int, tmp_path: Path
) -> None:
    opens = os.open

    def broken(path: str | Path, *arguments: Any, **options: Any) -> int:
        if Path(path).parent.name == NAME and Path(path).name > "image_00000.jpg":
            raise OSError(code, os.strerror(code), str(path))
        return opens(path, *arguments, **options)

    state = tmp_path / "state.jsonl"
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", broken)
        report = verify_datasets(["3dpw"], folder.parent, depth="content", state=state)
        problem = report.datasets[0].problems[0]
        assert problem.count == 3 and "does not respond" in problem.what and len(report.datasets[0].problems) == 1
    again = verify_datasets(["3dpw"], folder.parent, depth="content", state=state)
    assert again.ok, "a mount that came back changed no date"


def test_links_that_lead_nowhere_or_back_are_named(folder: Path) -> None:
    images = folder / "imageFiles"
    shutil.rmtree(images / NAME)
    (images / NAME).symlink_to(images / NAME)
    assert problems(folder, "layout")[0][0].startswith("a symbolic link that leads back to itself")
    (images / NAME).unlink()
    (images / NAME).symlink_to(folder / "nothing")
    assert problems(folder, "layout")[0][0] == "a symbolic link to nothing"
    (images / NAME).unlink()
    (images / NAME).symlink_to(folder)  # a circle: nothing walks down, and there are no images at its top
    assert problems(folder, "layout")[0][0] == "annotation without images"
    (images / NAME).unlink()
    shutil.copytree(images / "train_walk_00", images / NAME)
    (images / NAME / "image_00001.jpg").unlink()
    (images / NAME / "image_00001.jpg").symlink_to("image_00001.jpg")
    assert problems(folder, "layout") == [("image_00001.jpg is missing (3 images, last 3)", "copy it again")]


def test_whole_datasets_behind_links_are_fine(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").symlink_to(folder / "imageFiles" / NAME)
    shutil.move(folder / "imageFiles" / NAME, tmp_path / "moved")
    (folder / "imageFiles" / NAME).symlink_to(tmp_path / "moved")
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "3DPW").symlink_to(folder)
    assert verify_datasets(["3dpw"], tmp_path / "root", depth="content").ok


@pytest.mark.parametrize(
    ("old", "new", "what", "hint"),
    [
        ("sequenceFiles", "sequence_files", "there is no sequenceFiles/<split>/<seq>.pkl in it", "unpack sequence"),
        ("sequenceFiles", "sequence_files", "; is sequence_files one of them?", "unpack sequence"),
        ("imageFiles", "images", "there is no imageFiles/ in it, but images", "mv "),
        ("sequenceFiles/validation", "sequenceFiles/valid", "there is no validation/ in it, but valid", "mv "),
        ("sequenceFiles/test", "../gone", "there is no test/ in it", "unpack sequenceFiles.zip"),
        (f"imageFiles/{NAME}", "imageFiles/Train_Walk_01", "imageFiles/Train_Walk_01 has no annotation", "was renamed"),
        (f"imageFiles/{NAME}", "imageFiles/train-walk-1", "imageFiles/train-walk-1 has no annotation", "was renamed"),
    ],
)
def test_other_names_are_named_with_the_right_one(folder: Path, old: str, new: str, what: str, hint: str) -> None:
    (folder / old).rename(folder / new)
    found = problems(folder, "layout")[0]
    assert what in found[0] and hint in found[1]


@pytest.mark.parametrize(
    ("old", "new"),
    [("sequenceFiles", "sequencefiles"), ("imageFiles", "ImageFiles"), ("sequenceFiles/test", "sequenceFiles/Test")],
)
def test_letter_case_of_the_release_s_folders_does_not_matter(folder: Path, old: str, new: str) -> None:
    (folder / old).rename(folder / new)
    assert problems(folder) == []


@pytest.mark.parametrize("name", ["3DPW", "3dpw", "PW3D", "3dPw"])
def test_the_datasets_own_folder_may_be_written_in_any_way(folder: Path, name: str) -> None:
    folder.rename(folder.with_name("other"))
    (folder.with_name("other")).rename(folder.with_name(name))
    assert problems(folder.with_name(name)) == []


def test_a_dataset_under_a_name_like_its_own_is_asked_for(folder: Path) -> None:
    folder.rename(folder.with_name("3DPWs"))
    what, hint = problems(folder, "layout")[0]
    assert "3dpw is not here: looked for 3DPW, pw3d, found 3DPWs; is 3DPWs it?" in what and hint.startswith("mv ")
    assert "the folder does not exist" in problems(folder / "nowhere" / "x")[0][0]


def test_a_listing_is_read_once_and_never_stale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    count = 0
    scandir = os.scandir

    def counting(place: Any) -> Any:
        nonlocal count
        count += 1
        return scandir(place)

    monkeypatch.setattr(listing_module.os, "scandir", counting)
    pattern = listing_module.re.compile(r"(\d+)\.jpg")
    (tmp_path / "7.jpg").touch()
    (tmp_path / "b").mkdir()
    for _ in range(3):  # a folder that changed just now may change again within the same tick of its clock
        assert numbered(tmp_path, pattern).tolist() == [7]
    assert count == 3
    old = tmp_path.stat().st_mtime_ns - 2 * SETTLED_NS
    os.utime(tmp_path, ns=(old, old))
    for _ in range(3):
        assert numbered(tmp_path, pattern).tolist() == [7] and listing(tmp_path).files == ("7.jpg",)
    assert count == 5
    (tmp_path / "10.jpg").touch()
    assert numbered(tmp_path, pattern).tolist() == [7, 10] and listing(tmp_path).files == ("10.jpg", "7.jpg")
    assert numbered(tmp_path / "nowhere", pattern).tolist() == []
    assert entry(tmp_path, "B", "7.jpg") == tmp_path / "7.jpg" and entry(tmp_path, "B") == tmp_path / "b"
    assert entry(tmp_path, "c") is None
    with pytest.raises(DatasetLayoutError, match="is missing"):
        listing(tmp_path / "nowhere")


def test_a_folder_of_many_sequences_is_read_once(tmp_path: Path) -> None:
    for name in ("S1_Walk 1_0_5.jpg", "S1_Walk 1_0_12.jpg", "S2_Sit_3_0.jpg", "readme.txt"):
        (tmp_path / name).touch()
    groups = numbered_groups(tmp_path, listing_module.re.compile(r"(.+)_(\d+)\.jpg"))
    assert {key: numbers.tolist() for key, numbers in groups.items()} == {"S1_Walk 1_0": [5, 12], "S2_Sit_3": [0]}


def test_what_is_kept_of_folders_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing_module._listings, "_limit", 10)
    for folder in range(20):
        place = tmp_path / str(folder)
        place.mkdir()
        for file in range(3):
            (place / str(file)).touch()
        os.utime(place, ns=(10**18, 10**18))
        listing(place)
    kept = listing_module._listings
    assert kept._total <= 10 and len(kept._values) <= 3


def test_a_root_that_is_one_off_is_corrected(folder: Path) -> None:
    root = folder.parent / "all" / "data"
    root.mkdir(parents=True)
    folder = folder.rename(root / "3DPW")
    for given, right in (
        (folder / "imageFiles", folder),
        (folder / "imageFiles" / NAME, folder),
        (root.parent, root),
    ):
        found = verify_datasets(["3dpw"], given, depth="layout").datasets[0].problems[0]
        assert (
            found.what.startswith("3dpw is not here")
            and found.hint == f"it is there with  --root {shlex.quote(str(right))}"
        )
        assert found.examples[0].startswith(f"{given}: ")


def test_a_dataset_that_was_unpacked_into_itself_is_found(folder: Path) -> None:
    folder.rename(folder.with_name("moved"))
    folder.mkdir()
    folder.with_name("moved").rename(folder / "3DPW")
    assert problems(folder) == []
