"""stdout and stderr take any text, whatever encoding the terminal or the pipe has."""

from __future__ import annotations

import codecs
import io
import sys

PLAIN = {"→": "->", "✓": "+", "✗": "x", "–": "-", "…": "...", "×": "x", "·": "-", "±": "+-", "²": "2"}
"""What this program itself writes, where an encoding lacks it."""


def accept_any_text() -> None:
    """Characters that the encoding of stdout or stderr lacks become ASCII or an escape such as `\\xe9`, no error."""
    codecs.register_error("trace-plain", _plainly)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="trace-plain")


def _plainly(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return "".join(PLAIN.get(c) or ascii(c)[1:-1] for c in text), error.end
