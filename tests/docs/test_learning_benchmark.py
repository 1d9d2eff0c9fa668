"""`benchmarks/learning.py` trains, scores and tabulates, so that a study can be left alone for hours."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from repository import ROOT

SCRIPT = ROOT / "benchmarks" / "learning.py"


@pytest.mark.slow
def test_variants_are_trained_scored_and_put_side_by_side(shards: Path, packs: Path, tmp_path: Path) -> None:
    def run(*words: str) -> str:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [sys.executable, str(SCRIPT), *words], env=environment, cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout

    data = ["--shards", str(shards), "--packs", str(packs)]
    run("train", *data, "--out", "study", "--steps", "2", "--variant", "preset")
    assert run("train", *data, "--out", "study", "--steps", "2", "--variant", "preset") == ""  # done before
    run("train", *data, "--out", "study", "--steps", "1", "--variant", "no feet", "--start", "study/preset")
    rows = run("table", "--out", "study").splitlines()
    assert [row.split(" | ")[0] for row in rows[2:4]] == ["| preset debug", "| without the terms of feet"]
    assert {row.count("|") for row in rows} == {rows[0].count("|")}
    assert run("curve", "study/no-feet").startswith("| step | frames seen |")
    parts = run("parts", "study/preset", "--one-in", "2").splitlines()
    assert parts[0].startswith("|  | MPJPE, mm |") and [row.count("|") for row in parts[2:]] == 5 * [7]
