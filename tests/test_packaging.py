"""pyproject names every package folder, so that nothing is missing from the wheel."""

from __future__ import annotations

import re
import sys
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_the_package_list_equals_the_folders() -> None:
    folders = {
        ".".join(file.parent.relative_to(ROOT).parts) for top in ("trace_data", "trace_train") for file in
        (ROOT / top).rglob("__init__.py")
    }  # fmt: skip
    inside = {page.parent.relative_to(ROOT / "docs").parts for page in (ROOT / "docs").rglob("*.md")}
    pages = {".".join(["trace_cli.pages", *parts]) for parts in inside}
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == folders | {"trace_cli"} | pages


def test_every_folder_with_code_is_a_package() -> None:
    for top in ("cli", "trace_data", "trace_train"):
        for file in (ROOT / top).rglob("*.py"):
            assert (file.parent / "__init__.py").exists(), file.parent


def test_data_files_are_shipped() -> None:
    shipped = PROJECT["tool"]["setuptools"]["package-data"]
    for top, name in (("cli", "trace_cli"), ("trace_data", "trace_data"), ("trace_train", "trace_train")):
        assert (ROOT / top / "py.typed").is_file(), f"{name} does not tell type checkers that it is annotated"
        for file in (ROOT / top).rglob("*"):
            if file.is_file() and file.suffix not in (".py", ".pyc"):
                package = ".".join([name, *file.parent.relative_to(ROOT / top).parts])
                assert any(file.match(pattern) for pattern in shipped.get(package, [])), file
    for license_file in PROJECT["project"]["license-files"]:
        assert (ROOT / license_file).is_file(), license_file


def test_constraints_pin_every_direct_dependency() -> None:
    pinned = {
        line.split("==")[0].lower() for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line
    }
    extras = PROJECT["project"]["optional-dependencies"]
    for requirement in [*PROJECT["project"]["dependencies"], *(line for lines in extras.values() for line in lines)]:
        name = re.split(r"[;>\[]", requirement)[0].strip().lower()
        assert name in pinned | {"tomli"}, f"{name} has no line in constraints.txt"


def test_the_citation_names_this_version() -> None:
    assert f"\nversion: {PROJECT['project']['version']}\n" in (ROOT / "CITATION.cff").read_text()
