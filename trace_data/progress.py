"""How long work tells of itself. Libraries report to a `Progress`; only `cli/render.py` draws one."""

from __future__ import annotations


class Progress:
    """Receives what long work reports. This base class is silent, which is the default of every library function."""

    def begin(self, title: str, total: int, unit: str = "items") -> None:
        """Work on `total` units starts."""

    def advance(self, amount: int = 1, detail: str = "") -> None:
        """`amount` more units are done; `detail` is shown beside the bar."""

    def end(self, summary: str = "") -> None:
        """The work begun last is over; `summary` replaces its bar."""

    def say(self, line: str) -> None:
        """One line the user should see even when no bar is shown."""


SILENT = Progress()
