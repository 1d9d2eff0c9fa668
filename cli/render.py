"""Terminal output, and the only user of rich: progress on stderr, results on stdout.

Imported inside command functions. In a pipe the same lines are plain text.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn
from rich.progress import Progress as Bars
from rich.table import Table

from trace_data.errors import printable
from trace_data.progress import Progress, size_in_words
from trace_data.progress import duration as duration

if TYPE_CHECKING:
    from trace_data.schema.findings import Problem

PIPE_WIDTH = 10_000
"""Line width without a terminal, so that table rows stay single lines for `grep`."""
PLAIN_INTERVAL = 20.0
"""Seconds between two progress lines of a task in a pipe or log."""
TITLE_WIDTH = 15
INDENT = 2
"""Of all lines about work in progress."""


def _console(stream: TextIO) -> Console:
    width = None if stream.isatty() else PIPE_WIDTH
    return Console(file=stream, markup=False, highlight=False, emoji=False, width=width)


@dataclasses.dataclass(slots=True)
class _Work:
    title: str
    total: int
    unit: str
    started: float
    done: int = 0
    skipped: int = 0
    """Units done by an earlier run."""
    written: int = 0
    """Bytes."""
    told: float = 0.0
    bar: TaskID | None = None

    def facts(self, now: float) -> str:
        """Such as `748 frames/s   318 GB   left 22 min 05 s`, as far as known; the last is the remaining time."""
        new, passed = self.done - self.skipped, now - self.started
        facts = [size_in_words(self.written)] if self.written else []
        if new > 0 and passed > 1:
            speed = new / passed
            facts.insert(0, f"{speed:,.0f} {self.unit}/s" if speed >= 10 else f"{speed:.1f} {self.unit}/s")
            facts.append(f"left {duration(max(self.total - self.done, 0) / speed)}")
        return "   ".join(facts)


class Display(Progress):
    """Shows progress on stderr: a bar with the remaining time on a terminal, occasional lines elsewhere.

    Tasks may nest. Use it as a context manager, so that bars are removed before an error is printed.
    """

    def __init__(self, *, brief: bool = False) -> None:
        self._brief = brief
        """`brief`: only bars and `step` lines, without the libraries' own messages."""
        self._console = _console(sys.stderr)
        self.width = self._console.width - INDENT if self._console.is_terminal else None
        self._works: list[_Work] = []
        self._bars = Bars(
            TextColumn(f"  {{task.description:<{TITLE_WIDTH}}}"),
            BarColumn(bar_width=32),
            TextColumn("{task.completed:,.0f} / {task.total:,.0f} {task.fields[unit]}  {task.fields[detail]}"),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )

    def __enter__(self) -> Display:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def begin(self, title: str, total: int, unit: str = "items") -> None:
        """Show a bar."""
        shown = self._console.is_terminal
        bar = self._bars.add_task(printable(title), total=total, unit=unit, detail="") if shown else None
        now = time.monotonic()
        self._works.append(_Work(title, total, unit, started=now, told=now, bar=bar))

    def advance(self, amount: int = 1, detail: str = "") -> None:
        """Advance the current bar; in a pipe, print a line every `PLAIN_INTERVAL` seconds."""
        if not self._works:
            return
        work = self._works[-1]
        work.done += amount
        now = time.monotonic()
        if work.bar is None and now - work.told < PLAIN_INTERVAL:
            return
        text = "   ".join(part for part in (detail, work.facts(now)) if part)
        if work.bar is not None:
            self._bars.update(work.bar, advance=amount, detail=printable(text))
            return
        work.told = now
        self._line(f"{work.title:<{TITLE_WIDTH}}  {work.done:,} / {work.total:,} {work.unit}   {text}")

    def skip(self, amount: int) -> None:
        """Advance the bar without counting towards the speed."""
        if self._works:
            self._works[-1].skipped += amount
            self.advance(amount)

    def wrote(self, amount: int) -> None:
        """Add to the bytes written, shown at the next step."""
        if self._works:
            self._works[-1].written += amount

    def end(self, summary: str = "") -> None:
        """Replace the bar by one line with summary and duration."""
        if not self._works:
            return
        work = self._works.pop()
        if work.bar is not None:
            self._bars.remove_task(work.bar)
        if not self._brief:
            self.step(work.title, summary or f"{work.done:,} {work.unit}", time.monotonic() - work.started)

    def log(self, line: str) -> None:
        """Print a permanent line; in a pipe it also resets the interval of progress lines."""
        if not self._brief:
            self._line(line)
            for work in self._works:
                work.told = time.monotonic()

    def step(self, title: str, text: str, seconds: float | None = None) -> None:
        """Print a permanent line with title, result and duration of a step."""
        took = "" if seconds is None else f"  {duration(seconds)}"
        self._line(f"{title:<{TITLE_WIDTH}}  {text}{took}")

    def _line(self, text: str) -> None:
        self._console.print(f"{'':{INDENT}}{printable(text)}".rstrip(), soft_wrap=True)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, numeric: Sequence[str] = ()) -> None:
    """Print a table on stdout. Columns named in `numeric` are right-aligned."""
    drawn = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    for name in columns:
        drawn.add_column(name, justify="right" if name in numeric else "left", overflow="fold")
    for row in rows:
        drawn.add_row(*map(printable, row))
    console = _console(sys.stdout)
    with console.capture() as capture:
        console.print(drawn)
    sys.stdout.write("".join(f"{row.rstrip()}\n" for row in capture.get().splitlines()))


def problems(name: str, problems: Sequence[Problem], *, more: str = "…") -> None:
    """Print each problem of a dataset with cases and hint. `more`: shown where cases are left out."""
    for problem in problems:
        times = "once" if problem.count == 1 else f"{problem.count:,} times"
        line(f"\n{name}  {problem.severity}: {problem.what}  ({times})")
        for example in problem.examples:
            said = f": {problem.what}" if problem.count == 1 else ""
            line(f"    {example.removesuffix(said)}")
        if problem.count > len(problem.examples) > 1:
            line(f"    {more}")
        if problem.hint:
            line(f"  → {problem.hint}")


def number(value: float | None, digits: int, factor: float = 1.0) -> str:
    """`factor * value` with this many digits; a dash for None."""
    return "–" if value is None or value != value else f"{factor * value:.{digits}f}"


def line(text: str = "") -> None:
    """One line of result on stdout."""
    _console(sys.stdout).print(printable(text), soft_wrap=True)


def json_object(value: Any) -> None:
    """Print a JSON object on stdout; dataclasses become objects, paths and other types strings.

    Readable where the stream takes every character of it and a terminal may see it, else ASCII with JSON's escapes.
    """
    text = json.dumps(_plain(value), indent=2, ensure_ascii=False, allow_nan=False)
    if printable(text) != text or not _can_encode(text, sys.stdout):
        text = json.dumps(_plain(value), indent=2, allow_nan=False)
    sys.stdout.write(text + "\n")


def _can_encode(text: str, stream: TextIO) -> bool:
    try:
        text.encode(stream.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):  # NumPy scalars and arrays
        return _plain(value.tolist())
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else None
    if value is None or isinstance(value, str | int):
        return value
    return str(value) if isinstance(value, Path) else repr(value)
