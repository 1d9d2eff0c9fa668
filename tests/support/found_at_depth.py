"""What `trace verify-datasets` says of a broken folder, and from which depth on."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from trace_data.verify.datasets import DEPTHS, verify_datasets

MARK = Path("ran")


class Payload:
    """Makes the folder `mark` when Python's own loader reads it."""

    def __init__(self, mark: Path = MARK) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


def said(dataset: str, root: Path, depth: Any, packs: Path | None = None) -> list[tuple[str, str]]:
    """(severity, everything that is said) of each problem."""
    problems = verify_datasets([dataset], root, depth=depth, packs=packs).datasets[0].problems
    return [(p.severity, " | ".join((p.what, *p.examples))) for p in problems if "there is no eft_annots" not in p.what]


def errors(dataset: str, root: Path, depth: Any, packs: Path | None = None) -> list[str]:
    """Everything that is said of each error."""
    return [what for severity, what in said(dataset, root, depth, packs) if severity == "error"]


def assert_error_found(dataset: str, root: Path, depth: Any, words: str, packs: Path | None = None) -> None:
    """An error with these words is found at this depth and none before; no `Payload` has run."""
    for shallower in DEPTHS[: DEPTHS.index(depth)]:
        assert errors(dataset, root, shallower, packs) == []
    found = errors(dataset, root, depth, packs)
    assert any(words in what for what in found), found
    assert not MARK.exists()
