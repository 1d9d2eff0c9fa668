"""The pages go with the program: into wheels and source distributions, and every message names one that exists."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from repository import ROOT

from trace_cli.main import run

PAGES = {file.relative_to(ROOT / "docs").as_posix() for file in (ROOT / "docs").rglob("*.md")}
CODE = [file for top in ("cli", "trace_data", "trace_train") for file in (ROOT / top).rglob("*.py")]
BUILD = "import sys; from setuptools import build_meta as b; out = sys.argv[1]; b.build_wheel(out); b.build_sdist(out)"
"""The backend changes `sys.argv` itself."""


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a wheel and a source distribution of this tree."""
    pytest.importorskip("setuptools", minversion="77", reason="builds a wheel without a network")
    tree, made = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("made")
    for name in ("cli", "trace_data", "trace_train", "docs", "tools", "benchmarks"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ROOT.iterdir():
        if file.is_file():
            shutil.copy(file, tree)
    (tree / "tests").mkdir()
    (tree / "tests" / "test_one.py").touch()
    done = subprocess.run(
        [sys.executable, "-c", BUILD, str(made)], cwd=tree, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return made


def test_a_wheel_has_the_pages_and_shows_them(distributions: Path, tmp_path: Path) -> None:
    [wheel] = distributions.glob("*.whl")
    with zipfile.ZipFile(wheel) as content:
        names = content.namelist()
        assert {n.removeprefix("trace_cli/pages/") for n in names if n.startswith("trace_cli/pages/")} == PAGES
        [script] = [content.read(name).decode() for name in names if name.endswith("entry_points.txt")]
        content.extractall(tmp_path)
    assert "trace = trace_cli.__main__:main" in script
    command = [sys.executable, "-m", "trace_cli", "docs", "training", "--json"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    shown = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    found = json.loads(shown.stdout)
    assert found["file"] == str(tmp_path / "trace_cli" / "pages" / "training.md")
    assert found["text"] == (ROOT / "docs" / "training.md").read_text(encoding="utf-8")


def test_a_source_distribution_has_pages_pictures_and_tests(distributions: Path) -> None:
    [archive] = distributions.glob("*.tar.gz")
    with tarfile.open(archive) as content:
        names = {name.partition("/")[2] for name in content.getnames()}
    assert {f"docs/{page}" for page in PAGES} <= names
    assert {
        "docs/bodies-of-the-demo-network.jpg",
        "tests/test_one.py",
        "Makefile",
        "constraints.txt",
        "CHANGELOG.md",
    } <= names


def test_docs_lists_shows_and_knows_near_names(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["docs", "--json"]) == 0
    assert {f"{name}.md" for name in json.loads(capsys.readouterr().out)["pages"]} == PAGES
    assert run(["docs", "docs/datasets/3dpw.md"]) == 0
    assert capsys.readouterr().out.rstrip() == (ROOT / "docs/datasets/3dpw.md").read_text(encoding="utf-8").rstrip()
    assert run(["docs", "trainin"]) == 2
    assert "'training'" in capsys.readouterr().err


def test_messages_name_pages_that_exist_and_packages_that_can_be_installed() -> None:
    named = {page for file in CODE for page in re.findall(r"trace docs (\w[\w/-]*)", file.read_text(encoding="utf-8"))}
    assert len(named) >= 5
    assert {f"{page}.md" for page in named} <= PAGES
    for file in [*CODE, *(ROOT / "docs").rglob("*.md"), ROOT / "README.md"]:
        assert "trace-5d[" not in file.read_text(encoding="utf-8"), f"{file}: trace-5d is on no package index"
