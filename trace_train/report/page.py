"""A page as one self-contained HTML file."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from importlib.metadata import version
from pathlib import Path

from trace_data.pages.document import document, write_document
from trace_data.pages.html import Html, element, joined, text

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
    drawn_by: str = "trace report"
    """The command, for the foot of the page."""


def write_page(path: Path, page: Page) -> int:
    """Write the page to `path` atomically. Returns its size in bytes. Raises OutputError."""
    return write_document(path, page_text(page), hint="name another place with --page")


def page_text(page: Page) -> str:
    """The whole page."""
    style = resources.files("trace_train.report").joinpath(STYLE).read_text(encoding="utf-8")
    badges = joined((element("span", words, style=f"badge {kind}") for words, kind in page.badges), " ")
    facts = joined(element("div", element("dt", name), element("dd", answer)) for name, answer in page.facts)
    shown = [one for one in page.sections if one.body]
    sections = joined((_section(number, one) for number, one in enumerate(shown)), "\n")
    header = element(
        "header",
        element("h1", page.title, " ", badges),
        *(element("p", note, style="lead") for note in page.notes),
        element("dl", facts) if facts else "",
        _contents(shown) if len(shown) > 1 else "",
    )
    body = joined((header, sections, element("footer", element("p", _drawn_with(page.drawn_by)))), "\n")
    return document(page.title, body, style=style)


def _section(number: int, one: Section) -> Html:
    heading = Html(f'<h2 id="part-{number}">{text(one.title)}</h2>')
    return element("section", heading, one.body)


def _contents(sections: Sequence[Section]) -> Html:
    """Links to the sections."""
    links = (Html(f'<a href="#part-{number}">{text(one.title)}</a>') for number, one in enumerate(sections))
    return Html(f'<nav aria-label="contents">{joined(links, " ")}</nav>')


def _drawn_with(command: str) -> str:
    versions = ", ".join(f"{name} {version(name)}" for name in ("trace-5d", "torch", "numpy"))
    return f"Drawn by {command} with Python {platform.python_version()}, {versions}."
