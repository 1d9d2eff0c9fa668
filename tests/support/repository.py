"""Where things of this repository lie."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests"
SUPPORT = Path(__file__).parent
"""Modules that tests import by their bare names; processes that a test starts find them through PYTHONPATH."""


def find_test(name: str) -> Path:
    """The file of tests with this name. Raises LookupError."""
    for file in TESTS.rglob(name):
        return file
    raise LookupError(f"no file of tests is called {name}")
