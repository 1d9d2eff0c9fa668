"""Where things of this repository lie."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
SUPPORT = Path(__file__).parent
"""Modules that tests import by their bare names; processes that a test starts find them through PYTHONPATH."""
