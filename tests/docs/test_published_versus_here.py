"""The page of differences treats every defect of the published training that the reference lists."""

from __future__ import annotations

import re

from repository import ROOT

PAGE = ROOT / "docs" / "published-versus-here.md"
REFERENCE = ROOT / "docs" / "reference" / "training.md"


def rows_of(text: str, title: str) -> list[list[str]]:
    """Cells of the rows of the first table below a heading."""
    section = text.split(f"\n## {title}\n")[1].split("\n## ")[0]
    lines = [line for line in section.split("\n") if line.startswith("| ")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip("|"))] for line in lines[1:]]


def test_every_defect_of_the_reference_has_a_row_with_a_test() -> None:
    rows = rows_of(PAGE.read_text(), "Defects of the published training")
    known = rows_of(REFERENCE.read_text(), "Defects of the published training")
    assert [row[0] for row in rows] == [row[0] for row in known] and len(rows) == 30
    for row in rows:
        assert len(row) == 4 and all(row), row[0]
        assert re.search(r"`test_\w+\.py::test_\w+`", row[3]), row[0]
