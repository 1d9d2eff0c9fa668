"""Flow beside shards: what is written is read, belongs to its frames, and damage is found and mended by a command."""

from __future__ import annotations

import json
import pickle
import shutil
import zlib
from pathlib import Path

import added_flow
import h5py
import numpy as np
import pytest
from shard_server import ShardServer

from trace_cli.main import run
from trace_data.builder.build import build_shards
from trace_data.errors import NoStoredFlowError, ShardError
from trace_data.schema.clip import ClipRef
from trace_data.shards.checks.shards import verify_shards
from trace_data.shards.flow.codec import LARGEST, STEPS, decode_flow, encode_flow
from trace_data.shards.flow.index import FlowSettings
from trace_data.shards.flow.layout import FLOW_INDEX_FILE
from trace_data.shards.flow.reader import FlowReader
from trace_data.shards.reader import ShardReader
from trace_data.shards.storage.store import joined_place, open_store

FILE = "3dpw-train-00000.flow.h5"


@pytest.fixture
def folder(shards: Path, tmp_path: Path) -> Path:
    """Shards of one's own, with flow."""
    copied = Path(shutil.copytree(shards, tmp_path / "shards"))
    added_flow.write(copied)
    return copied


def clip(start: int = 0, stride: int = 1, length: int = 3, sequence: int = 1) -> ClipRef:
    return ClipRef(sequence=sequence, start=start, stride=stride, length=length)


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (114, 64)])
def test_a_field_comes_back_within_a_32nd_of_a_pixel(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    flow = rng.normal(0, 400, (size[1], size[0], 2)).astype(np.float32)
    flow[0, 0] = -9999, 9999
    found = decode_flow(encode_flow(flow), *size)
    assert np.abs(found - np.clip(flow, -LARGEST, LARGEST)).max() <= 0.5 / STEPS
    assert np.array_equal(found[0, 0], [-LARGEST, LARGEST])


def test_smooth_flow_is_small() -> None:
    y, x = np.mgrid[:64, :114].astype(np.float32)
    flow = np.stack([4 + np.sin(x / 30) + y / 40, np.cos(y / 20) * 3], axis=-1)
    assert len(encode_flow(flow)) < flow.size * 2 / 10, "a tenth of half precision"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no zlib",
        zlib.compress(b"\0" * 10),
        zlib.compress(b"\0" * (2 * 2 * 12 * 9 + 1)),
        zlib.compress(b"\0" * (1 << 24)),
        encode_flow(np.zeros((9, 12, 2), np.float32))[:-1],
    ],
)
def test_bytes_that_are_no_field_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="flow"):
        decode_flow(data, 12, 9)


def test_flow_that_is_not_finite_is_not_stored() -> None:
    with pytest.raises(ValueError, match="NaN"):
        encode_flow(np.full((2, 2, 2), np.nan, np.float32))


def test_pairs_of_a_clip_in_px_of_its_frames(folder: Path) -> None:
    reader = ShardReader(folder)
    flow, entry = FlowReader(reader), reader.index.sequences[1]
    scale = np.array([entry.width / (8 * added_flow.GRID[0]), entry.height / (8 * added_flow.GRID[1])])
    for stride in (1, 2):
        pairs = flow.pairs(clip(start=1, stride=stride))
        assert pairs[0] is None
        for found, frame in zip(pairs[1:], (1 + stride, 1 + 2 * stride), strict=True):
            assert found is not None
            assert np.allclose(found, added_flow.field(1, frame, stride) * scale)
    before = flow.pairs(clip(start=2, length=1), before=True)
    assert len(before) == 1 and np.allclose(before[0], added_flow.field(1, 2, 1) * scale)
    with pytest.raises(IndexError):
        flow.pairs(clip(start=0, length=1), before=True)
    again = pickle.loads(pickle.dumps(flow))
    assert np.array_equal(again.pairs(clip())[1], flow.pairs(clip())[1])


def test_strides_that_are_not_stored_are_named_with_the_command(folder: Path) -> None:
    flow = FlowReader(ShardReader(folder))
    with pytest.raises(ShardError, match="not for 3, 4") as caught:
        flow.check_strides((1, 3, 4))
    assert "--stride 1 --stride 2 --stride 3 --stride 4" in str(caught.value.hint)
    with pytest.raises(ShardError, match="not for 3"):
        flow.pairs(clip(stride=3, length=2))


def test_shards_without_flow_are_read_as_ever_and_say_how_to_add_it(shards: Path) -> None:
    reader = ShardReader(shards)
    assert len(reader.encoded(clip())) == 3
    with pytest.raises(NoStoredFlowError, match="no stored flow") as caught:
        FlowReader(reader)
    assert caught.value.where == str(shards) and f"trace add-flow {shards}" in str(caught.value.hint)


def test_flow_of_other_frames_is_refused(folder: Path) -> None:
    content = json.loads((folder / FLOW_INDEX_FILE).read_text())
    for change, word in (({"shard_sha256": "0" * 64}, "anew"), ({"file": "3dpw-train-00009.flow.h5"}, "no flow")):
        changed = content | {"shards": [content["shards"][0] | change, *content["shards"][1:]]}
        (folder / FLOW_INDEX_FILE).write_text(json.dumps(changed))
        with pytest.raises(ShardError, match=word) as caught:
            FlowReader(ShardReader(folder))
        assert "--flow dis --stride 1 --stride 2 --height 72" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("key", "value", "word"),
    [
        ("format_version", 9, "format 9"),
        ("settings", {"provider": "dis", "height": 8}, "strides"),
        ("settings", {"provider": "magic", "height": 8, "strides": [1]}, "provider"),
        ("settings", {"provider": "dis", "height": 8, "strides": [2, 1]}, "rising"),
        ("shards", [{"file": "../../x.flow.h5"}], "shards"),
        ("shards", "none", "shards"),
    ],
)
def test_a_malformed_index_is_named(folder: Path, key: str, value: object, word: str) -> None:
    content = json.loads((folder / FLOW_INDEX_FILE).read_text())
    (folder / FLOW_INDEX_FILE).write_text(json.dumps(content | {key: value}))
    with pytest.raises(ShardError, match=word) as caught:
        FlowReader(ShardReader(folder))
    assert FLOW_INDEX_FILE in str(caught.value.where) and "add-flow" in str(caught.value.hint)


def test_an_index_that_leads_elsewhere_is_refused(folder: Path) -> None:
    content = json.loads((folder / FLOW_INDEX_FILE).read_text())
    content["shards"].append(content["shards"][0] | {"file": "../x.flow.h5"})
    (folder / FLOW_INDEX_FILE).write_text(json.dumps(content))
    with pytest.raises(ShardError, match="no name"):
        FlowReader(ShardReader(folder))
    (folder / FLOW_INDEX_FILE).write_text("{")
    with pytest.raises(ShardError, match="cannot be read"):
        FlowReader(ShardReader(folder))


def blot(file: Path, name: str, value: int) -> None:
    """Change the first byte of a dataset, in place."""
    with h5py.File(file, "r") as content:
        at = content[name].id.get_offset()
    with file.open("r+b") as stream:
        stream.seek(at + 1)
        stream.write(bytes([value]))


@pytest.mark.parametrize(
    ("dataset", "depth", "word"),
    [("flow/bytes", "hashes", "content"), ("flow/size", "index", "CRC-32"), ("flow/offset", "index", "CRC-32")],
)
def test_damage_is_found_by_the_reader_and_by_verify(folder: Path, dataset: str, depth: str, word: str) -> None:
    assert verify_shards(folder).ok
    blot(folder / FILE, dataset, 0x55)
    reader = ShardReader(folder)
    with pytest.raises(ShardError) as caught:
        FlowReader(reader).pairs(clip(sequence=0))
    assert FILE in str(caught.value.where) and f"trace add-flow {folder} --flow dis" in str(caught.value.hint)
    report = verify_shards(folder, depth=depth)  # type: ignore[arg-type]
    (problem,) = [p for shard in report.shards for p in shard.problems]
    assert not report.ok and word in problem.what and "trace add-flow" in problem.hint
    assert verify_shards(folder, depth="index").ok == (depth != "index"), "bytes are not read at this depth"


def test_every_field_is_looked_at(folder: Path) -> None:
    """With hashes that fit, as who writes nonsense would leave it."""
    made = added_flow.write(folder, of=lambda *given: np.zeros((3, 3, 2), np.float32))
    report = verify_shards(folder)
    assert made.shards and not report.ok
    assert "cells" in report.shards[0].problems[0].what


def test_lost_cut_and_left_over_files(folder: Path) -> None:
    (folder / FILE).rename(folder / "3dpw-train-00007.flow.h5")
    with pytest.raises(ShardError, match="missing"):
        FlowReader(ShardReader(folder)).pairs(clip(sequence=0))
    report = verify_shards(folder, depth="index")
    assert [p.what for shard in report.shards for p in shard.problems] == ["the shard is missing"]
    assert [p.severity for p in report.index] == ["warning"] and "flow.json" in report.index[0].what
    shutil.copy(folder / "3dpw-train-00007.flow.h5", folder / FILE)
    with (folder / FILE).open("r+b") as stream:
        stream.truncate(5000)
    with pytest.raises(ShardError, match="5,000 bytes"):
        FlowReader(ShardReader(folder)).pairs(clip(sequence=0))


def test_a_link_in_the_file_is_never_followed(folder: Path) -> None:
    made = added_flow.write(folder)
    with h5py.File(folder / FILE, "r+") as content:
        del content["flow/bytes"]
        content["flow/bytes"] = h5py.ExternalLink("/etc/passwd", "x")
    content_of = json.loads((folder / FLOW_INDEX_FILE).read_text())
    content_of["shards"][0]["bytes"] = (folder / FILE).stat().st_size
    (folder / FLOW_INDEX_FILE).write_text(json.dumps(content_of))
    assert made.shards[0].file == FILE
    with pytest.raises(ShardError, match="link"):
        FlowReader(ShardReader(folder)).pairs(clip(sequence=0))


def test_sets_together_have_the_strides_of_both_and_one_provider(sample: Path, folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    build_shards(["3dpw"], sample / "datasets", other, splits=("val",), jobs=1)
    mine = tmp_path / "mine"
    build_shards(["3dpw"], sample / "datasets", mine, splits=("train",), jobs=1)
    added_flow.write(mine, (1, 2))
    store = open_store(joined_place((mine, other)))
    with pytest.raises(NoStoredFlowError) as caught:
        FlowReader(ShardReader(store))
    assert caught.value.where == str(other)
    added_flow.write(other, (1, 3))
    reader = ShardReader(store)
    flow = FlowReader(reader)
    assert flow.index.settings.strides == (1,)
    row = next(row for row, entry in enumerate(reader.index.sequences) if entry.split == "val")
    own = ShardReader(other).index.sequences[0]
    assert reader.index.sequences[row].name == own.name
    expected = FlowReader(ShardReader(other)).pairs(clip(sequence=0))[1]
    assert np.array_equal(flow.pairs(clip(sequence=row))[1], expected)
    raft = FlowSettings(provider="raft", height=72, strides=(1,), iterations=20, weights_sha256="0" * 64)
    added_flow.write(other, settings=raft)
    with pytest.raises(ShardError, match="DIS and RAFT"):
        FlowReader(ShardReader(store))


def test_behind_a_url_it_is_fetched_like_a_shard(folder: Path, tmp_path: Path) -> None:
    expected = FlowReader(ShardReader(folder)).pairs(clip())[1]
    with ShardServer(folder) as server:
        reader = ShardReader(open_store(server.url, cache=tmp_path / "cache"))
        assert np.array_equal(FlowReader(reader).pairs(clip())[1], expected)
        (folder / FLOW_INDEX_FILE).unlink()
        with pytest.raises(NoStoredFlowError, match="no stored flow"):
            FlowReader(ShardReader(open_store(server.url, cache=tmp_path / "cache")))


def test_shards_that_are_built_anew_lose_their_flow(sample: Path, folder: Path) -> None:
    build_shards(["3dpw"], sample / "datasets", folder, force=True)
    assert not list(folder.glob("*flow*"))


def test_the_command_needs_a_provider(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    assert run(["add-flow", str(folder)]) == 2
    assert "--flow" in capsys.readouterr().err
    assert run(["build-shards", "3dpw", "--flow", "dis", "--part", "1/2", "--out", str(folder)]) == 2
    assert "--finish" in capsys.readouterr().err
