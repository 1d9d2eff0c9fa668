"""Select sequences by name or pattern (`*`, `?`), with or without the prefix `dataset/split/`."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Protocol

from trace_data.errors import ConfigError, nearest

SHOWN = 3
"""Number of names given as examples."""


class Named(Protocol):
    """A sequence on disk or in an index."""

    @property
    def name(self) -> str:
        """Name within its dataset and split."""

    @property
    def key(self) -> str:
        """`dataset/split/name`."""


def fits(sequence: Named, pattern: str) -> bool:
    """Whether the name or pattern matches the sequence."""
    names = (sequence.name, sequence.key)
    return pattern in names or any(fnmatchcase(name, pattern) for name in names)


def check_patterns(patterns: Sequence[str], sequences: Sequence[Named], *, where: Path | str) -> None:
    """Raises ConfigError when a pattern matches no sequence."""
    for pattern in patterns:
        if not any(fits(sequence, pattern) for sequence in sequences):
            near = nearest(pattern, (sequence.name for sequence in sequences))
            raise ConfigError(
                f"no sequence is called {pattern!r}" + (f", did you mean {near!r}?" if near else ""),
                where=where,
                hint=f"looked through {len(sequences):,} sequences, such as "
                + ", ".join(sequence.key for sequence in sequences[:SHOWN]),
            )


def the_one(sequences: Sequence[Named], pattern: str | None, *, where: Path | str) -> int:
    """Index of the one sequence that a name or pattern means; None means the only one there is.

    Raises ConfigError for none or several.
    """
    if pattern is not None:
        check_patterns([pattern], sequences, where=where)
    found = [index for index, sequence in enumerate(sequences) if pattern is None or fits(sequence, pattern)]
    if len(found) != 1:
        shown = ", ".join(sequences[index].key for index in found[:SHOWN])
        raise ConfigError(
            f"{len(found):,} sequences could be meant, expected one" if found else "there is no sequence",
            where=where,
            hint=f"--sequence NAME, such as {shown}" if found else None,
        )
    return found[0]
