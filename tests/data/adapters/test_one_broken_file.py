"""A broken annotation file costs the sequences that it holds, by name, and no others: in every layout."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import tiny_3dpw
from broken_layouts import LAYOUTS, Layout

from trace_data.adapters import find_sequences, load_adapter, read_record
from trace_data.builder.build import build_shards
from trace_data.errors import AnnotationError
from trace_data.verify.datasets import verify_datasets

FRAMES = (".jpg", ".jpeg", ".png", ".avi", ".mp4")
ENDS = {"nothing": b"", "a web page": b"<html>login</html>"}


def readable(layout: Layout, root: Path) -> tuple[set[str], dict[str, str]]:
    """Keys of the sequences that can be read, and for the others which file is to blame."""
    good, bad = set(), {}
    for split in load_adapter(layout.dataset).SPEC.splits:
        for ref in find_sequences(layout.dataset, root, split):
            try:
                read_record(ref)
                good.add(ref.key)
            except AnnotationError as error:
                bad[ref.key] = f"{error.where} {error}"
    return good, bad


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("name", LAYOUTS)
def test_every_other_sequence_is_still_read(name: str, end: str, tmp_path: Path) -> None:
    layout = LAYOUTS[name]
    folder = layout.write(tmp_path / "datasets")
    whole, bad = readable(layout, tmp_path / "datasets")
    assert whole and not bad
    files = [file for file in sorted(folder.rglob("*")) if file.is_file() and file.suffix.lower() not in FRAMES]
    hurt = 0
    for file in files:
        aside = file.rename(tmp_path / "aside")
        file.write_bytes(ENDS[end])
        good, bad = readable(layout, tmp_path / "datasets")
        assert good <= whole
        assert good == whole or any(file.name in why for why in bad.values()), (file, bad)
        hurt += good != whole
        aside.replace(file)
    assert hurt or not files
    assert readable(layout, tmp_path / "datasets") == (whole, {}), "all are as they were"


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_pipe_in_place_of_any_file_is_not_waited_for(name: str, tmp_path: Path) -> None:
    layout = LAYOUTS[name]
    folder = layout.write(tmp_path)

    def waited(*_: object) -> None:
        pytest.fail(f"reading {file} waits for somebody who writes into it")

    before = signal.signal(signal.SIGALRM, waited)
    try:
        for file in [
            file for file in sorted(folder.rglob("*")) if file.suffix.lower() not in FRAMES and file.is_file()
        ]:
            aside = file.rename(tmp_path / "aside")
            os.mkfifo(file)
            signal.alarm(20)
            good, _ = readable(layout, tmp_path)
            signal.alarm(0)
            aside.rename(file)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    whole, bad = readable(layout, tmp_path)
    assert whole >= good and not bad


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("dynacam", "annotations/panorama_test.npz"),
        ("3dpw, vibe_db", "vibe_db/3dpw_test_db.pt"),
        ("mpi-inf-3dhp, images", "S1/Seq1/annot.mat"),
        ("penn-action, labels", "labels/0002.mat"),
    ],
)
def test_a_build_leaves_it_out_and_goes_on(name: str, file: str, tmp_path: Path) -> None:
    layout = LAYOUTS[name]
    folder = layout.write(tmp_path / "datasets")
    (folder / file).write_bytes(b"")
    report = build_shards([layout.dataset], tmp_path / "datasets", tmp_path / "shards")
    assert report.index.sequences, "the others are built"
    assert report.bad and all(Path(file).name in bad.reason for bad in report.bad)
    checked = verify_datasets([layout.dataset], tmp_path / "datasets", depth="content").datasets[0]
    errors = [problem for problem in checked.problems if problem.severity == "error"]
    assert any(Path(file).name in " ".join((p.what, *p.examples)) for p in errors)
    assert sum(checked.sequences.values()) >= len(report.index.sequences)


def test_a_dataset_whose_only_file_is_broken_does_not_stop_another_one(tmp_path: Path) -> None:
    folder = LAYOUTS["penn-action, packed"].write(tmp_path)
    tiny_3dpw.write(tmp_path, {"train": 1, "val": 1, "test": 1}, frames=3)
    (folder / "annots_train.npz").write_bytes(b"")
    report = build_shards(["3dpw", "penn-action"], tmp_path, tmp_path / "shards")
    assert {entry.dataset for entry in report.index.sequences} == {"3dpw"}
    assert {bad.key for bad in report.bad} == {f"penn-action/{split}/annots_train.npz" for split in ("train", "test")}
