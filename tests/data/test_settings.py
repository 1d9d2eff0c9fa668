"""Which folder wins, and what a wrong settings file is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from trace_data.adapters import BUILT_IN
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
    keys = {f"root_{name.replace('-', '_')}" for name in BUILT_IN}
    assert keys == {key for key in FOLDERS if key.startswith("root_")}
    found = load_settings({"TRACE_HOME": str(tmp_path), "TRACE_ROOT_MPI_INF_3DHP": "/mpi"}, tmp_path)
    assert found.dataset_folders(BUILT_IN) == {"mpi-inf-3dhp": Path("/mpi")}


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither HOME nor an entry for this user, as in a container that runs under any number."""
    import pwd

    def unknown(number: int) -> None:
        raise KeyError(number)

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("TRACE_HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)


@pytest.mark.usefixtures("homeless")
def test_without_a_home_only_who_needs_a_default_asks_for_one(tmp_path: Path) -> None:
    settings = load_settings({"TRACE_SHARDS": str(tmp_path)}, tmp_path)
    assert settings.home is None and settings.folder("shards") == tmp_path
    assert settings.folder("packs", tmp_path) == tmp_path
    with pytest.raises(ConfigError) as error:
        settings.folder("packs")
    assert "TRACE_HOME" in (error.value.hint or "")
    assert load_settings({"TRACE_HOME": str(tmp_path)}, tmp_path).folder("packs") == tmp_path / "packs"


@pytest.mark.usefixtures("homeless")
def test_commands_that_are_told_every_folder_run_without_a_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from trace_cli.main import run

    monkeypatch.chdir(tmp_path)
    assert run(["config"]) == 0 and run(["doctor"]) == 0
    assert run(["verify-shards", str(tmp_path)]) == 3 and "index.json" in capsys.readouterr().err
    assert run(["prepare-smpl", "--source", str(tmp_path), "--out", str(tmp_path / "packs")]) == 3
    assert run(["prepare-smpl", "--out", str(tmp_path / "packs")]) == 2
    assert "TRACE_HOME" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["~nobody-of-this-name/x", "a\0b"])
def test_a_path_that_is_none_is_named(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from trace_cli.main import run

    with pytest.raises(ConfigError) as error:
        load_settings({"TRACE_HOME": str(tmp_path), "TRACE_PACKS": text}, tmp_path)
    assert error.value.where == "TRACE_PACKS"
    for words in (
        ["verify-datasets", "--root", text],
        ["build-shards", "3dpw", "--out", text],
        ["train", "--shards", text],
    ):
        assert run(words) == 2
        assert f"{words[-2]}: " in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
