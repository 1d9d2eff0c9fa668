"""Progress of long-running work. Libraries report to a `Progress`; only `cli/render.py` draws one."""

from __future__ import annotations


class Progress:
    """Receives progress. This base class ignores everything; it is the default of every library function."""

    width: int | None = None
    """Characters that a line given to `log` may have before it is broken; None where there is no such limit."""

    def begin(self, title: str, total: int, unit: str = "items") -> None:
        """Start a task of `total` units."""

    def advance(self, amount: int = 1, detail: str = "") -> None:
        """Count `amount` more units as done; `detail` is shown beside the bar."""

    def skip(self, amount: int) -> None:
        """Count `amount` units that an earlier run has done; they do not enter the speed."""

    def wrote(self, amount: int) -> None:
        """Count `amount` more bytes as written."""

    def end(self, summary: str = "") -> None:
        """End the task begun last; `summary` replaces its bar."""

    def log(self, line: str) -> None:
        """Show one line to the user, even when no bar is shown."""


SILENT = Progress()


def size_in_words(count: float) -> str:
    """A number of bytes in words: `412 GB`, `3.1 GB`, `61 MB`."""
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("KB", 1e3)):
        if count >= size:
            return f"{count / size:.1f} {unit}" if count < 9.95 * size else f"{count / size:,.0f} {unit}"
    return f"{count:.0f} bytes"


def counted(count: int, noun: str) -> str:
    """`1 shard`, `1,200 shards`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def duration(seconds: float) -> str:
    """`0.4 s`, `38 s`, `4 min 05 s`, `3 h 12 min`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 120:
        return f"{whole} s"
    if whole < 7200:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
