"""The page of losses: every term with its weight, every defect with tests that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from repository import ROOT, find_test

from trace_train.config import LossConfig
from trace_train.losses.table import LOSSES

PAGE = ROOT / "docs" / "losses.md"
DEFECTS = ["1", "2", "2b", *(str(number) for number in range(3, 30))]
"""Fact sheet training.md, section 5."""


def rows_of(title: str) -> list[list[str]]:
    """Cells of the rows of the first table below a heading."""
    section = PAGE.read_text().split(f"\n## {title}\n")[1].split("\n## ")[0]
    lines = [line for line in section.split("\n") if line.startswith("| ")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip("|"))] for line in lines[1:]]


def functions_in(file: Path) -> set[str]:
    """Names of the functions in a file."""
    return {node.name for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.FunctionDef)}


def test_every_term_stands_there_with_its_weight() -> None:
    rows = rows_of("The terms")
    defaults = LossConfig().model_dump()
    assert {row[0].strip("`") for row in rows} == set(defaults) == set(LOSSES) and len(rows) == len(defaults)
    for row in rows:
        numbers = [float(number) for number in row[5].split("/")]
        weight = numbers[0] / numbers[1] if len(numbers) == 2 else numbers[0]
        assert weight == pytest.approx(defaults[row[0].strip("`")]), row[0]
        assert len(row) == 7 and all(row), row[0]


def test_every_defect_of_the_sheet_has_a_row_with_a_test() -> None:
    rows = rows_of("Defects of the published training")
    assert [row[0] for row in rows] == DEFECTS
    for row in rows:
        assert re.search(r"`test_\w+\.py::test_\w+`", row[3]), row[0]


def test_what_the_page_names_exists() -> None:
    text = PAGE.read_text()
    for file, test in re.findall(r"`(test_\w+\.py)::(test_\w+)`", text):
        assert test in functions_in(find_test(file)), f"{file}::{test}"
    for name in re.findall(r"\]\(([\w.-]+\.md)\)", text):
        assert (PAGE.parent / name).is_file(), name
    for name in re.findall(r"`((?:losses|targets)/[\w.]+)`", text):
        assert (ROOT / "trace_train" / name).is_file(), name
