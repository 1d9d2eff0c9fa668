"""An `index.json` from other hands: read by one schema, within limits, and refused in words."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny_3dpw

from trace_cli.main import run
from trace_data.builder.build import build_shards
from trace_data.errors import ShardError
from trace_data.shards.checks.shards import verify_shards
from trace_data.shards.index import load_index
from trace_data.shards.reader import ShardReader


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("datasets")
    tiny_3dpw.write(root, {"train": 2, "val": 1, "test": 1}, frames=6)
    out = tmp_path_factory.mktemp("built") / "shards"
    build_shards(["3dpw"], root, out)
    return out


@pytest.fixture
def index(built: Path, tmp_path: Path) -> Path:
    """The file of a folder whose shards are links to real ones."""
    for file in built.glob("*.h5"):
        (tmp_path / file.name).symlink_to(file)
    (tmp_path / "index.json").write_bytes((built / "index.json").read_bytes())
    return tmp_path / "index.json"


Change = Callable[[Any], object]


def shard(**values: Any) -> Change:
    return lambda index: index["shards"][0].update(values)


def sequence(**values: Any) -> Change:
    return lambda index: index["sequences"][0].update(values)


WRONG: dict[str, Change] = {
    "parent folder": shard(file="../../x.h5"),
    "absolute": shard(file="/etc/passwd.h5"),
    "escape in a name": shard(file="\x1b[2Jx.h5"),
    "not a hash": shard(sha256="../../x"),
    "shard twice": lambda index: index["shards"].append(index["shards"][0]),
    "no shards": lambda index: index.update(shards=[]),
    "negative bytes": shard(bytes=-1),
    "more frames than bytes": shard(frames=10**15),
    "more rows than bytes": shard(rows=10**15),
    "huge integer": shard(rows=10**300),
    "width": sequence(width=10**11),
    "height of 0": sequence(height=0),
    "nan fps": sequence(fps=float("nan")),
    "infinite fps": sequence(fps=float("inf")),
    "a long split": sequence(split="x" * 10_000),
    "a long name of a dataset": shard(dataset="x" * 10_000),
    "fps of text": sequence(fps="30"),
    "usable": sequence(usable=[[[0, 10**15]], []]),
    "usable of floats": sequence(usable=[[[0.5, 1.5]], []]),
    "usable backwards": sequence(usable=[[[4, 1]], []]),
    "ids that fall": sequence(frame_id_runs=[[5, -1, 6]]),
    "ids beyond 64 bits": sequence(frame_id_runs=[[0, 2**61, 6]]),
    "no people": sequence(people=None),
    "unknown key": sequence(secret=1),
    "frames": sequence(frames=True),
    "shard number": sequence(shard=-1),
    "provenance": sequence(provenance={"release": ["a"]}),
    "sequences are an object": lambda index: index.update(sequences={}),
    "entry is a number": lambda index: index["sequences"].insert(0, 7),
    "a list": lambda index: index.update(datasets=[]),
}


@pytest.mark.parametrize("change", WRONG)
def test_an_index_that_is_wrong_is_refused_wherever_it_is_read(index: Path, change: str) -> None:
    content = json.loads(index.read_text())
    WRONG[change](content)
    index.write_text(json.dumps(content))
    for read in (load_index, ShardReader):
        with pytest.raises(ShardError, match="malformed index") as caught:
            read(index.parent)
        assert caught.value.where == str(index) and caught.value.hint
        assert len(caught.value.message) < 1_000
    assert not verify_shards(index.parent, depth="index").ok


TEXTS: dict[str, bytes] = {
    "nothing": b"",
    "not UTF-8": b'{"format_version": "\xff"}',
    "half a surrogate pair": b'{"format_version": "\\ud800"}',
    "a list of lists": b"[" * 100_000,
    "an object of objects": b'{"a":' * 100_000,
    "digits": b'{"format_version": ' + b"9" * 6_000 + b"}",
    "a number": b"7",
    "a list": b"[]",
    "a text": b'"index"',
}


@pytest.mark.parametrize("text", TEXTS)
def test_a_file_that_is_no_index_is_named(index: Path, text: str) -> None:
    index.write_bytes(TEXTS[text])
    with pytest.raises(ShardError) as caught:
        load_index(index.parent)
    assert caught.value.where == str(index) and len(str(caught.value)) < 1_000


@pytest.mark.parametrize("place", ["pipe", "/dev/zero", "folder"])
def test_what_is_no_file_is_no_index(index: Path, place: str) -> None:
    index.unlink()
    if place == "pipe":
        os.mkfifo(index)
    elif place == "folder":
        index.mkdir()
    else:
        index.symlink_to(place)
    with pytest.raises(ShardError, match="expected a file") as caught:
        load_index(index.parent)
    assert caught.value.where == str(index)


@pytest.mark.parametrize("command", [["preview"], ["train", "--config", "debug", "--check", "--shards"]])
def test_commands_do_not_start_on_a_wrong_index(
    index: Path, tmp_path: Path, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    content = json.loads(index.read_text())
    sequence(fps=float("nan"))(content)
    index.write_text(json.dumps(content))
    out = tmp_path / "out.html"
    assert run([*command, str(index.parent), "--out", str(out)]) == 3
    shown = capsys.readouterr()
    assert "malformed index" in shown.out + shown.err
    assert not out.exists()


def test_a_list_of_wrong_entries_costs_one_message(index: Path) -> None:
    content = json.loads(index.read_text())
    content["sequences"] = [7] * 200_000
    index.write_text(json.dumps(content))
    with pytest.raises(ShardError, match=r"sequences\[0\].*expected object"):
        load_index(index.parent)
