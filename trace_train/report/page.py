"""The report as one self-contained HTML file."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from importlib.metadata import version
from pathlib import Path

from trace_data.pages.document import document, write_document
from trace_data.pages.html import Html, element, joined

STYLE = "page.css"


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A part of the page under its own heading."""

    title: str
    body: Html


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Content of the page. Sections without a body are left out."""

    title: str
    badges: Sequence[tuple[str, str]] = ()
    """Texts next to the title and their classes: `synthetic`, `good`, `open`."""
    notes: Sequence[object] = ()
    """Paragraphs under the title."""
    facts: Sequence[tuple[str, object]] = ()
    """Key facts: name and value."""
    sections: Sequence[Section] = ()


def write_page(path: Path, page: Page) -> int:
    """Write the page to `path` atomically. Returns its size in bytes. Raises OutputError."""
    return write_document(path, page_text(page), hint="name another place with --page")


def page_text(page: Page) -> str:
    """The whole page."""
    style = resources.files("trace_train.report").joinpath(STYLE).read_text(encoding="utf-8")
    badges = joined((element("span", words, style=f"badge {kind}") for words, kind in page.badges), " ")
    facts = joined(element("div", element("dt", name), element("dd", answer)) for name, answer in page.facts)
    sections = joined(
        (element("section", element("h2", one.title), one.body) for one in page.sections if one.body), "\n"
    )
    header = element(
        "header",
        element("h1", page.title, " ", badges),
        *(element("p", note, style="lead") for note in page.notes),
        element("dl", facts) if facts else "",
    )
    body = joined((header, sections, element("footer", element("p", _drawn_with()))), "\n")
    return document(page.title, body, style=style)


def _drawn_with() -> str:
    versions = ", ".join(f"{name} {version(name)}" for name in ("trace-5d", "torch", "numpy"))
    return f"Drawn by trace report with Python {platform.python_version()}, {versions}."
