"""Files that Python 2.7 with numpy 1.16, scipy 1.2 and chumpy 0.70 wrote (tools/python2_pickles.py), read without them.

`pytest -m nightly tests/data/unpickle/test_python2.py` converts whole models.
TRACE_PYTHON2='env PYTHONPATH=old python2.7' names an interpreter with those three, without which only the largest file
is converted.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import python2_text
from repository import ROOT

from trace_data.errors import AssetError
from trace_data.unpickle.reader import load_npz, load_pickle, to_array

FOLDER = ROOT / "tests/files/python2"
FILES = sorted(FOLDER.glob("*.pkl"))


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    return load_npz(FOLDER / "arrays.npz")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_array_comes_back_to_the_last_bit(path: Path, arrays: dict[str, np.ndarray]) -> None:
    found = load_pickle(path)
    for key, written in arrays.items():
        restored = to_array(found[key], name=key, shape=written.shape, dtype=written.dtype)
        assert restored.tobytes() == written.tobytes(), key


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_what_stands_beside_the_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    found = load_pickle(path)
    assert (found["bs_style"], found["bs_type"]) == ("lbs", "lrotmin")
    assert found["pose_training_info"]["subjects"] == ["mäx", "moritz"]
    assert (found["pose_training_info"]["scans"], found["pose_training_info"]["weight"]) == (7, 0.1)
    assert found["kintree_table"].dtype == np.uint32
    if path.stem.startswith("plain"):
        assert np.allclose(to_array(found["J"], name="J"), arrays["J_regressor"] @ arrays["v_template"], atol=1e-12)
    else:
        with pytest.raises(AssetError, match=r"J is an unevaluated chumpy expression \(chumpy\.ch"):
            to_array(found["J"], name="J")


def test_all_protocols_of_python2_are_there() -> None:
    assert [path.stem for path in FILES] == [f"{name}-{n}" for name in ("nested", "plain") for n in range(3)]
    assert [path.read_bytes()[:2] == b"\x80\x02" for path in FILES] == [False, False, True] * 2


MEASURED = """
import re, sys, time
from trace_cli.main import run
code = run(sys.argv[1:])
# not ru_maxrss: that one counts what the parent held when it forked
peak = re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]
print(code, int(peak) * 1024, time.process_time())
"""


def prepare(source: Path, side: Path, out: Path) -> tuple[int, float]:
    """Run `trace prepare-smpl` in a process of its own: its peak memory in bytes and its CPU time in seconds."""
    options = ["--gender", "male", "--source", str(source), "--source", str(side), "--out", str(out)]
    command = [sys.executable, "-c", MEASURED, "prepare-smpl", *options]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    code, peak, seconds = done.stdout.splitlines()[-1].split()
    assert code == "0"
    return int(peak), float(seconds)


@pytest.mark.nightly
@pytest.mark.skipif("TRACE_PYTHON2" not in os.environ, reason="TRACE_PYTHON2 names no interpreter")
def test_whole_models_from_python2_their_zip_and_renamed_copies_give_the_same_packs(
    male: dict[str, Any], packs: Path, body_models: Path, tmp_path: Path
) -> None:
    np.savez(tmp_path / "arrays.npz", **male)
    script = ROOT / "tools/python2_pickles.py"
    python2 = shlex.split(os.environ["TRACE_PYTHON2"])
    subprocess.run([*python2, str(script), str(tmp_path / "arrays.npz"), str(tmp_path), "0", "1", "2"], check=True)
    archive = tmp_path / "SMPL_python_v.1.1.0.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        file.write(tmp_path / "plain-0.pkl", "SMPL_python_v.1.1.0/smpl/models/basicModel_m_lbs_10_207_0_v1.1.0.pkl")
    for source in [*sorted(tmp_path.glob("*-?.pkl")), archive]:
        if source != archive:
            source = Path(shutil.move(source, tmp_path / "SMPL_MALE.pkl"))
        prepare(source, body_models / "smpl_model_data", tmp_path / "packs")
        for name in ("SMPL_MALE.pth", "SMPLA_MALE.pth"):
            assert (tmp_path / "packs" / name).read_bytes() == (packs / name).read_bytes(), source


@pytest.mark.nightly
def test_a_file_of_the_official_size_in_protocol_0_needs_little(
    male: dict[str, Any], body_models: Path, tmp_path: Path
) -> None:
    # random numbers, because the escapes of random bytes are as long as those of a real model; of a micrometre, since
    # noise of metres would tear the mesh, which is refused
    shapes = np.random.default_rng(0).normal(size=(6890, 3, 300), scale=1e-6)
    shapes[..., : male["shapedirs"].shape[-1]] += male["shapedirs"]
    parts = {key: python2_text.array(male[key]) for key in ("v_template", "posedirs", "weights")}
    parts |= {key: python2_text.array(male[key].astype(np.uint32)) for key in ("kintree_table", "f")}
    parts |= {"shapedirs": python2_text.chumpy(shapes), "J_regressor": python2_text.sparse(male["J_regressor"])}
    path = tmp_path / "basicmodel_m_lbs_10_207_0_v1.1.0.pkl"
    path.write_bytes(python2_text.dictionary(parts) + b".")
    assert path.stat().st_size > 247e6
    peak, seconds = prepare(path, body_models / "smpl_model_data", tmp_path / "packs")
    assert peak < 1.5e9
    assert seconds < 30
