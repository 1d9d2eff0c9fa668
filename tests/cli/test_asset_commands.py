"""The commands about body models, as they are typed: default folders, the published packer's folder, exit codes."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest

from trace_cli import assets
from trace_cli.main import run
from trace_data.schema.body import GENDERS

Output = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder of the test's own, which is also where it works."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    for name in ("HOME", "SOURCES", "PACKS"):
        monkeypatch.delenv(f"TRACE_{name}", raising=False)
    monkeypatch.chdir(home)
    return home


def put_sources(folder: Path, small: dict[str, Any], body_models: Path) -> None:
    """Three quickly read bodies that differ, and the side files."""
    shutil.copytree(body_models / "smpl_model_data", folder, dirs_exist_ok=True)
    for number, gender in enumerate(GENDERS):
        body = small | {"v_template": small["v_template"] * (1 - 0.03 * number)}
        (folder / f"SMPL_{gender.upper()}.pkl").write_bytes(pickle.dumps(body, 2))


@pytest.mark.slow
def test_default_folders_are_made_and_used(
    home: Path, small: dict[str, Any], body_models: Path, capsys: Output
) -> None:
    assert run(["prepare-smpl"]) == 3
    text = capsys.readouterr().err
    for name in ("male body model", "female body model", "neutral body model", "J_regressor_extra.npy",
                 "J_regressor_h36m.npy", "smpl_kid_template.npy"):  # fmt: skip
        assert name in text
    assert f"looked in {home}/.trace/sources" in text
    assert list((home / ".trace").iterdir()) == [home / ".trace/sources"]

    put_sources(home / ".trace/sources", small, body_models)
    assert run(["prepare-smpl", "--gender", "all"]) == 3
    assert "--allow-v1-0" in capsys.readouterr().err
    assert run(["prepare-smpl", "--gender", "all", "--allow-v1-0", "--json"]) == 0
    shown = capsys.readouterr()
    assert [pack["gender"] for pack in json.loads(shown.out)["packs"]] == list(GENDERS)
    for gender in GENDERS:
        assert f"found SMPL_{gender.upper()}.pkl: SMPL 1.0.0 {gender}, 10 components" in shown.err
        assert (home / f".trace/packs/SMPLA_{gender.upper()}.pth").exists()
    assert run(["verify-assets"]) == 3  # the sources are of version 1.0.0
    assert "SMPL 1.0.0" in capsys.readouterr().out


def test_folder_of_the_published_packer(
    home: Path, small: dict[str, Any], body_models: Path, packs: Path, capsys: Output
) -> None:
    import torch

    put_sources(home / ".romp", small, body_models)
    arguments = ["prepare-smpl", "--gender=male", "--source=~/.romp", "--out=~/.romp", "--allow-v1-0"]
    assert run(arguments) == 0
    assert (home / ".romp/SMPL_MALE.pth").exists()
    assert not (home / "~").exists()
    # what that packer wrote is the same, except for the memory order of one tensor: taken for done
    pack = torch.load(home / ".romp/SMPL_MALE.pth", weights_only=True)
    torch.save(pack | {"posedirs": pack["posedirs"].T.contiguous().T}, home / ".romp/SMPL_MALE.pth")
    assert run(arguments) == 0
    assert "unchanged" in capsys.readouterr().out
    for name in ("SMPL_NEUTRAL.pth", "SMPL_NEUTRAL.json"):
        shutil.copy(packs / name, home / ".romp")
    capsys.readouterr()
    assert run(["verify-assets", "--packs=~/.romp", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ok"] is True


def test_verify_assets_says_yes_and_draws(packs: Path, home: Path, capsys: Output) -> None:
    assert run(["verify-assets", "--packs", str(packs), "--picture", "packs.png"]) == 0
    shown = capsys.readouterr().out
    assert "yes, all well" in shown
    assert shown.count("ok  (synthetic)") == 8
    assert (home / "packs.png").read_bytes()[:4] == b"\x89PNG"
    assert [file.name for file in home.iterdir()] == ["packs.png"]


def test_picture_that_cannot_be_written(packs: Path, home: Path, capsys: Output) -> None:
    (home / "one").mkdir()
    for name in ("SMPL_NEUTRAL.pth", "SMPL_NEUTRAL.json"):
        (home / "one" / name).symlink_to(packs / name)
    (home / "file").touch()
    assert run(["verify-assets", "--packs", "one", "--picture", "file/packs.png"]) == 3
    assert "give another --picture" in capsys.readouterr().err


def test_verify_assets_says_no(home: Path, capsys: Output) -> None:
    assert run(["verify-assets"]) == 3
    shown = capsys.readouterr().out
    assert "missing (needed for training)" in shown
    assert f"trace prepare-smpl --gender all --out {home}/.trace/packs" in shown
    assert not (home / ".trace").exists()
    assert run(["verify-assets", "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["ok"] is False
    assert run(["verify-assets", "--picture", "packs.gif"]) == 2
    assert ".gif is no kind of picture" in capsys.readouterr().err
    assert run(["verify-assets", "--picture", "packs.png"]) == 3
    assert "no pack to draw" in capsys.readouterr().err
    assert run(["verify-assets", "--source", "nowhere"]) == 3
    assert "cannot be opened" in capsys.readouterr().err


def test_verify_assets_knows_the_published_layout(home: Path, packs: Path, capsys: Output) -> None:
    folder = home / "project_data/trace_data/parameters"
    folder.mkdir(parents=True)
    (folder / "SMPL_NEUTRAL.pth").symlink_to(packs / "SMPL_NEUTRAL.pth")
    assert run(["verify-assets", "--layout", "trace-readme", "--packs", "project_data", "--json"]) == 3
    report = json.loads(capsys.readouterr().out)
    assert Path(report["packs"]).resolve() == folder
    missing = [file["name"] for file in report["files"] if not file["ok"]]
    assert missing == ["SMPLA_NEUTRAL.pth", "smil_packed_info.pth", "smpl_kid_template.npy", *GENDERS, "smil_web.pkl"]


def test_genders_are_offered_in_the_order_of_the_codes_in_shards() -> None:
    assert GENDERS == ("neutral", "female", "male") == assets.GENDERS
