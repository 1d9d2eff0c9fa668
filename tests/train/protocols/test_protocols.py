"""Protocols and published scores as data: all can be read, name things that exist, and choose the right sequences."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from repository import ROOT

from trace_data.adapters.emdb.sequences import PARTS
from trace_data.errors import ConfigError
from trace_data.schema.keypoints import ALL_44
from trace_data.shards.entries import SPLITS, ShardIndex
from trace_data.shards.index import load_index
from trace_train.evaluation.measures import MEASURES
from trace_train.protocols.loading import DEFAULT, load_protocol, protocols, sequences_of
from trace_train.protocols.protocol import DataRules, Protocol
from trace_train.protocols.published import TABLES, beside, published

KEYS = {measure.key for measure in MEASURES}


@pytest.mark.parametrize("name", protocols())
def test_a_protocol_names_only_what_there_is(name: str) -> None:
    one = load_protocol(name)
    assert one.name == name and one.about and set(one.measures) <= KEYS
    assert set(one.labelled.joints or ()) <= set(ALL_44)
    page, _, slug = one.page.partition("#")
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    headings = {
        line.lstrip("# ").lower().replace(" ", "-").replace(",", "") for line in text.splitlines() if line[:1] == "#"
    }
    assert not slug or slug in headings
    assert name == DEFAULT or (one.follows and one.measures and one.data.dataset), "it follows somebody, on something"


def test_the_default_takes_everything_and_measures_everything() -> None:
    one = load_protocol()
    assert one.name == DEFAULT and one.measures == () and one.data == DataRules() and one.baselines


def test_a_file_changes_a_named_one(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("base: emdb2-tram\ndata: {dataset: null, subset: null, split: null}\nworld: {chunk: 50}\n")
    mine, base = load_protocol(str(file)), load_protocol("emdb2-tram")
    assert mine.name == "mine" and mine.world.tail == "prolonged" and mine.world.chunk == 50
    assert mine.data.dataset is None and mine.data.count == base.data.count and mine.measures == base.measures


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("world: {chunks: 3}\nabout: x\n", "chunk"),
        ("base: nobody\n", "nobody"),
        ("- 1\n", "list"),
        ("about: 1\n", "about"),
    ],
)
def test_mistakes_in_a_file_are_named(tmp_path: Path, text: str, word: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=word) as caught:
        load_protocol(str(file))
    assert str(caught.value.where) == str(file)


def test_a_name_that_there_is_not_has_a_neighbour() -> None:
    with pytest.raises(ConfigError, match="emdb2-wham") as caught:
        load_protocol("emdb2-whan")
    assert "--list-protocols" in str(caught.value.hint)
    with pytest.raises(ConfigError, match="'emdb2-gvhmr' or 'emdb2-tram' or 'emdb2-wham'") as caught:
        load_protocol("emdb2")
    assert "emdb1" not in caught.value.message


# --- which sequences -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def index(shards: Path) -> ShardIndex:
    """Four test sequences of EMDB, made of 3DPW's."""
    found = load_index(shards)
    first = found.sequences[0]
    parts = ({"emdb1": "true"}, {"emdb2": "true"}, {"emdb1": "true", "emdb2": "true"}, {"emdb1": "false"})
    sequences = [
        replace(first, dataset="emdb", split="test", name=f"P0_{n}", provenance=own, moving=n > 0, frames=4)
        for n, own in enumerate(parts)
    ]
    return replace(found, sequences=tuple(sequences))


def test_a_subset_is_taken_by_what_the_sequences_say(index: ShardIndex) -> None:
    assert sequences_of(index, load_protocol("emdb1"), "test") == {0, 2}
    assert sequences_of(index, load_protocol("emdb2-gvhmr"), "test") == {1, 2}
    assert sequences_of(index, load_protocol(), "test") == {0, 1, 2, 3}
    rules = {"camera": "static"}, {"sequences": ("*_1", "*_2")}, {"without": ("P0_*",)}
    static, named, none = (Protocol(name="a", about="b", data=DataRules.model_validate(own)) for own in rules)
    assert sequences_of(index, static, "test") == {0} and sequences_of(index, named, "test") == {1, 2}
    with pytest.raises(ConfigError, match="belongs to protocol a"):
        sequences_of(index, none, "test")


@pytest.mark.parametrize(
    ("name", "split", "word", "hint"),
    [
        ("mupots", "test", "these shards hold emdb", "trace build-shards mupots --split test"),
        ("rich-static", "test", "these shards hold emdb", "trace build-shards rich --split test"),
        ("emdb1", "val", "no split 'val'", ""),
    ],
)
def test_what_is_not_there_is_said_with_what_builds_it(
    index: ShardIndex, name: str, split: str, word: str, hint: str
) -> None:
    with pytest.raises(ConfigError, match=word) as caught:
        sequences_of(index, load_protocol(name), split)
    assert caught.value.where == index.folder and hint in str(caught.value.hint)


@pytest.mark.parametrize("name", ["rich-static", "trace-5d"])
def test_bodies_of_which_rotations_alone_are_known_are_not_scored(index: ShardIndex, name: str) -> None:
    first, *others = (replace(entry, moving=False) for entry in index.sequences)
    turned = replace(first, dataset="rich", name="a/cam_00", provenance={"approximate_pose": "smplx"})
    with pytest.raises(ConfigError, match=r"SMPL-X.*joints, vertices, shape and translation are missing") as caught:
        sequences_of(replace(index, sequences=(turned,)), load_protocol(name), "test")
    assert name in caught.value.message and caught.value.where == index.folder
    assert "smplx2smpl" in str(caught.value.hint) and "docs datasets/rich" in str(caught.value.hint)
    assert sequences_of(replace(index, sequences=(turned, *others)), load_protocol(), "test") == {1, 2, 3}


# --- published scores ------------------------------------------------------------------------------------------


def test_published_rows_hold_measures_of_their_protocol() -> None:
    for row in published():
        assert row.scores and set(row.scores) <= KEYS and row.source and row.table in TABLES
        if row.protocol is not None:
            assert set(row.scores) <= set(load_protocol(row.protocol).measures), row


def test_rows_that_stand_side_by_side_have_titles_of_their_own() -> None:
    titles = [(row.title, row.protocol, row.table) for row in published() if row.protocol]
    assert len(set(titles)) == len(titles)
    assert [row.title for row in beside(["wham"], "3dpw-14")] == ["WHAM, final", "WHAM, first"]


def test_only_rows_of_the_same_protocol_stand_beside() -> None:
    rows = beside(["WHAM", "trace"], "emdb2-wham")
    assert [row.camera for row in rows[:3]] == ["DPVO", "DROID-SLAM", "true gyroscope"]
    assert rows[3].system == "TRACE" and rows[3].scores["rte"] == 17.7
    assert [row.scores["wa_mpjpe"] for row in beside(["gvhmr"], "emdb2-gvhmr")] == [111.0]
    with pytest.raises(ConfigError, match="emdb2-gvhmr") as caught:
        beside(["wham", "gvhmr"], "emdb2-wham")
    assert "--protocol emdb2-gvhmr" in str(caught.value.hint) and caught.value.where == "--beside"
    with pytest.raises(ConfigError, match="not known"):
        beside(["human3r"], "emdb2-wham")
    with pytest.raises(ConfigError, match="did you mean 'gvhmr'"):
        beside(["gvhmrr"], "emdb2-wham")


def test_subsets_are_those_of_emdb() -> None:
    for name in ("emdb1", "emdb1-gvhmr", "emdb1-tram", "emdb2-wham", "emdb2-gvhmr", "emdb2-tram"):
        rules = load_protocol(name).data
        assert rules.subset is not None and rules.count == len(PARTS[rules.subset]) and rules.split in SPLITS["emdb"]
