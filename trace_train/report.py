"""One self-contained HTML page about a run: scores, loss curves, pictures, what each step took, on which machine.

The page refers to nothing outside itself, so it opens from disk and can be sent as it is.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from importlib.metadata import version
from pathlib import Path

import numpy as np
import numpy.typing as npt

from trace_data.drawing import data_uri
from trace_train.chart import line_chart

TOTAL = "total"
"""Name of the curve that is drawn large; the others become small charts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One row of the table of scores."""

    metric: str
    unit: str
    values: tuple[float | None, ...]
    """One for each of `ReportData.columns`; None where the column has no such score."""
    lower_is_better: bool = True
    digits: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A logged value over training steps."""

    steps: Sequence[int]
    values: Sequence[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of the way."""

    name: str
    seconds: float
    text: str
    """What came out, in a line."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Picture:
    """A frame or a contact sheet."""

    caption: str
    image: npt.NDArray[np.uint8]
    """(H, W, 3) RGB."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReportData:
    """Everything the page shows. Empty parts are left out of it."""

    title: str
    notes: tuple[str, ...]
    """Paragraphs under the title: what the data is, what the numbers can and cannot say."""
    columns: tuple[str, ...] = ()
    """Whose scores `results` compares; the first is the run's own."""
    results: tuple[Result, ...] = ()
    protocol: str = ""
    """How the scores were computed, in words."""
    curves: Mapping[str, Curve] = field(default_factory=dict)
    """Loss terms by name; `total` is drawn large."""
    pictures: tuple[Picture, ...] = ()
    steps: tuple[Step, ...] = ()
    synthetic: bool = False
    """Whether the data is synthetic, which the page then says beside its title."""


def write_report(path: Path, report: ReportData) -> None:
    """Write the page to `path`, replacing an older one in a single move. Raises OSError when it cannot be written."""
    parts = [
        _head(report),
        _results(report),
        _curves(report.curves),
        _pictures(report.pictures),
        _steps(report.steps),
        _environment(),
    ]
    page = (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(report.title)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style></head>\n'
        f"<body><main>\n{chr(10).join(part for part in parts if part)}\n</main></body></html>\n"
    )
    partial = path.with_name(path.name + ".partial")
    partial.write_text(page, encoding="utf-8")
    partial.replace(path)


def _head(report: ReportData) -> str:
    badge = '<span class="badge">synthetic data</span>' if report.synthetic else ""
    notes = "".join(f"<p>{escape(note)}</p>" for note in report.notes)
    return f"<header><h1>{escape(report.title)} {badge}</h1>{notes}</header>"


def _results(report: ReportData) -> str:
    if not report.results:
        return ""
    head = "".join(f"<th>{escape(name)}</th>" for name in report.columns)
    rows = "".join(_result_row(result) for result in report.results)
    protocol = f'<p class="note">{escape(report.protocol)}</p>' if report.protocol else ""
    return (
        "<section><h2>Scores on held-out people and sequences</h2>"
        f'<table class="scores"><thead><tr><th></th>{head}</tr></thead><tbody>{rows}</tbody></table>'
        f'<p class="note">The best of each row is set bold.</p>{protocol}</section>'
    )


def _result_row(result: Result) -> str:
    known = [value for value in result.values if value is not None]
    best = (min if result.lower_is_better else max)(known, default=None)
    cells = "".join(
        "<td>–</td>"
        if value is None
        else f"<td{' class=best' if value == best and len(known) > 1 else ''}>{value:.{result.digits}f}</td>"
        for value in result.values
    )
    arrow = "lower is better" if result.lower_is_better else "higher is better"
    unit = f"{escape(result.unit)}, " if result.unit else ""
    return f"<tr><th>{escape(result.metric)} <small>{unit}{arrow}</small></th>{cells}</tr>"


def _curves(curves: Mapping[str, Curve]) -> str:
    if not curves:
        return ""
    large = [_chart(TOTAL, curves[TOTAL], 930, 260)] if TOTAL in curves else []
    small = [_chart(name, curve, 340, 150) for name, curve in curves.items() if name != TOTAL]
    return f'<section><h2>Training loss</h2>{"".join(large)}<div class="charts">{"".join(small)}</div></section>'


def _chart(name: str, curve: Curve, width: int, height: int) -> str:
    ends = f"{curve.values[0]:.3g} → {curve.values[-1]:.3g}" if curve.values else ""
    drawing = line_chart(curve.steps, curve.values, label=f"{name} over training steps", width=width, height=height)
    return f"<figure><figcaption><b>{escape(name.replace('_', ' '))}</b> {ends}</figcaption>{drawing}</figure>"


def _pictures(pictures: Iterable[Picture]) -> str:
    figures = "".join(
        f'<figure><img alt="{escape(picture.caption, quote=True)}" src="{data_uri(picture.image)}">'
        f"<figcaption>{escape(picture.caption)}</figcaption></figure>"
        for picture in pictures
    )
    return f'<section><h2>Pictures</h2><div class="pictures">{figures}</div></section>' if figures else ""


def _steps(steps: Sequence[Step]) -> str:
    if not steps:
        return ""
    rows = "".join(
        f"<tr><th>{escape(step.name)}</th><td>{step.seconds:,.1f} s</td><td>{escape(step.text)}</td></tr>"
        for step in (*steps, Step(name="in all", seconds=sum(step.seconds for step in steps), text=""))
    )
    return f'<section><h2>What each step took</h2><table class="steps"><tbody>{rows}</tbody></table></section>'


def _environment() -> str:
    versions = ", ".join(f"{name} {version(name)}" for name in ("trace-5d", "torch", "numpy", "h5py"))
    words = f"Python {platform.python_version()}, {versions}; {platform.system()} {platform.machine()}, {_processor()}"
    return f"<footer><p>{escape(words)}</p></footer>"


def _processor() -> str:
    import os

    import torch

    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"{os.cpu_count()} CPU cores, no GPU"


STYLE = """
:root { color-scheme: light dark; --ink: #1c1f24; --soft: #667; --line: #dcdfe4; --page: #fff; --accent: #c2521b;
  --badge: #fbe9df; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e6ea; --soft: #9aa1ac; --line: #343a43; --page: #16181c; --accent: #f08a55; --badge: #43281b; } }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 15px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
main { max-width: 980px; margin: 0 auto; padding: 40px 24px 60px; }
header p { max-width: 70ch; margin: .5em 0; }
h1 { font-size: 26px; line-height: 1.25; margin: 0 0 12px; font-weight: 650; }
h2 { font-size: 17px; margin: 44px 0 12px; font-weight: 650; }
.badge { display: inline-block; vertical-align: 4px; margin-left: 8px; padding: 1px 9px; border-radius: 10px;
  background: var(--badge); color: var(--accent); font-size: 12.5px; font-weight: 600; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: 6px 22px 6px 0; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
th { font-weight: 500; } thead th { color: var(--soft); }
.scores td, .scores thead th:not(:first-child) { text-align: right; padding: 6px 0 6px 30px; }
.steps td:nth-child(2) { text-align: right; white-space: nowrap; } .steps tr:last-child { font-weight: 600; }
.steps th { white-space: nowrap; } .note { max-width: 90ch; } .best { font-weight: 700; }
small, .note, figcaption, footer { color: var(--soft); font-size: 13px; } small { margin-left: 6px; }
figure { margin: 0 0 14px; } figcaption b { color: var(--ink); font-weight: 600; margin-right: 4px; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(290px, 1fr)); gap: 10px 24px; }
.pictures { display: grid; gap: 14px; } .pictures img { display: block; max-width: 100%; border-radius: 4px; }
.pictures figcaption { margin-top: 4px; }
svg { display: block; width: 100%; height: auto; } svg text { fill: var(--soft); font-size: 11px; }
.grid { stroke: var(--line); } polyline { fill: none; stroke: var(--accent); stroke-linejoin: round; }
.raw { stroke-width: 1; opacity: .3; } .mean { stroke-width: 1.8; }
footer { margin-top: 48px; border-top: 1px solid var(--line); }
@media print { h2 { break-after: avoid; } figure { break-inside: avoid; } }
"""
