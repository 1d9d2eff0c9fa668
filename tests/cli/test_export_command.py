"""`trace export` as it is typed."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from example_result import example_result
from turned_results import one_frame

from trace_cli.main import run
from trace_data.results.file import write_result
from trace_data.results.result import Result

Output = pytest.CaptureFixture[str]
example = cache(example_result)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder without packs, and another one to work in."""
    monkeypatch.setenv("TRACE_HOME", str(tmp_path / "home"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path


def put(folder: Path, result: Result | None = None) -> Path:
    file = folder / "zwei Wege ö.trace.npz"
    write_result(file, example() if result is None else result)
    return file


def changed(data: bytes, **arrays: npt.NDArray[Any]) -> bytes:
    """A result file with other arrays."""
    with np.load(io.BytesIO(data)) as file:
        content: dict[str, Any] = dict(file) | arrays
    made = io.BytesIO()
    np.savez(made, **content)
    return made.getvalue()


def files(capsys: Output) -> list[dict[str, str]]:
    found: list[dict[str, str]] = json.loads(capsys.readouterr().out)["files"]
    return found


def test_files_stand_beside_the_result_and_are_upright(home: Path, capsys: Output) -> None:
    assert run(["export", str(put(home)), "--to", "bvh,amass", "--to", "tum", "--json"]) == 0
    made = files(capsys)
    assert [file["format"] for file in made] == ["bvh"] * 3 + ["amass"] * 3 + ["tum"]
    assert all(Path(file["path"]).parent == home for file in made)
    with np.load(next(file["path"] for file in made if file["format"] == "amass")) as arrays:
        # the floor is at height 0, and the pelvis about as high as legs are
        assert 0.5 < np.median(arrays["trans"][:, 2]) < 1.5
    heights = [float(line.split()[1]) for line in Path(made[0]["path"]).read_text().splitlines()[-90:]]
    assert min(heights) > 40 and max(heights) < 150


def test_lines_for_people(home: Path, capsys: Output) -> None:
    assert run(["export", str(put(home)), "--to", "glb", "--body", "free", "--out", str(home / "out ä")]) == 0
    text = capsys.readouterr().out
    for words in ("zwei Wege ö.glb", "Y up", "true times", "Blender: set 30 fps", "licence:", "CC0"):
        assert words in text


def test_people_and_times_are_chosen(home: Path, capsys: Output) -> None:
    command = ["export", str(put(home)), "--to", "csv", "--person", "Größe 1", "--start", "1", "--end", "2", "--json"]
    assert run(command) == 0
    rows = Path(files(capsys)[0]["path"]).read_text().splitlines()[1:]
    assert rows and all(1 <= float(row.split(",")[0]) <= 2 and row.split(",")[2] == "2" for row in rows)


def test_smoothing_can_be_turned_off(home: Path, capsys: Output) -> None:
    result, noise = example(), np.random.default_rng(0).normal(0, 0.02, (*example().pose.shape[:2], 3))
    noise[:, 0] = 0  # the root has to agree with the camera
    noisy = replace(result, pose=result.pose + noise.astype(np.float32))
    file = put(home, noisy)
    jitter = {}
    for mode in ("off", "causal", "offline"):
        assert run(["export", str(file), "--to", "amass", "--smooth", mode, "--out", str(home / mode), "--json"]) == 0
        with np.load(files(capsys)[0]["path"]) as arrays:
            jitter[mode] = np.abs(np.diff(arrays["poses"][:, 3:66], n=2, axis=0)).mean()
    assert jitter["off"] > 1.5 * max(jitter["causal"], jitter["offline"])


def test_a_rate_is_resampled_to(home: Path, capsys: Output) -> None:
    assert run(["export", str(put(home)), "--to", "bvh", "--fps", "60", "--person", "1", "--json"]) == 0
    assert "60 fps" in files(capsys)[0]["facts"]


def test_checks_say_what_was_not_checked(home: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trace_data.export.check.has_gltf_validator", lambda: False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    file = put(home, one_frame(example()))
    assert run(["export", str(file), "--to", "bvh,tum", "--check"]) == 0
    text = capsys.readouterr().out
    assert "not checked by bvhio" in text and "pip install bvhio" in text


@pytest.mark.parametrize(
    ("damage", "word"),
    [
        (lambda data: data[: len(data) // 2], "cut short"),
        (lambda data: b"", "no result"),
        (lambda data: changed(data, version=np.array(99)), "version 99"),
        (lambda data: changed(data, score=np.full_like(example().score, np.nan)), "score"),
    ],
    ids=["cut short", "empty", "of a newer version", "with NaN"],
)
def test_a_file_that_is_no_result(damage: object, word: str, home: Path, capsys: Output) -> None:
    file = put(home)
    assert callable(damage)
    file.write_bytes(damage(file.read_bytes()))
    assert run(["export", str(file), "--to", "bvh"]) == 3
    text = capsys.readouterr().err
    assert "zwei Wege" in text and word in text
    assert [path.name for path in home.glob("*.bvh")] == []


@pytest.mark.parametrize(
    ("options", "code", "word"),
    [
        (["--to", "bhv"], 2, "'bvh'"),
        (["--to", "glb"], 3, "--body free"),
        (["--to", "bvh", "--person", "9"], 2, "9"),
        (["--to", "bvh", "--start", "99"], 2, "--start"),
        (["--to", "bvh", "--up", "x"], 2, "--up"),
        ([], 2, "--to"),
        (["--to", "romp", "--body", "free"], 2, "body model"),
    ],
)
def test_wrong_wishes_are_named_and_write_nothing(
    options: list[str], code: int, word: str, home: Path, capsys: Output
) -> None:
    out = home / "out"
    assert run(["export", str(put(home)), *options, "--out", str(out)]) == code
    assert word in capsys.readouterr().err
    assert not out.exists() or list(out.iterdir()) == []


def test_there_is_no_such_result(home: Path, capsys: Output) -> None:
    assert run(["export", str(home / "nothing.trace.npz"), "--to", "bvh"]) == 3
    assert "nothing.trace.npz" in capsys.readouterr().err
