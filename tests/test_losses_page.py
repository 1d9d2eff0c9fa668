"""docs/losses.md names every term with its weight, and only tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

from trace_train.config import LossConfig
from trace_train.losses.terms import TERMS

TESTS = Path(__file__).parent
PAGE = (TESTS.parent / "docs" / "losses.md").read_text(encoding="utf-8")


def test_every_term_has_its_line_with_its_weight() -> None:
    rows = dict(re.findall(r"^\| `(\w+)`(?: \*)? \| ([\d./]+) \|", PAGE, flags=re.M))
    assert set(rows) == set(TERMS)
    for name, text in rows.items():
        numerator, _, denominator = text.partition("/")
        assert float(numerator) / float(denominator or 1) == getattr(LossConfig(), name), name


def test_the_tests_it_names_are_there() -> None:
    known = {
        name for file in TESTS.glob("test_*.py") for name in re.findall(r"^def (test_\w+)", file.read_text(), re.M)
    }
    named = set(re.findall(r"`(test_\w+)`", PAGE)) - {file.stem for file in TESTS.glob("test_*.py")}
    assert len(named) > 30 and not named - known
    assert all((TESTS / Path(file).name).is_file() for file in re.findall(r"`(tests/\w+\.py)`", PAGE))


def test_every_defect_of_the_sheet_has_a_row() -> None:
    rows = re.findall(r"^\| (\d+b?) \|", PAGE, flags=re.M)
    assert rows == ["1", "2", "2b", *map(str, range(3, 30))]
