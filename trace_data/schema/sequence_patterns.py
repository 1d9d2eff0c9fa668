"""Sequences as people name them: by name or pattern (`*`, `?`), with or without `dataset/split/` in front."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Protocol

from trace_data.errors import ConfigError, nearest

SHOWN = 3
"""So many names are given as examples."""


class Named(Protocol):
    """A sequence on the disk or in an index."""

    @property
    def name(self) -> str:
        """Within its dataset and split."""

    @property
    def key(self) -> str:
        """`dataset/split/name`."""


def fits(sequence: Named, pattern: str) -> bool:
    """Whether the pattern, or the plain name, means this sequence."""
    names = (sequence.name, sequence.key)
    return pattern in names or any(fnmatchcase(name, pattern) for name in names)


def check_patterns(patterns: Sequence[str], sequences: Sequence[Named], *, where: Path | str) -> None:
    """Raises ConfigError when one of the patterns means none of the sequences."""
    for pattern in patterns:
        if not any(fits(sequence, pattern) for sequence in sequences):
            near = nearest(pattern, (sequence.name for sequence in sequences))
            raise ConfigError(
                f"no sequence is called {pattern!r}" + (f", did you mean {near!r}?" if near else ""),
                where=where,
                hint=f"looked through {len(sequences):,} sequences, such as "
                + ", ".join(sequence.key for sequence in sequences[:SHOWN]),
            )
