"""Self-contained HTML page of a verification."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from trace_data.consistency.sequence import Consistency, Spread
from trace_data.drawing import data_uri
from trace_data.pages.document import document, write_document
from trace_data.pages.html import Html
from trace_data.schema.findings import Problem
from trace_data.verify.contact_sheet import make_sheet
from trace_data.verify.datasets import DatasetReport, VerifyReport

WORST = 20
"""Number of sequences of a dataset in the table of geometry."""
STYLE = """
h2, td, th, code { overflow-wrap: anywhere; } td { overflow-wrap: normal; white-space: nowrap; }
nav a { color: inherit; text-decoration: underline; }
.error { color: var(--error); } .warning { color: var(--warning); } .hint { margin: .2em 0 1em; color: var(--soft); }
:root { --error: #b3261e; --warning: var(--open); }
@media (prefers-color-scheme: dark) { :root { --error: #f2847c; } }
"""
"""Of this page, beside that of all pages; names are never cut."""


def write_page(report: VerifyReport, file: Path, *, packs: Path | None = None, defects: bool = True) -> None:
    """Write tables, problems with hints, and the contact sheet. Raises OutputError."""
    sheet, _ = make_sheet(report, packs=packs, defects=defects)
    broken = [dataset.name for dataset in report.datasets if not dataset.ok]
    parts = [
        f"<h1>Datasets in <code>{escape(str(report.roots.root))}</code></h1>",
        f"<p>Depth {report.depth}. <b>{'Not ready: ' + escape(', '.join(broken)) if broken else 'Ready.'}</b></p>",
        _table(
            ("dataset", "layout found", "sequences", "frames", "people", "problems"),
            (_summary(dataset) for dataset in report.datasets),
        ),
        f"<nav>{''.join(_link(dataset.name) for dataset in report.datasets)}</nav>" if len(report.datasets) > 1 else "",
        *(_dataset(dataset) for dataset in report.datasets),
        f'<h2>Worst and random frames</h2><img alt="" src="{data_uri(sheet)}">' if sheet is not None else "",
    ]
    page = document("Datasets verified", Html("".join(parts)), style=STYLE)
    write_document(file, page, hint="name another file")


def _summary(dataset: DatasetReport) -> tuple[str, ...]:
    return (
        f"{dataset.name}{' (synthetic)' if dataset.synthetic else ''}",
        dataset.layout or "none",
        ", ".join(f"{split} {count:,}" for split, count in dataset.sequences.items()),
        f"{dataset.frames:,}",
        f"{dataset.people or '–'}",
        f"{sum(problem.count for problem in dataset.problems):,}",
    )


def _link(name: str) -> str:
    return f'<a href="#{escape(name)}">{escape(name)}</a>'


def _dataset(dataset: DatasetReport) -> str:
    known = (
        f"<li>{escape(entry.reason)}: {entry.effect} of {entry.frames:,} frames in {entry.sequences:,} sequences</li>"
        for entry in dataset.defects
    )
    defects = "".join(known)
    columns = ("sequence", "reprojection px", "body to joints mm", "bones change", "fastest", "worst frames")
    return (
        f'<h2 id="{escape(dataset.name)}">{escape(dataset.name)}</h2>'
        + ("".join(map(_problem, dataset.problems)) or "<p>Nothing is wrong.</p>")
        + (f"<p>Known defects, removed:</p><ul>{defects}</ul>" if defects else "")
        + (_table(columns, map(_geometry, dataset.geometry[:WORST])) if dataset.geometry else "")
    )


def _problem(problem: Problem) -> str:
    cases = "".join(f"<li><code>{escape(example)}</code></li>" for example in problem.examples)
    return (
        f'<p><b class="{problem.severity}">{problem.severity}</b> {escape(problem.what)} ({problem.count:,})</p>'
        f'<ul>{cases}</ul><p class="hint">{escape(problem.hint and "→ " + problem.hint)}</p>'
    )


def _geometry(consistency: Consistency) -> tuple[str, ...]:
    def words(spread: Spread | None) -> str:
        return "–" if spread is None else f"{spread.median:.2f} / {spread.p95:.2f} / {spread.worst:.2f}"

    reprojection = consistency.reprojection_px
    return (
        consistency.key,
        words(reprojection),
        words(consistency.body_mm),
        "–" if consistency.bone_change is None else f"{100 * consistency.bone_change:.2f} %",
        "–" if consistency.fastest is None else f"{consistency.fastest:.1f} m/s",
        "–" if reprojection is None else ", ".join(map(str, reprojection.worst_frames)),
    )


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="scroll"><table><tr>{head}</tr>{body}</table></div>'
