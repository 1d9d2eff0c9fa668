"""The page on the shard format says what the program does: its table is the layout's, and its example runs."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import tiny_3dpw
from repository import ROOT

from trace_data.builder.build import build_shards
from trace_data.shards import layout
from trace_data.shards.levels import Storage

PAGE = (ROOT / "docs" / "shard-format.md").read_text(encoding="utf-8")
WORDS = {"|u1": "uint8", "<i4": "int32", "<i8": "int64", "<f4": "float32", "<f8": "float64"}


def test_the_table_is_that_of_the_layout() -> None:
    expected = {
        layout.FRAME_BYTES: "uint8 (total)",
        layout.FRAME_OFFSET: "int64 (L, F + 1)",
        layout.FRAME_SIZE: "int32 (L, F, 2)",
        layout.PEOPLE_OFFSET: "int64 (F + 1)",
        layout.SEQUENCE_OFFSET: "int64 (S + 1)",
        layout.SEQUENCE_NAME: "bytes (S)",
        layout.IMAGE_CHECKSUM: "uint32 (L, F)",
        layout.ANNOTATION_CHECKSUM: "uint32 (F)",
    }
    for rows, columns in (
        ("F", layout.FRAME_COLUMNS),
        ("N", layout.PEOPLE_COLUMNS),
        ("S", layout.SEQUENCE_COLUMNS),
    ):
        for name, column in columns.items():
            expected[name] = f"{WORDS[column.dtype]} ({', '.join([rows, *map(str, column.shape)])})"
    found = {
        name: kind
        for names, kind in re.findall(r"^\| (`[^|]+) \| ([^|]+) \|", PAGE, flags=re.MULTILINE)
        for name in re.findall(r"`([^`]+)`", names)
    }
    assert found == expected
    assert f"format version {layout.FORMAT_VERSION}" in PAGE and f"`{layout.FORMAT}`" in PAGE


def test_the_example_runs_without_this_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "datasets"
    tiny_3dpw.write(root, {"train": 1, "val": 1, "test": 1}, frames=6)
    build_shards(["3dpw"], root, tmp_path / "shards", storage=Storage(heights=(32,), raised=False))
    monkeypatch.chdir(tmp_path)
    code = re.search(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    assert code is not None and "trace_" not in code[1]
    exec(compile(code[1], "docs/shard-format.md", "exec"), {})  # noqa: S102
    picture = cv2.imread("clip.png")
    assert picture is not None and picture.shape == (32, 6 * 48, 3)
    assert np.all(picture == (0, 255, 0), axis=-1).any(), "joints are drawn"
