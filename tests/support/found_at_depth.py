"""What `trace verify-datasets` says of a broken folder, and from which depth on."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from trace_data.builder.build import build_shards
from trace_data.errors import DatasetLayoutError
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
    """An error with these words is found at this depth and none before, and no sequence with an error enters the shards
    of a build that checks as deeply; no `Payload` has run."""
    for shallower in DEPTHS[: DEPTHS.index(depth)]:
        assert errors(dataset, root, shallower, packs) == []
    found = errors(dataset, root, depth, packs)
    assert any(words in what for what in found), found
    assert depth == "layout" or not [
        key for key in built(dataset, root, depth, packs) if f" | {key}: " in "".join(found)
    ]
    assert not MARK.exists()


def built(dataset: str, root: Path, check: Any, packs: Path | None = None) -> list[str]:
    """Keys of the sequences that a build takes."""
    with tempfile.TemporaryDirectory() as out, suppress(DatasetLayoutError):
        report = build_shards([dataset], root, Path(out, "shards"), packs=packs, check=check)
        return [entry.key for entry in report.index.sequences]
    return []
