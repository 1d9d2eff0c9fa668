"""The examples of docs/python.md run, in order."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import pytest
from repository import ROOT
from spotted import open_spotter
from spotter import frames

PAGE = (ROOT / "docs" / "python.md").read_text()
EXAMPLES = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def test_all_examples_run(
    packs: Path, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    open_spotter(monkeypatch)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "packs").symlink_to(packs)
    (tmp_path / "shards").symlink_to(shards)
    lossless = cv2.VideoWriter("street.avi", cv2.VideoWriter.fourcc(*"FFV1"), 30.0, (96, 72))
    for picture in frames(12):
        lossless.write(picture[..., ::-1])
    lossless.release()
    (tmp_path / "street.avi").rename("street.mp4")
    for number, example in enumerate(EXAMPLES):
        exec(compile(example, f"docs/python.md, example {number + 1}", "exec"), {})  # noqa: S102  our own page
        assert number in (1,) or capsys.readouterr().out.strip(), f"example {number + 1} says nothing"
    assert (tmp_path / "street.trace.npz").is_file()
