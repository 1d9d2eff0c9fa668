"""The table of measures: every number is shown in its group, computed somewhere, and none is computed for nothing."""

from __future__ import annotations

import re

import pytest
from repository import ROOT

from trace_cli.evaluate import _table
from trace_train.evaluation.measures import MEASURES, Scores
from trace_train.evaluation.sums import Sums


def test_every_measure_is_computed_somewhere() -> None:
    source = "".join(file.read_text() for file in (ROOT / "trace_train" / "evaluation").glob("*.py"))
    assert [m.key for m in MEASURES if f'"{m.key}"' not in source] == []


def test_titles_are_told_apart() -> None:
    assert len({(m.name, m.unit) for m in MEASURES}) == len(MEASURES)
    assert all(m.factor == (100 if m.unit == "%" else 1) for m in MEASURES)


def test_a_number_that_is_no_measure_is_refused() -> None:
    with pytest.raises(ValueError, match="mpjp"):
        Sums().add("mpjp", 1.0, 1)


def test_a_measure_between_others_stays_in_its_group(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where in the table a measure stands says nothing of its group."""
    monkeypatch.setattr("trace_train.evaluate.MEASURES", tuple(sorted(MEASURES, key=lambda m: m.key)))
    _table({"model": Scores(**{m.key: 0.5 for m in MEASURES})})
    shown: dict[str, set[str]] = {}
    for line in capsys.readouterr().out.splitlines()[1:]:
        title, name, *_ = re.split(r"\s{2,}", line)
        group = title or list(shown)[-1]
        assert not title or title not in shown, "a group has one title"
        shown.setdefault(group, set()).add(name)
    assert shown == {
        group: {m.name for m in MEASURES if m.group == group} for group in ("camera", "detection", "world", "tracking")
    }
