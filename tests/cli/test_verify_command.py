"""`trace verify-datasets` as it is typed: all cases, known defects in and out, the picture, what is remembered."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import clips_of_videos
import cv2
import numpy as np
import pytest
import tiny_3dpw

from trace_cli.main import run
from trace_data.adapters import _registered, find_sequences, register_adapter
from trace_data.errors import DatasetLayoutError
from trace_data.schema.record import SequenceRecord
from trace_data.shards.index import load_index
from trace_data.verify.contact_sheet import draw_sheet
from trace_data.verify.datasets import verify_datasets

NAME = "train_walk_01"
Output = pytest.CaptureFixture[str]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRACE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TRACE_ROOT", str(tmp_path))
    tiny_3dpw.write(tmp_path, {"train": 3, "val": 1, "test": 1}, frames=8, size=(192, 128))
    return tmp_path


@pytest.fixture
def clips(tmp_path: Path) -> Iterator[Path]:
    clips_of_videos.write(tmp_path / "clips", "x")
    register_adapter("clips_of_videos")
    yield tmp_path
    _registered.clear()


def verify(*options: str, depth: str = "content") -> int:
    return run(["verify-datasets", "3dpw", "--depth", depth, "--jobs", "1", *options])


@pytest.mark.parametrize("way", ["environment", "file", "own root"])
def test_a_dataset_may_lie_in_a_folder_of_its_own(
    way: str, root: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    own = tmp_path / "elsewhere" / "walks"
    own.parent.mkdir()
    (root / "3DPW").rename(own)
    assert verify(depth="layout") == 3
    if way == "environment":
        monkeypatch.setenv("TRACE_ROOT_3DPW", str(own))
    else:
        (tmp_path / "home").mkdir(exist_ok=True)
        (tmp_path / "home" / "config.toml").write_text(f"root_3dpw = {json.dumps(str(own))}\n")
    if way == "own root":
        monkeypatch.delenv("TRACE_ROOT")
    assert verify() == 0
    with pytest.raises(DatasetLayoutError):  # what a command was told overrules no library's argument
        find_sequences("3dpw", root, "train")
    assert run(["verify-datasets", "3dpw", "--depth", "layout", "--write-manifest", str(tmp_path / "m.jsonl")]) == 0
    assert "sequenceFiles" in (tmp_path / "m.jsonl").read_text()
    assert run(["build-shards", "3dpw", "--out", str(tmp_path / "shards"), "--jobs", "1"]) == 0
    assert run(["extract-frames", "3dpw", "--out", str(tmp_path / "frames"), "--jobs", "1"]) == 0
    # an option goes before every setting
    assert run(["verify-datasets", "3dpw", "--depth", "layout", "--root", str(root)]) == 3
    capsys.readouterr()


def test_all_cases_are_listed_when_asked_for(root: Path, capsys: Output) -> None:
    for number in range(7):
        image = root / "3DPW" / "imageFiles" / NAME / f"image_{number:05d}.jpg"
        image.write_bytes(image.read_bytes()[:-30])
    assert verify() == 3
    shown = capsys.readouterr().out
    assert "(7 times)" in shown and shown.count(f"/{NAME}/image_0000") == 1 + 5 and "… (--list for all)" in shown
    assert verify("--list") == 3
    shown = capsys.readouterr().out
    assert shown.count(f"/{NAME}/image_0000") == 1 + 7 and "--list" not in shown
    assert verify("--list", "--json") == 3
    assert len(json.loads(capsys.readouterr().out)["datasets"][0]["problems"][0]["examples"]) == 7


def test_damage_inside_an_image_is_found_by_decoding(root: Path, capsys: Output) -> None:
    image = root / "3DPW" / "imageFiles" / NAME / "image_00003.jpg"
    data = bytearray(image.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 400] = b"\xff\xd0" * 200  # a restart that nobody announced, again and again
    image.write_bytes(data)
    assert verify() == 0
    assert verify("--decode") == 3
    assert "the JPEG does not decode" in capsys.readouterr().out


def test_what_was_found_good_is_remembered_in_the_cache(root: Path, capsys: Output, tmp_path: Path) -> None:
    assert verify("--json") == 0
    assert (tmp_path / "home" / "cache" / "verify-datasets.jsonl").is_file()
    assert verify("--json") == 0
    reports = [json.loads(part) for part in capsys.readouterr().out.replace("}\n{", "}\0{").split("\0")]
    assert [report["datasets"][0]["kept"] for report in reports] == [0, 5]
    assert verify("--json", "--state", str(tmp_path / "other.jsonl")) == 0
    assert json.loads(capsys.readouterr().out)["datasets"][0]["kept"] == 0
    assert verify("--anew") == 0
    assert "not changed" not in capsys.readouterr().err
    assert verify() == 0
    assert "5 sequences, 40 frames, 5 not changed since they were found good" in capsys.readouterr().err


def with_a_known_defect(root: Path) -> None:
    """A sequence of a name whose passers-by nobody annotated."""
    (root / "3DPW" / "imageFiles" / NAME).rename(root / "3DPW" / "imageFiles" / "downtown_bus_00")
    content = tiny_3dpw.load(root / "3DPW", "train", NAME) | {"sequence": "downtown_bus_00"}
    tiny_3dpw.rewrite(root / "3DPW", "train", "downtown_bus_00", content)
    (root / "3DPW" / "sequenceFiles" / "train" / f"{NAME}.pkl").unlink()


def test_known_defects_are_counted_and_may_be_left_in(root: Path, capsys: Output) -> None:
    with_a_known_defect(root)
    assert verify("--json") == 0
    defects = json.loads(capsys.readouterr().out)["datasets"][0]["defects"]
    assert defects == [{"reason": "passers-by are not annotated", "effect": "everyone", "sequences": 1, "frames": 8}]
    assert verify() == 0
    shown = capsys.readouterr().out
    assert "everyone removed from 8 frames in 1 sequence; --no-defects" in shown
    assert verify("--no-defects", "--json") == 0
    assert json.loads(capsys.readouterr().out)["datasets"][0]["defects"] == []


def test_a_build_may_leave_known_defects_in(root: Path, tmp_path: Path, capsys: Output) -> None:
    with_a_known_defect(root)
    command = ["build-shards", "3dpw", "--split", "train", "--jobs", "1", "--out"]
    assert run([*command, str(tmp_path / "without")]) == 0
    assert run([*command, str(tmp_path / "with"), "--no-defects"]) == 0
    assert capsys.readouterr().out.count("known defects removed from 1 sequence (") == 1
    said = [load_index(tmp_path / name).datasets["3dpw"]["defects"] for name in ("without", "with")]
    assert said == [("passers-by are not annotated (8 frames: everyone)",), ()]
    assert [load_index(tmp_path / name).settings["defects"] for name in ("without", "with")] == [True, False]
    assert run([*command, str(tmp_path / "with")]) == 3
    assert "a build with other settings: --defects False, now True" in capsys.readouterr().err


def test_the_picture_shows_the_worst_frame_and_some_at_random(root: Path, tmp_path: Path, capsys: Output) -> None:
    content = tiny_3dpw.load(root / "3DPW", "train", NAME)
    content["poses2d"][0][5, :2] += 30  # somebody else's points in frame 5
    tiny_3dpw.rewrite(root / "3DPW", "train", NAME, content)
    picture = tmp_path / "new" / "worst.png"
    assert verify("--picture", str(picture), "--json", depth="geometry") == 3
    report = json.loads(capsys.readouterr().out)
    assert report["picture"] == 8
    assert "disagree in 1 frames: 5" in report["datasets"][0]["problems"][0]["what"]
    first = picture.read_bytes()
    image = cv2.imread(str(picture))
    assert image is not None and image.shape[1] > 4 * 300 and image.std() > 20
    assert verify("--picture", str(picture), depth="geometry") == 3
    assert picture.read_bytes() == first and f"8 frames → {picture}" in capsys.readouterr().out


def test_the_page_holds_everything_and_needs_nothing(root: Path, tmp_path: Path, capsys: Output) -> None:
    with_a_known_defect(root)
    (root / "3DPW" / "imageFiles" / "train_walk_00").rename(root / "3DPW" / "imageFiles" / "<b>&")
    page = tmp_path / "new" / "report.html"
    assert verify("--page", str(page), depth="geometry") == 3
    assert str(page) in capsys.readouterr().out
    text = page.read_text()
    assert "prefers-color-scheme: dark" in text and "max-width: 560px" in text and '<div class="scroll"><table>' in text
    assert "imageFiles/&lt;b&gt;&amp;" in text and "<b>&" not in text
    assert "Not ready: 3dpw" in text and "passers-by are not annotated" in text and "3dpw/val/val_walk_00" in text
    assert text.count("data:image/jpeg;base64,") == 1 and "http" not in text.replace("https://virtualhumans", "")


def test_the_picture_holds_the_frame_itself_and_what_is_drawn(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import trace_data.verify.contact_sheet as module

    shown: list[tuple[str, np.ndarray]] = []

    def keep(tiles: list[tuple[str, np.ndarray]], **_: Any) -> np.ndarray:
        shown.extend(tiles)
        return np.zeros((4, 4, 3), np.uint8)

    monkeypatch.setattr(module, "contact_sheet", keep)
    content = tiny_3dpw.load(root / "3DPW", "train", NAME)
    content["poses2d"][1][6, :2, 2] += 30
    tiny_3dpw.rewrite(root / "3DPW", "train", NAME, content)
    report = verify_datasets(["3dpw"], root, depth="geometry")
    draw_sheet(report, root / "sheet.jpg")
    caption, tile = shown[0]
    assert caption.startswith(f"worst: 3dpw {NAME}  frame 6  ") and caption.endswith(" px")
    frame = cv2.imread(str(root / "3DPW" / "imageFiles" / NAME / "image_00006.jpg"))
    assert frame is not None and tile.shape == frame.shape
    same = (tile[..., ::-1] == frame).all(axis=2)
    assert 0.5 < same.mean() < 0.99, "the frame, with thin lines over it"
    x, y = content["poses2d"][1][6, :2, 4]
    pale = tile[round(y) - 1 : round(y) + 2, round(x) - 1 : round(x) + 2].reshape(-1, 3)
    assert (pale.min(axis=1) > 180).any(), "the annotated wrist is drawn pale where it was annotated"


def test_a_picture_of_synthetic_people_says_so_by_itself(sample: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import trace_data.verify.contact_sheet as module

    captions: list[str] = []

    def keep(tiles: list[tuple[str, np.ndarray]], **_: Any) -> np.ndarray:
        captions.extend(caption for caption, _ in tiles)
        return np.zeros((4, 4, 3), np.uint8)

    monkeypatch.setattr(module, "contact_sheet", keep)
    module.make_sheet(verify_datasets(["3dpw"], sample / "datasets", depth="geometry"))
    assert len(captions) == 8 and all(caption.endswith("  synthetic") for caption in captions)
    assert all(len(caption) <= module.LONGEST_CAPTION for caption in captions)


def test_pictures_of_videos_and_of_broken_datasets(clips: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = verify_datasets(["clips", "3dpw"], clips, depth="content")
    assert draw_sheet(report, clips / "sheet.jpg") == 2 + 4
    (clips / "clips" / "x.avi").write_bytes(b"")
    (root / "3DPW" / "sequenceFiles").rename(root / "3DPW" / "away")
    (clips / "sheet.jpg").unlink()
    report = verify_datasets(["clips", "3dpw"], clips, depth="content")
    assert draw_sheet(report, clips / "sheet.jpg") == 0 and not (clips / "sheet.jpg").exists()


def test_an_adapter_that_gives_another_sequence_is_said_to(clips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import dataclasses

    def other(ref: Any) -> SequenceRecord:
        return dataclasses.replace(read(ref), name="other")

    read = clips_of_videos.read
    monkeypatch.setattr(clips_of_videos, "read", other)
    problem = verify_datasets(["clips"], clips, depth="content").datasets[0].problems[0]
    assert "the adapter read clips/train/other, asked for clips/train/x-a" in problem.what
