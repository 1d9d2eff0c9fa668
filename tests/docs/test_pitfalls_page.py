"""The page of pitfalls: every trap of docs/reference is on it, with a test that exists or a reason."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from repository import ROOT, find_test

PAGE = ROOT / "docs" / "datasets" / "pitfalls.md"
ROWS = {
    "Of the published training code": [str(number) for number in range(1, 29)],
    "Of the releases": [str(number) for number in range(1, 14)],
    "Of joint sets": [f"P{number}" for number in range(1, 10)],
}
"""Rows T, R and P of docs/reference/datasets.md#defects-of-the-published-training-code,
docs/reference/datasets.md#traps-of-the-releases and docs/reference/joints.md#traps-of-joint-sets."""


def test_every_row_has_a_test_that_exists_or_a_reason() -> None:
    sections = {part.split("\n")[0]: part for part in PAGE.read_text().split("\n## ")[1:]}
    for title, expected in ROWS.items():
        rows = [row.strip("|").split("|") for row in sections[title].split("\n") if re.match(r"\| P?\d", row)]
        assert [row[0].strip() for row in rows] == expected, title
        for row in rows:
            named = re.findall(r"`(test_\w+\.py)::(test_\w+)`", row[3])
            assert named or ("does not apply" in row[2] and row[3].strip() == "reason"), row
            for file, test in named:
                assert test in names_of(find_test(file)), f"{file}::{test}"


def names_of(file: Path) -> set[str]:
    """Names of the test functions in a file."""
    return {node.name for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.FunctionDef)}
