"""Which folder wins, and what a wrong settings file is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from trace_data.adapters import ADAPTERS
from trace_data.errors import ConfigError
from trace_data.settings import FOLDERS, load_settings


def settings_at(home: Path, **environment: str) -> dict[str, Path]:
    found = load_settings({"TRACE_HOME": str(home), **environment}, working_folder=home.parent)
    return dict(found.values)


def test_each_source_overrides_the_one_before(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    assert settings_at(home)["packs"] == home / "packs"
    (home / "config.toml").write_text('packs = "mine"\nroot = "/data"\n')
    assert settings_at(home)["packs"] == home / "mine"
    (tmp_path / "trace.toml").write_text('packs = "here"\n')
    assert settings_at(home)["packs"] == tmp_path / "here"
    assert settings_at(home)["root"] == Path("/data")
    assert settings_at(home, TRACE_PACKS="/env")["packs"] == Path("/env")
    assert load_settings({"TRACE_HOME": str(home)}, tmp_path).folder("packs", Path("/given")) == Path("/given")


def test_origin_says_where_a_value_came_from(tmp_path: Path) -> None:
    (tmp_path / "trace.toml").write_text('shards = "s"\n')
    found = load_settings({"TRACE_HOME": str(tmp_path / "h"), "TRACE_RUNS": "/r"}, tmp_path)
    assert found.origin["shards"] == str(tmp_path / "trace.toml")
    assert found.origin["runs"] == "TRACE_RUNS"
    assert found.origin["cache"] == "default"
    assert "root" not in found.origin


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('pack = "x"', "did you mean 'packs'?"),
        ("packs = 3", "expected the name of a folder"),
        ("packs = ", "cannot be read as TOML"),
        ("packs = " + "[" * 5000, "nests"),
        ("packs = " + "9" * 5000, "digits"),
        ("packs.a." + "a." * 5000 + "a = 1", "nests"),
        ("packs = 'a'\npacks = 'b'", "overwrite"),
        ('packs = "a\\u0000b"', "NUL"),
        ('root = "~nobody-of-this-name/x"', "does not know"),
    ],
)
def test_a_wrong_file_is_named_with_what_is_wrong(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "trace.toml").write_text(text)
    with pytest.raises(ConfigError, match=r"trace\.toml") as caught:
        settings_at(tmp_path / "home")
    assert words in str(caught.value)


def test_root_has_no_default_and_says_how_to_set_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="TRACE_ROOT"):
        load_settings({"TRACE_HOME": str(tmp_path)}, tmp_path).folder("root")


def test_every_dataset_may_have_a_folder_of_its_own(tmp_path: Path) -> None:
    keys = {f"root_{name.replace('-', '_')}" for name in ADAPTERS}
    assert keys == {key for key in FOLDERS if key.startswith("root_")}
    found = load_settings({"TRACE_HOME": str(tmp_path), "TRACE_ROOT_MPI_INF_3DHP": "/mpi"}, tmp_path)
    assert found.dataset_folders(ADAPTERS) == {"mpi-inf-3dhp": Path("/mpi")}
