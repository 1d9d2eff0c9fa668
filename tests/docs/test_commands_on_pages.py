"""Every `trace …` that a page shows is a command with these options."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from repository import ROOT

from trace_cli.main import COMMANDS, trace

PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted(file for file in (ROOT / "docs").rglob("*.md") if "reference" not in file.parts),
]


def shown(page: Path) -> Iterator[tuple[str, set[str]]]:
    """Commands and their options, from code spans and code blocks; `\\` continues a line."""
    text = page.read_text().replace("\\\n", " ")
    for line in re.findall(r"`([^`\n]*)`|^([^`\n]*)$", text, re.MULTILINE):
        for words in re.findall(r"(?:^|\s)(?:trace|trace_cli) ([a-z][a-z-]+(?: [^#|;]*)?)", "".join(line)):
            name, *rest = words.split()
            if name in COMMANDS:
                yield name, {word.partition("=")[0] for word in rest if re.match(r"--[a-z]", word)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_options_exist(page: Path) -> None:
    for name, options in shown(page):
        command = trace.get_command(click.Context(trace), name)
        assert command is not None
        known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        assert options <= {*known, "--help"}, f"trace {name} has no {', '.join(options - known)}"


def test_pages_show_commands() -> None:
    assert {name for page in PAGES for name, _ in shown(page)} == set(COMMANDS)
