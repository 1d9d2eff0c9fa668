"""Reads the pages of runs as a browser would, and checks that they are closed in themselves."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from trace_train.report.run import write_report

VOID = {"meta", "img", "br"}


class Checker(HTMLParser):
    """Collects addresses, tags and text; fails on tags that do not close in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.addresses: list[str] = []
        self.ids: set[str] = set()
        self.words = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.ids |= {value or "" for name, value in attrs if name == "id"}
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert tag in VOID or self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words += f"{data} "


def page_of(run: Path, **settings: Any) -> tuple[str, Checker]:
    """The report of a run, as text and as a browser reads it."""
    result = write_report(run, **settings)
    text = result.report.read_text(encoding="utf-8")
    assert result.bytes == len(text.encode())
    return text, checked(text)


def checked(text: str) -> Checker:
    """A page as a browser reads it. Fails unless it is well-formed and needs nothing but itself."""
    checker = Checker()
    checker.feed(text)
    assert checker.open == []
    assert not checker.tags & {"script", "link", "iframe"}
    places = [address for address in checker.addresses if address.startswith("#")]
    assert all(address.startswith("data:image/") for address in checker.addresses if address not in places)
    assert {place[1:] for place in places} <= checker.ids
    assert not re.search(r"https?://|@import|url\(", text)
    return checker
