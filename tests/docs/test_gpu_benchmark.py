"""`benchmarks/gpu.py` runs on a CPU, so that it works when a GPU is at hand."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
NEED_CUDA = {"waits", "nvjpeg"}


def run(out: Path, *words: str) -> dict[str, Any]:
    """The JSON that it writes."""
    command = [sys.executable, "gpu.py", "--device", "cpu", "--tiny", "--out", str(out), *words]
    done = subprocess.run(command, cwd=BENCHMARKS, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(out.with_suffix(".json").read_text())
    return found


@pytest.mark.slow
def test_every_section_runs_or_says_why_not(tmp_path: Path) -> None:
    found = run(tmp_path / "gpu")
    assert found["files"]["ok"], found["files"]
    failed = {name: section["reason"] for name, section in found["sections"].items() if not section["ok"]}
    assert failed.keys() == NEED_CUDA and all("needs CUDA" in reason for reason in failed.values()), failed
    rows = {f"{name}: {row['what']}": row for name, one in found["sections"].items() for row in one.get("rows", ())}
    assert rows["agreement: loss in fp32"]["value"] == 0
    assert all(row["value"] > 0 for name, row in rows.items() if "agreement" not in name)
    table = (tmp_path / "gpu.md").read_text()
    assert all(f"| {name} |" in table for name in found["sections"])
    assert table.count("\n|") == 2 + len(rows) + len(NEED_CUDA)


def test_what_does_not_fit_the_budget_is_not_begun(tmp_path: Path) -> None:
    found = run(tmp_path / "gpu", "--budget", "0", "--only", "ceilings", "copies")
    assert "longer than 0 s" in found["files"]["reason"]
    assert {section["reason"] for section in found["sections"].values()} == {"no time was left"}
