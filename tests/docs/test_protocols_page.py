"""docs/protocols.md and docs/published-numbers.md say what the data say."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
from protocol_differences import table
from pydantic import BaseModel
from repository import ROOT

from trace_train.protocols.loading import protocols
from trace_train.protocols.protocol import Protocol

PAGE = (ROOT / "docs/protocols.md").read_text(encoding="utf-8")


def test_every_protocol_and_every_key_is_on_the_page() -> None:
    keys = []
    for name, field in Protocol.model_fields.items():
        part = field.annotation
        inner = part.model_fields if isinstance(part, type) and issubclass(part, BaseModel) else None
        keys += [name] if inner is None else [f"{name}.{key}" for key in inner]
    for word in [*protocols(), *keys]:
        assert f"`{word}`" in PAGE, word


def test_the_published_numbers_are_those_of_the_data() -> None:
    spec = importlib.util.spec_from_file_location("published_page", ROOT / "tools/published_numbers_page.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.PAGE.read_text(encoding="utf-8") == module.page(), "run python tools/published_numbers_page.py"


@pytest.mark.slow
def test_the_differences_are_those_of_the_code(packs: Path) -> None:
    """Within one in the last digit: another processor adds up in another order."""
    torch.set_num_threads(1)
    found, shown = table(packs), PAGE.splitlines()
    first = shown.index(found[0])
    for line, expected in zip(shown[first : first + len(found)], found, strict=True):
        for a, b in zip(line.split("|"), expected.split("|"), strict=True):
            try:
                assert float(a) == pytest.approx(float(b), abs=1.1 * 10 ** -len(a.strip().partition(".")[2]))
            except ValueError:
                assert a == b
