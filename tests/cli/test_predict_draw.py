"""`trace predict --draw`: a result is drawn after it was predicted, and predicted only once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from spotted import open_spotter, video_of

from trace_cli.main import run as command
from trace_data.frames.video_writer import choose_encoder
from trace_data.overlay.painter import ResultPainter
from trace_train.inference.video_prediction import VideoPrediction


def test_a_result_that_is_there_is_only_drawn(
    packs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TRACE_HOME", str(tmp_path / "home"))
    open_spotter(monkeypatch)
    suffix = choose_encoder().suffix
    words = ["predict", str(video_of(tmp_path / "walk", 10)), "--weights", str(tmp_path), "--packs", str(packs)]
    words += ["--out", str(tmp_path / "out"), "--frame-rate", "30", "--json"]
    assert command([*words, "--draw", "overlay,nothing"]) == 2
    assert not (tmp_path / "out").exists() and "nothing" in capsys.readouterr().out

    # stopped while it is drawn: the result stays, and nothing that looks like a video
    with monkeypatch.context() as stopping:
        stopping.setattr(ResultPainter, "draw", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        assert command([*words, "--draw", "ids"]) == 130
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["walk.trace.npz"]
    result = (tmp_path / "out" / "walk.trace.npz").read_bytes()

    monkeypatch.setattr(VideoPrediction, "write", lambda *_, **__: pytest.fail("predicted again"))
    capsys.readouterr()
    assert command([*words, "--draw", "overlay,bird"]) == 0
    (video,) = json.loads(capsys.readouterr().out)["videos"]
    assert Path(video) == tmp_path / "out" / f"walk.overlay{suffix}" and Path(video).stat().st_size > 1000

    assert command([*words, "--draw", "ids"]) == 3 and "already" in capsys.readouterr().out
    before = Path(video).read_bytes()
    assert command([*words, "--draw", "ids", "--force"]) == 0
    assert Path(video).read_bytes() != before
    assert (tmp_path / "out" / "walk.trace.npz").read_bytes() == result
