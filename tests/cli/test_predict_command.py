"""`trace predict` as it is typed: what it says, what it writes, what it refuses."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from spotted import folder_of, open_spotter, video_of
from spotter import Spotter, frames

from trace_cli.main import run
from trace_data.results.file import read_result
from trace_train.inference.video_prediction import VideoPrediction

Output = pytest.CaptureFixture[str]


@pytest.fixture
def command(packs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The beginning of every command line."""
    monkeypatch.setenv("TRACE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    open_spotter(monkeypatch)
    return ["predict", "--weights", str(tmp_path), "--packs", str(packs), "--frame-rate", "30"]


def test_it_says_what_it_found_and_what_it_wrote(command: list[str], tmp_path: Path, capsys: Output) -> None:
    video_of(tmp_path / "Straße am Abend", 7, people=2)
    assert run([*command, "Straße am Abend", "--fov", "60", "--camera", "static"]) == 0
    said = capsys.readouterr()
    assert "96x72 px" in said.err and "30 frames/s" in said.err and "--fov 60" in said.err and "memory" in said.err
    assert said.out == "Straße am Abend.trace.npz  7 frames, 2 people, 14 rows, camera static\n"
    assert read_result(Path("Straße am Abend.trace.npz")).about["options"]["world"]["camera"] == "static"
    # again: nothing to do
    assert run([*command, "Straße am Abend", "--fov", "60", "--camera", "static"]) == 0
    again = capsys.readouterr()
    assert again.out == said.out and "--force" in again.err
    # another one of the same name is not replaced
    assert run([*command, "Straße am Abend", "--people", "1"]) == 3
    assert "--force" in capsys.readouterr().err
    assert run([*command, "Straße am Abend", "--people", "1", "--force", "--export", "mot,csv", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {file["format"] for file in found["files"]} == {"mot", "csv"}
    assert all(Path(file["path"]).is_file() for file in found["files"])
    (report,) = found["results"]
    assert (report["people"], report["rows"], report["frames"]) == (1, 7, 7)


def test_a_page_is_written_with_the_pictures_that_were_predicted(
    command: list[str], tmp_path: Path, capsys: Output
) -> None:
    some = sorted(str(file) for file in video_of(tmp_path / "walk", 4).iterdir())[1:]
    for words, out, pictures in ((["walk"], "whole", "4 small pictures"), (some, "some", "none")):
        assert run([*command, *words, "--out", out, "--view", "--json"]) == 0
        (page,) = json.loads(capsys.readouterr().out)["pages"]
        assert Path(page["page"]) == tmp_path / out / "walk.html" and Path(page["page"]).is_file()
        assert page["picture"].startswith(pictures)


def test_a_finished_result_is_exported_without_predicting_again(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    video_of(tmp_path / "walk", 6)
    assert run([*command, "walk"]) == 0
    monkeypatch.setattr(VideoPrediction, "write", lambda *_, **__: pytest.fail("predicted again"))
    assert run([*command, "walk", "--export", "csv"]) == 0
    assert run([*command, "walk", "--export", "csv"]) == 3
    assert "--force" in capsys.readouterr().err
    (file,) = tmp_path.glob("*.csv")
    file.write_text("old")
    assert run([*command, "walk", "--export", "csv", "--force"]) == 0 and file.read_text() != "old"


def test_several_videos_have_their_results_in_a_folder(command: list[str], tmp_path: Path, capsys: Output) -> None:
    for name, count in (("one", 4), ("two", 5)):
        video_of(tmp_path / name, count, people=count - 4)
    assert run([*command, "one", "two", "--out", "results"]) == 0
    said = capsys.readouterr().out
    assert sorted(file.name for file in Path("results").iterdir()) == ["one.trace.npz", "two.trace.npz"]
    assert "nobody was found" in said  # in a valid file
    assert len(read_result(Path("results/one.trace.npz")).row_frame) == 0
    assert run([*command, "one", "two", "--out", "both.trace.npz"]) == 2
    (tmp_path / "more").mkdir()
    video_of(tmp_path / "more" / "one", 2)
    assert run([*command, "one", "more/one", "--out", "results"]) == 2
    assert "name" in capsys.readouterr().err


def test_people_who_are_seen_too_rarely_are_told_from_low_scores(
    command: list[str], tmp_path: Path, capsys: Output
) -> None:
    folder_of(tmp_path / "walk", [*frames(2, people=0), *frames(2, people=1)])
    assert run([*command, "walk", "--set", "tracker.birth_seconds=9"]) == 0
    rare = capsys.readouterr().out
    assert run([*command, "walk", "--score", "1", "--force"]) == 0
    low = capsys.readouterr().out
    assert "often enough" in rare and "nobody was found" in low and "often enough" not in low


def test_a_lower_score_is_one_option(command: list[str], tmp_path: Path, capsys: Output) -> None:
    video_of(tmp_path / "walk", 3)
    assert run([*command, "walk", "--score", "0.05"]) == 0, "scores that continue a person are lower with it"
    assert run([*command, "walk", "--score", "0.05", "--keep-score", "0.1", "--force"]) == 2
    assert "keep_score 0.1 is above score 0.05" in capsys.readouterr().err


@pytest.mark.parametrize("part", ["backbone", "temp_smplpose_regressor"])
def test_a_network_that_predicts_nothing_finite_is_named(
    part: str, command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    def poisoned(network: Spotter, mode: bool = True) -> Spotter:
        with torch.no_grad():
            next(network.get_submodule(part).parameters())[0] = torch.nan
        return network

    monkeypatch.setattr(Spotter, "train", poisoned)
    video_of(tmp_path / "walk", 3)
    assert run([*command, "walk"]) == 3
    said = capsys.readouterr().err
    assert "not finite" in said and "precision=fp32" in said and not list(tmp_path.glob("*.trace.npz"))


def test_names_that_are_no_text_are_no_obstacle(command: list[str], tmp_path: Path, capsys: Output) -> None:
    name = os.fsdecode(b"caf\xe9 .mov")
    video_of(tmp_path / name, 2, people=1)
    assert run([*command, name, "--out", "with a blank"]) == 0
    (file,) = Path("with a blank").iterdir()
    assert "\\udce9" in read_result(file).about["video"]["name"] and len(capsys.readouterr().out.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "code", "word"),
    [
        (["missing.mp4"], 3, "missing.mp4"),
        (["empty.mp4"], 3, "empty"),
        (["walk", "--camera", "nowhere"], 2, "nowhere"),
        (["walk", "--camera", "wrong.tum"], 3, "wrong.tum"),
        (["walk", "--focal", "100", "--fov", "50"], 2, "--focal"),
        (["walk", "--people", "few"], 2, "people"),
        (["walk", "--set", "tracker.gat=1"], 2, "gate"),
        (["walk", "--export", "glbb"], 2, "glb"),
        (["walk", "--camera", "transforms.json"], 3, "5 cameras"),
        (["walk", "--start", "9"], 3, "--start"),
        (["walk", "--start", "2", "--end", "1"], 2, "--end"),
        (["walk", "--score", "30"], 2, "--score"),
        (["walk", "--out", "empty.mp4/results"], 3, "empty.mp4"),
        (["nothing"], 3, "empty"),
        (["walk", "--device", "cuda:77"], 2, "cuda:77"),
    ],
)
def test_bad_input_is_one_message_and_no_file(
    command: list[str], words: list[str], code: int, word: str, tmp_path: Path, capsys: Output
) -> None:
    video_of(tmp_path / "walk", 3)
    Path("empty.mp4").write_bytes(b"")
    Path("wrong.tum").write_text("0 1 2\n")
    cameras = [{"file_path": f"{number}.png", "transform_matrix": np.eye(4).tolist()} for number in range(5)]
    Path("transforms.json").write_text(json.dumps({"w": 96, "h": 72, "fl_x": 90, "frames": cameras}))
    Path("nothing").mkdir()
    assert run([*command, *words]) == code
    said = capsys.readouterr().err
    assert word in said and said.count("error:") == 1 and "Traceback" not in said
    assert "network" not in said or "9" in words  # refused before any work, unless frames have to be counted
    assert not [*tmp_path.glob("*.trace.npz*")]


def test_without_weights_it_says_where_to_get_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    monkeypatch.setenv("TRACE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    video_of(tmp_path / "walk", 1)
    assert run(["predict", "walk"]) == 2
    assert "trace train" in capsys.readouterr().err
    (tmp_path / "run").mkdir()
    assert run(["predict", "walk", "--weights", "run", "--packs", str(tmp_path)]) == 3
    assert "checkpoint" in capsys.readouterr().err
    Path("trace_head.pkl").write_bytes(b"released")
    for weights in ("trace_head.pkl", "gone"):
        assert run(["predict", "walk", "--weights", weights, "--packs", str(tmp_path)]) == 3
        said = capsys.readouterr().err
        assert weights in said and "import-weights" in said
