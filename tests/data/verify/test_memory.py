"""A second verification reads only what has changed; a killed one goes on; errors are never remembered."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import tiny_3dpw

import trace_data.verify.sequence as verify_sequence
from trace_data.progress import Progress
from trace_data.verify.datasets import DatasetReport, verify_datasets
from trace_data.verify.memory import VerifyMemory

NAME = "train_walk_01"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    tiny_3dpw.write(folder, {"train": 2, "val": 1, "test": 1}, frames=6)
    return folder


@pytest.fixture
def root(whole: Path, tmp_path: Path) -> Path:
    shutil.copytree(whole, tmp_path / "root")
    return tmp_path / "root"


class Opened:
    """Which files are opened: frames by the function that looks at them, annotations by the adapter's `read`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.files: list[str] = []
        for name, of in (("file_header", lambda file: file), ("read_record", lambda ref, **_: ref.annotation)):
            monkeypatch.setattr(verify_sequence, name, self._noting(getattr(verify_sequence, name), of))

    def _noting(self, function: Any, of: Any) -> Any:
        def noted(*arguments: Any, **options: Any) -> Any:
            self.files.append(Path(of(*arguments, **options)).name)
            return function(*arguments, **options)

        return noted

    def take(self) -> list[str]:
        """Those since the last call."""
        taken, self.files = self.files, []
        return taken


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Opened:
    return Opened(monkeypatch)


def verify(root: Path, depth: str = "content", **options: Any) -> DatasetReport:
    state = options.pop("state", root.parent / "state.jsonl")
    return verify_datasets(["3dpw"], root, depth=depth, state=state, **options).datasets[0]  # type: ignore[arg-type]


def test_nothing_that_stays_is_read_again(root: Path, opened: Opened) -> None:
    first = verify(root, "geometry")
    assert len(opened.take()) == 4 + 24 and first.kept == 0
    second = verify(root, "geometry")
    assert opened.take() == [] and second.kept == 4
    assert (second.people, second.synthetic, second.geometry, second.problems) == (8, False, first.geometry, ())
    verify(root, "geometry", anew=True)
    assert len(opened.take()) == 28
    verify(root, "geometry", state=None)
    assert len(opened.take()) == 28


def test_only_what_changed_is_read_again(root: Path, opened: Opened) -> None:
    verify(root)
    opened.take()
    image = root / "3DPW" / "imageFiles" / NAME / "image_00003.jpg"
    image.write_bytes(image.read_bytes())
    assert verify(root).kept == 3
    assert opened.take() == [f"{NAME}.pkl", "image_00003.jpg"]
    annotation = root / "3DPW" / "sequenceFiles" / "train" / f"{NAME}.pkl"
    os.utime(annotation)
    verify(root)
    assert opened.take() == [f"{NAME}.pkl"]
    shutil.copy(image, image.with_name("image_00006.jpg"))
    assert [problem.what for problem in verify(root).problems] == ["7 images, 6 annotated frames"]
    assert opened.take() == [f"{NAME}.pkl"]
    assert [problem.what for problem in verify(root).problems] == ["7 images, 6 annotated frames"], "warnings are kept"
    assert opened.take() == []


def test_another_depth_or_switch_keeps_the_images_only(root: Path, opened: Opened) -> None:
    verify(root)
    opened.take()
    for options in ({"depth": "geometry"}, {"defects": False}):
        assert verify(root, **options).kept == 0
        assert [name.endswith(".pkl") for name in opened.take()] == [True] * 4
    assert verify(root, "geometry").kept == 0, "the last run was at another depth"
    opened.take()
    assert verify(root, "geometry", decode=True).kept == 0
    assert len(opened.take()) == 4, "decoded images are not looked at with file_header"
    assert verify(root, "geometry", decode=True).kept == 4


def test_images_of_another_size_count_as_new(root: Path, opened: Opened) -> None:
    """The size that an image must have is its sequence's, which the annotation decides as well."""
    verify(root)
    opened.take()
    first = root / "3DPW" / "imageFiles" / NAME / "image_00000.jpg"
    import cv2
    import numpy as np

    cv2.imwrite(str(first), np.zeros((10, 20, 3), np.uint8))
    problem = verify(root).problems[0]
    assert problem.count == 5 and "96x64 px, expected 20x10" in problem.what


def test_what_is_wrong_is_looked_at_each_time(root: Path, opened: Opened) -> None:
    image = root / "3DPW" / "imageFiles" / NAME / "image_00003.jpg"
    good = image.read_bytes()
    image.write_bytes(good[:-20])
    state = image.stat()
    verify(root)
    opened.take()
    assert "ends too early" in verify(root).problems[0].what
    assert opened.take() == [f"{NAME}.pkl", "image_00003.jpg"]
    # mended with the old size and date, as some copying tools do it
    image.write_bytes(good[:2] + good[len(good) - state.st_size + 2 :])
    os.utime(image, ns=(state.st_atime_ns, state.st_mtime_ns))
    verify(root)
    assert opened.take() == [f"{NAME}.pkl", "image_00003.jpg"]


def test_adapters_that_do_not_say_what_they_read_are_asked_again(
    root: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    import dataclasses

    import trace_data.verify.datasets as whole_verify

    find = whole_verify.find_sequences
    silent = lambda *a: [dataclasses.replace(ref, reads=None) for ref in find(*a)]  # noqa: E731
    monkeypatch.setattr(whole_verify, "find_sequences", silent)
    verify(root)
    opened.take()
    assert verify(root).kept == 0
    assert sorted(opened.take()) == sorted(file.name for file in root.rglob("*.pkl"))


class Stopping(Progress):
    """Ends the run after so many frames, as Ctrl-C would."""

    def __init__(self, frames: int) -> None:
        self.left = frames

    def advance(self, amount: int = 1, detail: str = "") -> None:
        self.left -= amount
        if self.left < 0:
            raise KeyboardInterrupt


def test_a_run_that_is_stopped_goes_on(root: Path, opened: Opened) -> None:
    with pytest.raises(KeyboardInterrupt):
        verify(root, progress=Stopping(13))
    opened.take()
    assert verify(root).kept == 2
    assert len(opened.take()) == 2 * 7


def test_a_state_that_is_no_state_does_no_harm(root: Path, opened: Opened) -> None:
    file = root.parent / "state.jsonl"
    verify(root)
    lines = file.read_text().splitlines(keepends=True)
    middle = lines[2].replace('"files": "', '"files": "AAAA')
    file.write_text("".join([lines[0], lines[1], middle, '[1]\n{"version": 9, "key": 3}\n\x00\n', lines[-1][:50]]))
    assert verify(root).kept == 1
    assert verify(root).kept == 4
    for damage in ('"result": {}', '"result": []', '"result": {"size": 3, "findings": 1}', '"files": 7'):
        key = damage.partition(":")[0]
        text = file.read_text()
        file.write_text(re.sub(rf"{key}: (\{{.*\}}|\"[^\"]*\")", damage, text))
        assert verify(root).kept == 0 and verify(root).kept == 4, damage
    file.write_bytes(b"\xff\xfe" + os.urandom(200))
    assert verify(root).kept == 0 and verify(root).kept == 4


def test_the_file_does_not_grow_for_ever(root: Path) -> None:
    for _ in range(8):
        verify(root, anew=True)
    verify(root)
    file = root.parent / "state.jsonl"
    assert len(file.read_text().splitlines()) <= 3 * 4 + 8
    assert len(VerifyMemory(file)._lines) == 4


def test_a_state_that_cannot_be_written_is_said_and_does_not_matter(root: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    class Told(Progress):
        lines: list[str] = []  # noqa: RUF012

        def log(self, line: str) -> None:
            self.lines.append(line)

    assert verify(root, state=tmp_path / "file" / "state.jsonl", progress=Told()).problems == ()
    assert len(Told.lines) == 1 and "will not be recorded" in Told.lines[0]
