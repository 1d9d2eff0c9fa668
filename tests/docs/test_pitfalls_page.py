"""The page of pitfalls: every trap of the reference pages is on it, with a test or a reason."""

from __future__ import annotations

import re

from repository import ROOT

PAGE = ROOT / "docs" / "datasets" / "pitfalls.md"
ROWS = {
    "Of the published training code": [str(number) for number in range(1, 29)],
    "Of the releases": [str(number) for number in range(1, 14)],
    "Of joint sets": [f"P{number}" for number in range(1, 10)],
}
"""docs/reference/datasets.md#defects-of-the-published-training-code, #traps-of-the-releases and
docs/reference/joints.md#traps-of-joint-sets."""


def test_every_test_that_is_named_exists() -> None:
    tests = {file.name: file.read_text(encoding="utf-8") for file in (ROOT / "tests").rglob("test_*.py")}
    named = re.findall(r"`(test_\w+\.py)::(test_\w+)`", PAGE.read_text(encoding="utf-8"))
    assert len(named) > 100
    assert [test for file, test in named if f"def {test}(" not in tests.get(file, "")] == []


def test_every_row_has_a_test_or_a_reason() -> None:
    sections = {part.split("\n")[0]: part for part in PAGE.read_text().split("\n## ")[1:]}
    for title, expected in ROWS.items():
        rows = [row.strip("|").split("|") for row in sections[title].split("\n") if re.match(r"\| P?\d", row)]
        assert [row[0].strip() for row in rows] == expected, title
        for row in rows:
            named = re.search(r"`test_\w+\.py::test_\w+`", row[3])
            assert named or ("does not apply" in row[2] and row[3].strip() == "reason"), row
