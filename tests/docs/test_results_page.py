"""The page on results says what the program does: its table is the format's, and its example runs."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from example_result import example_result
from repository import ROOT

from trace_data.results.check import LAYOUTS
from trace_data.results.file import write_result

PAGE = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
WORDS = {"<U": "text", "|b1": "bool"}


def test_the_table_is_that_of_the_format() -> None:
    expected = {}
    for name, layout in LAYOUTS.items():
        word = WORDS.get(layout.dtype) or np.dtype(layout.dtype).name
        sizes = ", ".join("1 or T" if size == "K" else str(size) for size in layout.shape)
        expected[name] = f"{word} ({sizes})"
    found = dict(re.findall(r"^\| `(\w+)` \| ([^|]+\)) \|", PAGE, flags=re.MULTILINE))
    assert found == expected and list(found) == list(expected)


def test_the_example_runs_without_this_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    result = example_result()
    write_result(tmp_path / "clip.trace.npz", result)
    monkeypatch.chdir(tmp_path)
    code = re.search(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    assert code is not None and "trace_" not in code[1]
    exec(compile(code[1], "docs/results.md", "exec"), {})  # noqa: S102
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["person 1", "person 2", "person 3"]
    assert lines[0].startswith("person 1: 0.40 to 3.37 s, ")
