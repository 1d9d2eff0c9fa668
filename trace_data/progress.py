"""How long work tells of itself. Libraries report to a `Progress`; only `cli/render.py` draws one."""

from __future__ import annotations


class Progress:
    """Receives what long work reports. This base class is silent, which is the default of every library function."""

    width: int | None = None
    """Characters that a line given to `log` may have before it is broken; None where there is no such limit."""

    def begin(self, title: str, total: int, unit: str = "items") -> None:
        """Work on `total` units starts."""

    def advance(self, amount: int = 1, detail: str = "") -> None:
        """`amount` more units are done; `detail` is shown beside the bar."""

    def skip(self, amount: int) -> None:
        """`amount` units were done before, by an earlier run: they count, but say nothing of the speed."""

    def wrote(self, amount: int) -> None:
        """`amount` more bytes of the result are written."""

    def end(self, summary: str = "") -> None:
        """The work begun last is over; `summary` replaces its bar."""

    def log(self, line: str) -> None:
        """One line the user should see even when no bar is shown."""


SILENT = Progress()


def size_in_words(count: float) -> str:
    """A number of bytes as people say it: `412 GB`, `3.1 GB`, `61 MB`."""
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
