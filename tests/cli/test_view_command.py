"""`trace view` as it is typed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from example_result import example_result
from page_numbers import PageNumbers
from shard_server import ShardServer

from trace_cli.main import run
from trace_data.frames.footage import open_footage
from trace_data.results.file import write_result

Output = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder without packs, and another one to work in."""
    monkeypatch.setenv("TRACE_HOME", str(tmp_path / "home"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path


def put(folder: Path) -> Path:
    file = folder / "zwei Wege ö.trace.npz"
    write_result(file, example_result(frames=30))
    return file


def video(file: Path, frames: int = 30) -> Path:
    writer = cv2.VideoWriter(str(file), cv2.VideoWriter_fourcc(*"mp4v"), 30, (64, 36))
    for number in range(frames):
        writer.write(np.full((36, 64, 3), 8 * number, np.uint8))
    writer.release()
    return file


def shown(capsys: Output) -> dict[str, str]:
    page: dict[str, str] = json.loads(capsys.readouterr().out)
    return page


def test_page_stands_beside_the_result(home: Path, capsys: Output) -> None:
    assert run(["view", str(put(home)), "--body", "free", "--json"]) == 0
    said = shown(capsys)
    page = home / "zwei Wege ö.html"
    assert Path(said["page"]) == page and "CC0" in said["licence"]
    assert (
        'href="../zwei%20Wege' not in page.read_text() and 'href="zwei%20Wege%20%C3%B6.trace.npz"' in page.read_text()
    )
    assert "was not found" in said["notes"][0] and 'id="video"' not in page.read_text().split("<script")[0]


def test_a_video_that_browsers_refuse_becomes_pictures(home: Path, capsys: Output) -> None:
    result = put(home)
    video(home / "zwei Wege.mp4")
    assert run(["view", str(result), "--json"]) == 0
    said = shown(capsys)
    assert "browsers do not play" in said["picture"]
    assert PageNumbers(Path(said["page"]).read_text()).scene["stills"] == [*range(30)]


def test_a_video_is_found_where_it_was_predicted_from(home: Path, capsys: Output) -> None:
    films = home / "films"
    films.mkdir()
    mark = open_footage([video(films / "zwei Wege.mp4")]).fingerprint()
    result = example_result(frames=30)
    for folder, fingerprint, found in ((str(films), mark, True), ("films", mark, False), (str(films), "other", False)):
        named = {**result.about["video"], "folder": folder, "fingerprint": fingerprint}
        write_result(home / "a.trace.npz", replace(result, about={**result.about, "video": named}))
        assert run(["view", str(home / "a.trace.npz"), "--json"]) == 0
        picture = shown(capsys)["picture"]
        assert "browsers do not play" in picture if found else picture == "none"


def test_a_video_is_named_or_embedded(home: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trace_data.view.view.is_played", lambda file: True)
    result, film = put(home), video(home / "zwei Wege.mp4")
    (home / "pages").mkdir()
    assert run(["view", str(result), "--page", str(home / "pages" / "a.html")]) == 0
    assert 'src="../zwei%20Wege.mp4"' in (home / "pages" / "a.html").read_text()
    assert run(["view", str(result), "--page", "b.html", "--embed-video", "--video", str(film)]) == 0
    assert 'src="data:video/mp4;base64,' in Path("b.html").read_text()
    assert "skeletons" in capsys.readouterr().out


def test_people_and_times_are_chosen(home: Path, capsys: Output) -> None:
    chosen = ["--person", "Größe 1", "--start", "0.5", "--end", "0.8", "--smooth", "off"]
    assert run(["view", str(put(home)), *chosen, "--json"]) == 0
    page = PageNumbers(Path(shown(capsys)["page"]).read_text())
    assert [person["label"] for person in page.scene["people"]] == ["Größe 1"]
    assert page.array(page.scene["time"])[0] >= 0.5 and page.array(page.scene["time"])[-1] <= 0.8


def test_a_piece_shows_its_own_pictures_and_no_others(home: Path, capsys: Output) -> None:
    film = video(home / "zwei Wege.mp4")
    assert run(["view", str(put(home)), "--video", str(film), "--start", "0.5", "--end", "0.8", "--json"]) == 0
    page = PageNumbers(Path(shown(capsys)["page"]).read_text())
    numbers = np.round((page.array(page.scene["time"]) - 0.4) * 30).astype(int)  # the result begins at 0.4 s
    pictures = page.pictures()
    assert len(pictures) == len(numbers) == 10
    brightness = [float(np.mean(pictures[at])) for at in page.scene["stills"]]
    np.testing.assert_allclose(brightness, 8 * numbers, atol=3)


def test_a_result_behind_a_url_is_copied_and_shown(home: Path, capsys: Output) -> None:
    pytest.importorskip("aiohttp", reason="fsspec speaks HTTP through aiohttp")
    (home / "web").mkdir()
    result = put(home / "web")
    (home / "web" / "other.npz").write_bytes(b"no result")
    with ShardServer(home / "web") as server:
        write_result(home / "web" / "walk.trace.npz", example_result(frames=3))
        assert run(["view", f"{server.url}/walk.trace.npz", "--json"]) == 0
        assert Path(shown(capsys)["page"]) == home / "work" / "walk.html"
        assert Path("walk.trace.npz").read_bytes() == (home / "web" / "walk.trace.npz").read_bytes()
        cases = {"walk.trace.npz": "here already", "gone.trace.npz": "not found", "other.npz": "no result"}
        for name, word in cases.items():
            assert run(["view", f"{server.url}/{name}"]) == 3
            assert word in capsys.readouterr().err
        assert run(["view", f"{server.url}/"]) == 2
    assert result.exists() and {file.name for file in Path.cwd().iterdir()} == {"walk.html", "walk.trace.npz"}


def test_what_is_wrong_is_told(home: Path, capsys: Output) -> None:
    result = put(home)
    assert run(["view", str(result), "--page", "page.txt"]) == 2
    assert "--page" in capsys.readouterr().err
    assert run(["view", str(result), "--video", str(home / "missing.mp4")]) == 3
    assert "missing.mp4" in capsys.readouterr().err
    assert run(["view", str(home / "nothing.trace.npz")]) == 3
    assert "nothing.trace.npz" in capsys.readouterr().err
    assert run(["view", str(home)]) == 3
    assert run(["view", str(result), "--sequence", "walk"]) == 2
    assert not list(home.glob("**/*.html"))


@pytest.mark.parametrize(
    "words",
    [
        ["--body", "free"], ["--person", "1"], ["--start", "1"], ["--end", "2"], ["--level", "none"],
        ["--ground", "none"], ["--smooth", "off"], ["--video", "a.mp4"], ["--embed-video"], ["--embed-frames"],
    ],
)  # fmt: skip
def test_what_says_nothing_of_annotations_is_refused(words: list[str], shards: Path, capsys: Output) -> None:
    assert run(["view", str(shards), "--sequence", "stand_0001", *words]) == 2
    assert f"{words[0]} has no effect" in capsys.readouterr().err and not list(Path.cwd().iterdir())


def test_options_of_the_page_and_of_the_server_exclude_each_other(home: Path, capsys: Output) -> None:
    result = str(put(home))
    for words in (
        ["--port", "9000"],
        ["--live", "--page", "a.html"],
        ["--live", "--embed-video"],
        ["--live", "--open"],
    ):
        assert run(["view", result, *words]) == 2
        assert "has no effect" in capsys.readouterr().err
    assert not list(home.glob("**/*.html"))


def test_a_sequence_of_shards(home: Path, shards: Path, packs: Path, capsys: Output) -> None:
    name = json.loads((shards / "index.json").read_text())["sequences"][0]["name"]
    assert run(["view", str(shards), "--sequence", name, "--packs", str(packs), "--json"]) == 0
    said = shown(capsys)
    assert Path(said["page"]).name == f"3dpw-train-{name}.html" and "body model" in said["licence"]
    assert Path(said["page"]).is_file()
