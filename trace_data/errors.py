"""Errors shown to the user. Each says what was found, what was expected, where, and which command to run next.

They are caught in one place (`cli/main.py`), which prints them as one paragraph and exits with `exit_code`. `trace
--help` imports this module too, so what only some errors need is imported late.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class TraceError(Exception):
    """Base of all errors that the user can fix."""

    exit_code = 1

    def __init__(self, message: str, *, where: str | Path | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        """What is wrong: the value found and the value expected."""
        self.where = None if where is None else str(where)
        """The file, line or key concerned."""
        self.hint = hint
        """The command or action that fixes it."""

    def __str__(self) -> str:
        parts = [self.message if self.where is None else f"{self.where}: {self.message}"]
        if self.hint:
            parts.append(self.hint)
        return "\n  ".join(parts)

    def __reduce__(self) -> tuple[object, ...]:  # keyword arguments must survive a worker process
        return _rebuild, (type(self), self.message, self.where, self.hint)


def _rebuild(kind: type[TraceError], message: str, where: str | None, hint: str | None) -> TraceError:
    return kind(message, where=where, hint=hint)


class ConfigError(TraceError):
    """A wrong option, key or value; no work was started."""

    exit_code = 2


class AssetError(TraceError):
    """A body-model file or pack is missing, unreadable, or not what it claims to be."""

    exit_code = 3


class UnsafePickleError(AssetError):
    """A pickle names something that no body model or annotation needs; none of it was executed."""


class DatasetLayoutError(TraceError):
    """A dataset folder matches no known layout."""

    exit_code = 3


class AnnotationError(TraceError):
    """An annotation is missing, malformed, or contradicts its frames."""

    exit_code = 3


class FootageError(TraceError):
    """A video or picture to predict on is missing, unreadable, or not what it should be."""

    exit_code = 3


class ShardError(TraceError):
    """A shard or its index is missing, truncated, or of another format."""

    exit_code = 3


class NoStoredFlowError(ShardError):
    """Optical flow is to be read from shards that come without."""


class ResultError(TraceError):
    """The result of a prediction is missing, cut short, of another version, or contradicts itself."""

    exit_code = 3


class CheckpointError(TraceError):
    """A checkpoint is missing, damaged, or of another architecture."""

    exit_code = 3


class NoCheckpointError(CheckpointError):
    """There is no finished checkpoint."""


class OutputError(TraceError):
    """The output cannot be written: it exists already, permission is missing, or the disk is full."""

    exit_code = 3


class TrainingDiverged(TraceError):
    """A loss term or gradient is not finite."""

    exit_code = 4


class LostProcess(TraceError):
    """A process of a multi-process training has exited or hangs; the others exit too."""

    exit_code = 5


class InterruptedRun(TraceError):
    """Interrupted by the user or the scheduler; the work so far is kept."""

    exit_code = 130


_UNPRINTABLE = r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"


def printable(text: str) -> str:
    """`text` as a terminal may show it: names from elsewhere may hold its commands, or bytes that are no UTF-8.

    Control characters, marks that turn the direction of writing, and halves of surrogate pairs become escapes such as
    `\\x1b`; line breaks and tabs stay.
    """
    return re.sub(_UNPRINTABLE, lambda found: ascii(found[0])[1:-1], text)


def in_one_line(error: BaseException) -> str:
    """An error where there is room for one line: place and message; hint."""
    return "; ".join(" ".join(line.split()) for line in str(error).splitlines() if line.strip())


def quoted(word: str | Path) -> str:
    """A word of a command to copy, as a shell takes it for one word and no more."""
    import shlex

    return shlex.quote(str(word))


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word closest to a mistyped one; None when nothing is close."""
    import difflib

    matches = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return matches[0] if matches else None
