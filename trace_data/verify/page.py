"""Self-contained HTML page of a verification."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from trace_data.drawing import data_uri
from trace_data.errors import OutputError
from trace_data.files import atomic_write
from trace_data.schema.findings import Problem
from trace_data.verify.consistency import Agreement, Spread
from trace_data.verify.contact_sheet import make_sheet
from trace_data.verify.datasets import DatasetReport, VerifyReport

WORST = 20
"""Number of sequences of a dataset in the table of geometry."""
STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:84rem;padding:0 1rem;color:#222}"
    "table{border-collapse:collapse;margin:1rem 0}td,th{padding:.25rem .9rem .25rem 0;text-align:left;"
    "border-bottom:1px solid #ddd;vertical-align:top}h2{margin-top:2.5rem}.error{color:#b3261e}.warning{color:#8a5a00}"
    "code{font-size:13px}li{overflow-wrap:anywhere}img{max-width:100%}.hint{margin:.2rem 0 1rem}"
)


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
        *(_dataset(dataset) for dataset in report.datasets),
        f'<h2>Worst and random frames</h2><img alt="" src="{data_uri(sheet)}">' if sheet is not None else "",
    ]
    page = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>Datasets verified</title><style>{STYLE}</style><body>{''.join(parts)}</body></html>"
    )
    try:
        with atomic_write(file) as partial:
            partial.write_text(page, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise OutputError(f"cannot be written: {error.strerror}", where=file, hint="name another file") from error


def _summary(dataset: DatasetReport) -> tuple[str, ...]:
    return (
        f"{dataset.name}{' (synthetic)' if dataset.synthetic else ''}",
        dataset.layout or "none",
        ", ".join(f"{split} {count:,}" for split, count in dataset.sequences.items()),
        f"{dataset.frames:,}",
        f"{dataset.people or '–'}",
        f"{sum(problem.count for problem in dataset.problems):,}",
    )


def _dataset(dataset: DatasetReport) -> str:
    known = (
        f"<li>{escape(entry.reason)}: {entry.effect} of {entry.frames:,} frames in {entry.sequences:,} sequences</li>"
        for entry in dataset.defects
    )
    defects = "".join(known)
    columns = ("sequence", "reprojection px", "body to joints mm", "bones change", "fastest", "worst frames")
    return (
        f"<h2>{escape(dataset.name)}</h2>"
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


def _geometry(agreement: Agreement) -> tuple[str, ...]:
    def words(spread: Spread | None) -> str:
        return "–" if spread is None else f"{spread.median:.2f} / {spread.p95:.2f} / {spread.worst:.2f}"

    reprojection = agreement.reprojection_px
    return (
        agreement.key,
        words(reprojection),
        words(agreement.body_mm),
        "–" if agreement.bone_change is None else f"{100 * agreement.bone_change:.2f} %",
        "–" if agreement.fastest is None else f"{agreement.fastest:.1f} m/s",
        "–" if reprojection is None else ", ".join(map(str, reprojection.worst_frames)),
    )


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"
