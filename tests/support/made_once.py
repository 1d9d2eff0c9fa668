"""Datasets of rendered frames, which are drawn once in a process, and written again for each test that changes them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, wraps
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any


def made_once(write: Callable[..., Path]) -> Callable[..., Path]:
    """`write(root, *given)`, whose files are kept in memory for each `given`; it returns its folder below `root`."""

    @cache
    def content(*given: Any) -> tuple[str, dict[Path, bytes]]:
        with TemporaryDirectory() as root:
            folder = write(Path(root), *given)
            files = {file.relative_to(root): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
            return folder.name, files

    @wraps(write)
    def copied(root: Path, *given: Any) -> Path:
        name, files = content(*given)
        for file, data in files.items():
            (root / file).parent.mkdir(parents=True, exist_ok=True)
            (root / file).write_bytes(data)
        return root / name

    return copied
