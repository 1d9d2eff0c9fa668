"""docs/export.md names every format, and its Python example runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from example_result import example_result
from repository import ROOT

from trace_cli.main import run
from trace_data.export.formats import FORMATS
from trace_data.results.file import write_result

PAGE = (ROOT / "docs/export.md").read_text(encoding="utf-8")


def test_every_format_is_on_the_page_and_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["export", "--help"]) == 0
    text = capsys.readouterr().out
    for name in FORMATS:
        assert re.search(rf"--to ([a-z,]+,)?{name}\b|`--to {name}`", PAGE), name
        assert re.search(rf"\b{name}\b", text), name


def test_the_python_example_runs(packs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    write_result(tmp_path / "walk.trace.npz", example_result(frames=10))
    (tmp_path / "packs").symlink_to(packs)
    monkeypatch.chdir(tmp_path)
    exec(compile(example, "docs/export.md", "exec"), {})  # noqa: S102
    assert (tmp_path / "walk.glb").read_bytes()[:4] == b"glTF"
