"""Reads the page of a run's report as a browser would, and checks that it is closed in itself."""

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
        self.words = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert tag in VOID or self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words += f"{data} "


def page_of(run: Path, **settings: Any) -> tuple[str, Checker]:
    result = write_report(run, **settings)
    text = result.report.read_text(encoding="utf-8")
    assert result.bytes == len(text.encode())
    checker = Checker()
    checker.feed(text)
    assert checker.open == []
    assert not checker.tags & {"script", "link", "iframe"}
    assert all(address.startswith("data:image/") for address in checker.addresses)
    assert not re.search(r"https?://|@import|url\(", text)
    return text, checker
