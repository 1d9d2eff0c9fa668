"""From what a run leaves behind to the page that shows it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from trace_train.evaluate import HIGHER_IS_BETTER, MEASURES, MODEL, EvalReport
from trace_train.report import Curve, Result
from trace_train.runlog import read_metrics


def curves(run: Path) -> dict[str, Curve]:
    """The logged loss terms of a run, each over its steps."""
    lines = read_metrics(run)
    names = list(dict.fromkeys(name for line in lines for name in line["loss"]))
    return {
        name: Curve(
            steps=[line["step"] for line in lines if name in line["loss"]],
            values=[line["loss"][name] for line in lines if name in line["loss"]],
        )
        for name in names
    }


def read_evaluation(values: Mapping[str, Any]) -> EvalReport:
    """The report whose `to_json` gave `values`."""
    return EvalReport.from_json(values)


def results(evaluation: EvalReport) -> tuple[Result, ...]:
    """One row a measure; the run's own score first."""
    columns = column_names(evaluation)
    return tuple(
        Result(
            metric=name,
            unit=unit,
            digits=digits,
            lower_is_better=key not in HIGHER_IS_BETTER,
            values=tuple(_scaled(getattr(evaluation.rows[column], key), factor) for column in columns),
        )
        for key, name, unit, digits, factor in MEASURES
    )


def column_names(evaluation: EvalReport) -> tuple[str, ...]:
    """Names of the predictors, the model first."""
    return (MODEL, *(name for name in evaluation.rows if name != MODEL))


def best_constant(evaluation: EvalReport, measure: str) -> float | None:
    """The smallest error that a predictor which never looks at a pixel reaches."""
    return min(_known(getattr(row, measure) for name, row in evaluation.rows.items() if name != MODEL), default=None)


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None and value == value]


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None or value != value else factor * value
