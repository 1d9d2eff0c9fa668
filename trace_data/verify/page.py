"""Self-contained HTML page of a verification."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from trace_data.consistency.agreement import Agreement, Spread
from trace_data.drawing import data_uri
from trace_data.errors import OutputError
from trace_data.files import atomic_write
from trace_data.schema.findings import Problem
from trace_data.verify.contact_sheet import make_sheet
from trace_data.verify.datasets import DatasetReport, VerifyReport

WORST = 20
"""Number of sequences of a dataset in the table of geometry."""
STYLE = """
:root { color-scheme: light dark; --ink: #1c1f24; --soft: #5c6370; --line: #e1e4e9; --page: #fff; --raised: #f6f7f9;
  --error: #b3261e; --warning: #8a5a00; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e6ea; --soft: #9aa1ac; --line: #2e343c; --page: #14161a; --raised: #1c2026; --error: #f2847c;
    --warning: #e9bd62; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); overflow-wrap: anywhere;
  font: 15px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
main { max-width: 1040px; margin: 0 auto; padding: 40px 24px 60px; }
h1 { font-size: 26px; line-height: 1.3; margin: 0 0 10px; font-weight: 650; }
h2 { font-size: 18px; margin: 48px 0 12px; padding-top: 14px; border-top: 1px solid var(--line); font-weight: 650; }
p { margin: .5em 0; max-width: 82ch; }
nav a { margin-right: 14px; } a { color: inherit; }
code { font: 12.5px/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
.scroll { overflow-x: auto; margin: 8px 0 14px; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 14px; }
th, td { padding: 5px 22px 5px 0; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
th { font-weight: 500; color: var(--soft); } td { overflow-wrap: normal; white-space: nowrap; }
.error { color: var(--error); } .warning { color: var(--warning); }
.hint { margin: .2em 0 1em; color: var(--soft); }
img { display: block; max-width: 100%; height: auto; border-radius: 4px; }
@media (max-width: 560px) { main { padding: 22px 14px 40px; } h1 { font-size: 22px; } th, td { padding-right: 14px; } }
"""
"""That of the report's page (`trace_train/report/page.css`), as far as this one needs it; names are never cut."""


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
    page = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>Datasets verified</title><style>{STYLE}</style><body><main>{''.join(parts)}</main></body></html>"
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
    return f'<div class="scroll"><table><tr>{head}</tr>{body}</table></div>'
