"""Several `--shards` are one set: its index, its clips, a run on it that goes on, scores and the report."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from shard_server import ShardServer
from tiny_runs import TINY, StopAt, same_weights, tiny

from trace_cli.main import run
from trace_data.builder.build import build_shards
from trace_data.errors import ConfigError, InterruptedRun, ShardError
from trace_data.schema.clip import ClipRef
from trace_data.shards.index import check_index, load_index
from trace_data.shards.reader import ShardReader
from trace_data.shards.storage.store import JoinedStore, joined_place, open_store
from trace_train.train import train
from trace_train.weights.checkpoint import describe_run, open_checkpoint

Output = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def sets(sample: Path, packs: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The sequences of `shards` in two sets, each with files of the same names as the other."""
    folder = tmp_path_factory.mktemp("sets")
    roots = [folder / "root-a", folder / "root-b"]
    for root in roots:
        shutil.copytree(sample / "datasets", root)
    parts = sorted((roots[0] / "3DPW" / "sequenceFiles" / "train").iterdir())
    for file in parts[::2]:
        (roots[0] / "3DPW" / "sequenceFiles" / "train" / file.name).unlink()
    for file in parts[1::2]:
        (roots[1] / "3DPW" / "sequenceFiles" / "train" / file.name).unlink()
    for split in ("validation", "test"):
        for file in (roots[1] / "3DPW" / "sequenceFiles" / split).iterdir():
            file.unlink()
    for root, name in zip(roots, "ab"):
        build_shards(["3dpw"], root, folder / name, packs=packs, jobs=1)
    return folder / "a", folder / "b"


def test_the_index_of_two_sets_holds_what_one_set_would(sets: tuple[Path, Path], shards: Path) -> None:
    store = open_store(joined_place(sets))
    assert isinstance(store, JoinedStore)
    joined, whole = check_index(store, hashes=True), load_index(shards)
    assert sorted(entry.key for entry in joined.sequences) == sorted(entry.key for entry in whole.sequences)
    assert (joined.splits, joined.people) == (whole.splits, whole.people)
    assert {key: set(values) for key, values in joined.datasets["3dpw"].items()} == {
        key: set(values) for key, values in whole.datasets["3dpw"].items()
    }
    firsts = [entry.first_person for entry in joined.sequences]
    assert firsts == sorted(firsts)
    reader = ShardReader(store)
    for number, entry in enumerate(joined.sequences):
        same = next(i for i, e in enumerate(whole.sequences) if e.key == entry.key)
        mine = reader.annotations(ClipRef(sequence=number, start=0, stride=1, length=4))
        its = ShardReader(shards).annotations(ClipRef(sequence=same, start=0, stride=1, length=4))
        assert entry.people == whole.sequences[same].people
        np.testing.assert_array_equal(mine.intrinsics, its.intrinsics)


def test_a_folder_and_a_url_are_joined_too(sets: tuple[Path, Path], tmp_path: Path) -> None:
    with ShardServer(sets[1]) as server:
        place = joined_place([sets[0], server.url])
        reader = ShardReader(place, cache=tmp_path)
        local = load_index(joined_place(sets))
        assert reader.store.remote
        assert [entry.key for entry in reader.index.sequences] == [entry.key for entry in local.sequences]
        last = ClipRef(sequence=len(local.sequences) - 1, start=0, stride=1, length=4)
        reader.prefetch([last])
        mine, its = reader.annotations(last), ShardReader(joined_place(sets)).annotations(last)
        np.testing.assert_array_equal(mine.intrinsics, its.intrinsics)


def test_the_same_sequence_in_two_sets_is_refused(sets: tuple[Path, Path], shards: Path) -> None:
    with pytest.raises(ShardError, match="drawn twice") as error:
        load_index(joined_place([shards, sets[0]]))
    assert error.value.where == str(sets[0])
    with pytest.raises(ConfigError, match="stands between"):
        joined_place([Path("a + b"), Path("c")])


def test_what_is_damaged_is_named_in_its_set(sets: tuple[Path, Path], tmp_path: Path) -> None:
    own = shutil.copytree(sets[1], tmp_path / "own")
    [file] = own.glob("*.h5")
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(ShardError, match="expected") as error:
        check_index(joined_place([sets[0], own]))
    assert error.value.where == str(file)
    file.unlink()
    with pytest.raises(ShardError, match="missing"):
        check_index(joined_place([sets[0], own]))


@pytest.mark.slow
def test_a_run_on_two_sets_goes_on_exactly_and_is_scored_and_shown_on_them(
    sets: tuple[Path, Path], packs: Path, tmp_path: Path, capsys: Output
) -> None:
    place = joined_place(sets)
    train(tiny(), shards=place, packs=packs, run=tmp_path / "whole")
    with pytest.raises(InterruptedRun):
        train(tiny(), shards=place, packs=packs, run=tmp_path / "stopped", progress=StopAt(4))
    assert run(["train", "--resume", str(tmp_path / "stopped")]) == 0, capsys.readouterr().err
    assert same_weights(tmp_path / "whole", tmp_path / "stopped")
    assert describe_run(tmp_path / "stopped").shards == place
    assert run(["evaluate", str(tmp_path / "stopped"), "--every", "50"]) == 0, capsys.readouterr().err
    assert run(["report", str(tmp_path / "stopped"), "--packs", str(packs)]) == 0
    assert "No clips are drawn" not in capsys.readouterr().out
    moved = shutil.copytree(sets[1], tmp_path / "moved")
    assert run(["train", "--resume", str(tmp_path / "stopped"), "--set", "steps=8", "--shards", str(sets[0]),
                "--shards", str(moved)]) == 0, capsys.readouterr().err  # fmt: skip
    assert run(["train", "--resume", str(tmp_path / "stopped"), "--shards", str(sets[0])]) == 2
    assert "shards are not those" in capsys.readouterr().err


@pytest.mark.slow
def test_the_command_trains_on_the_union(sets: tuple[Path, Path], packs: Path, tmp_path: Path, capsys: Output) -> None:
    given = [word for folder in sets for word in ("--shards", str(folder))]
    overrides = [word for text in (*TINY, "steps=2") for word in ("--set", text)]
    command = ["train", "--config", "debug", *overrides, *given, "--packs", str(packs), "--out", str(tmp_path / "run")]
    assert run(command) == 0, capsys.readouterr().err
    assert describe_run(tmp_path / "run").shards == joined_place(sets)
    run_folder, page = str(tmp_path / "run"), tmp_path / "page.html"
    shutil.copytree(sets[1], moved := tmp_path / "moved")
    given[3] = str(moved)  # the same sets at another place
    capsys.readouterr()
    assert run(["evaluate", run_folder, *given, "--one-in", "50", "--json"]) == 0, capsys.readouterr().err
    assert (
        json.loads(capsys.readouterr().out)["shards_sha256"]
        == open_checkpoint(tmp_path / "run").facts["data"]["shards_sha256"]
    )
    assert run(["report", run_folder, *given, "--packs", str(packs)]) == 0
    assert "No clips are drawn" not in capsys.readouterr().out
    assert run(["preview", *given, "--packs", str(packs), "--clips", "100", "--clip-frames", "1", "--page", str(page),
                "--json"]) == 0, capsys.readouterr().err  # fmt: skip
    shown = {clip["sequence"] for clip in json.loads(capsys.readouterr().out)["clips"]}
    assert shown == {entry.key for entry in load_index(joined_place(sets)).sequences}
    assert "Preview of a, moved" in page.read_text()


def test_what_looks_at_one_set_does_not_take_the_last_of_several(sets: tuple[Path, Path], capsys: Output) -> None:
    given = [word for folder in sets for word in ("--shards", str(folder))]
    assert run(["verify-shards", *given]) == 2 and "one set" in capsys.readouterr().err
    assert run(["preview", str(sets[0]), "--shards", str(sets[1])]) == 2 and "two places" in capsys.readouterr().err
