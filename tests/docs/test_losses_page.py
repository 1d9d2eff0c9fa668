"""The page of losses: every term with its weight."""

from __future__ import annotations

import re

import pytest
from repository import ROOT

from trace_train.config import LossConfig
from trace_train.losses.table import LOSSES

PAGE = ROOT / "docs" / "losses.md"


def rows_of(title: str) -> list[list[str]]:
    """Cells of the rows of the first table below a heading."""
    section = PAGE.read_text().split(f"\n## {title}\n")[1].split("\n## ")[0]
    lines = [line for line in section.split("\n") if line.startswith("| ")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip("|"))] for line in lines[1:]]


def test_every_term_stands_there_with_its_weight() -> None:
    rows = rows_of("The terms")
    defaults = LossConfig().model_dump()
    assert {row[0].strip("`") for row in rows} == set(defaults) == set(LOSSES) and len(rows) == len(defaults)
    for row in rows:
        numbers = [float(number) for number in row[5].split("/")]
        weight = numbers[0] / numbers[1] if len(numbers) == 2 else numbers[0]
        assert weight == pytest.approx(defaults[row[0].strip("`")]), row[0]
        assert len(row) == 7 and all(row), row[0]


def test_the_files_that_the_page_names_exist() -> None:
    for name in re.findall(r"`((?:losses|targets)/[\w.]+)`", PAGE.read_text()):
        assert (ROOT / "trace_train" / name).is_file(), name
