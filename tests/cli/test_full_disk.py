"""Whatever a command writes: on a full disk it says so, names only options it has, and leaves nothing half written."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from small_disk import filled, mounted

from trace_cli.main import run as trace

OPTION = re.compile(r"--[a-z][a-z-]+")
Output = pytest.CaptureFixture[str]


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("TRACE_HOME", str(tmp_path / "home"))
    with mounted(tmp_path / "disk", "32m") as disk:
        yield disk


def refused(capsys: Output, *words: str | Path) -> str:
    """What such a command says; its hint may only name options that it has."""
    capsys.readouterr()
    assert trace([str(word) for word in words]) == 3
    said = capsys.readouterr().err
    message, hint = said[said.index("error:") :].split("\n", 1)
    assert "No space left" in message and hint.strip()
    trace([str(words[0]), "--help"])
    assert set(OPTION.findall(hint)) <= set(OPTION.findall(capsys.readouterr().out)), hint
    return message


def test_pages_and_sheets(shards: Path, packs: Path, tiny_run: Path, disk: Path, capsys: Output) -> None:
    filled(disk)
    data = ("--shards", shards, "--packs", packs)
    for words in (
        ("preview", *data, "--clips", "1", "--clip-frames", "2", "--page", disk / "page.html"),
        ("preview", *data, "--clips", "1", "--clip-frames", "2", "--sheet", disk / "sheet.png"),
        ("report", tiny_run, "--page", disk / "page.html"),
        ("prepare-smpl", "--source", packs.parent / "body_models", "--gender", "neutral", "--out", disk / "packs"),
    ):
        assert str(disk) in refused(capsys, *words)
    assert {file.name for file in disk.iterdir()} == {"of somebody else", "packs"}
    assert not any((disk / "packs").iterdir())


def test_what_lies_beside_its_source(shards: Path, packs: Path, tiny_run: Path, disk: Path, capsys: Output) -> None:
    shutil.copytree(shards, disk / "shards")
    shutil.copytree(tiny_run, disk / "run", symlinks=True)
    before = set(disk.rglob("*.[hj]*"))
    filled(disk)
    message = refused(capsys, "evaluate", disk / "run", "--shards", shards, "--packs", packs, "--split", "val")
    assert "evaluation-val" in message
    refused(capsys, "add-flow", "--shards", disk / "shards", "--flow", "dis", "--jobs", "1")
    assert set(disk.rglob("*.[hj]*")) == before
