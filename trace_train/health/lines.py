"""The progress table on the terminal, with one row per log line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trace_data.progress import duration
from trace_train.losses.table import LOSSES

AGAIN = 25
"""Number of rows after which the heading is repeated."""
LEGEND = "each part of the loss / how many valid entries it has"


class TableLines:
    """Formats the rows, with a heading before the first and every `AGAIN` rows.

    `width`: characters per line; None: unlimited. Longer rows are wrapped.
    """

    def __init__(self, width: int | None = None) -> None:
        self._width = width
        self._rows = 0
        self._headings: list[str] = []

    def row(self, line: Mapping[str, Any], weights: Mapping[str, float]) -> list[str]:
        """The text lines for one log line. `weights`: of each term in the current stage."""
        cells = {
            "step": f"{line['step']:,}",
            "loss": _short(line["loss"]["total"]),
            **_parts(line, weights),
            "grad": _short(line["gradient_norm"]),
            "lr": f"{line['lr']:.1e}",
            "clips/s": _short(line["clips_per_s"]),
            "wait": f"{100 * line['data_wait']:.1f}%",
        }
        if line.get("memory_gb"):
            cells["mem"] = f"{line['memory_gb']:.1f} G"
        cells["left"] = (
            duration(line["seconds_left"]) if line["step"] > 1 else "–"
        )  # the first takes longer than others
        headings = list(cells)
        due = self._rows % AGAIN == 0 or headings != self._headings
        legend = [] if self._rows else [LEGEND]
        self._rows, self._headings = self._rows + 1, headings
        rows = [{name: name for name in headings}, cells] if due else [cells]
        return [*legend, *(line for row in rows for line in self._folded(row))]

    def _folded(self, cells: Mapping[str, str]) -> list[str]:
        """One row in as few lines as its cells fill; those after the first stand under the cell after `step`."""
        lines = [""]
        for name, cell in cells.items():
            if self._width is not None and len(lines[-1]) + _width(name) > self._width:
                lines.append(" " * (_width("step") + 2))
            lines[-1] += f"{cell:<{_width(name)}}  "
        return [line.rstrip() for line in lines]


def _parts(line: Mapping[str, Any], weights: Mapping[str, float]) -> dict[str, str]:
    """Contribution of each group of terms to the loss, with its smallest non-zero count of valid entries."""
    parts: dict[str, tuple[float, list[float]]] = {}
    for name, value in line["loss"].items():
        if name == "total":
            continue
        heading = LOSSES[name].heading if name in LOSSES else name[:9]
        total, counts = parts.get(heading, (0.0, []))
        count = line["counts"].get(name, 0)
        parts[heading] = (total + weights.get(name, 1.0) * value, [*counts, *([count] if count else [])])
    return {
        heading: f"{_short(total)}/{_count(min(counts))}" if counts else "–/0"
        for heading, (total, counts) in parts.items()
    }


def _width(heading: str) -> int:
    return {"step": 7, "loss": 6, "grad": 6, "lr": 7, "clips/s": 7, "wait": 5, "mem": 6, "left": 10}.get(heading, 9)


def _short(value: float | None) -> str:
    """Three digits, as in 41.2, 0.31 or 1,820; a dash for an fp16 gradient that overflowed."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _count(value: float) -> str:
    return f"{value:.0f}" if value < 1000 else f"{value / 1000:.3g}k"
