"""The page on stored flow says what the program does: its table is the layout's, and its example runs."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import added_flow
import numpy as np
import pytest
from repository import ROOT

from trace_data.schema.clip import ClipRef
from trace_data.shards.flow import layout
from trace_data.shards.flow.reader import FlowReader
from trace_data.shards.reader import ShardReader

PAGE = (ROOT / "docs" / "stored-flow.md").read_text(encoding="utf-8")


def test_the_table_is_that_of_the_layout() -> None:
    found = dict(re.findall(r"^\| `(\w+/\w+)` \| ([^|]+) \|", PAGE, flags=re.MULTILINE))
    assert found == {
        layout.FLOW_BYTES: "uint8 (total)",
        layout.FLOW_OFFSET: "int64 (K, F + 1)",
        layout.FLOW_SIZE: "int32 (F, 2)",
        layout.FLOW_STRIDE: "int32 (K)",
        layout.FLOW_CHECKSUM: "uint32 (K, F)",
    }
    assert f"`{layout.FLOW_INDEX_FILE}`" in PAGE and f"`NAME{layout.SUFFIX}`" in PAGE


def test_the_example_reads_what_the_reader_reads(shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(shutil.copytree(shards, tmp_path / "shards"))
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 500, (added_flow.GRID[1], added_flow.GRID[0], 2)).astype(np.float32)
    noise[0, :2] = [[2000, 2000], [-2000, -2000]]  # differences that wrap around
    added_flow.write(folder, of=lambda *given: noise)
    monkeypatch.chdir(tmp_path)
    code = re.search(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    assert code is not None and "trace_" not in code[1]
    exec(compile(code[1], "docs/stored-flow.md", "exec"), {})  # noqa: S102
    expected = FlowReader(ShardReader(folder)).pairs(ClipRef(sequence=0, start=0, stride=1, length=2))[1]
    assert np.allclose(np.load("flow.npy"), expected, atol=1e-3)
