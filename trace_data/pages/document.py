"""The frame of every page: one self-contained file, in the style that all pages share, dark where the reader's is."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from trace_data.errors import OutputError
from trace_data.files import atomic_write
from trace_data.pages.html import Html, text


def document(title: str, body: Html, *, style: str = "") -> str:
    """The whole page with `body` inside `<main>`. `style`: CSS of this page after that of all pages."""
    shared = resources.files(__package__).joinpath("page.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>{text(title)}</title>"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>\n{shared}{style}</style></head>\n<body><main>\n{body}\n</main></body></html>\n"
    )


def write_document(path: Path, page: str, *, hint: str) -> int:
    """Write a page, whole or not at all; its size in bytes. Raises OutputError with `hint`."""
    content = page.encode(errors="backslashreplace")  # names may hold bytes that are no UTF-8
    try:
        with atomic_write(path) as partial:
            partial.write_bytes(content)
    except OSError as error:
        raise OutputError(f"the page cannot be written: {error.strerror}", where=path, hint=hint) from error
    return len(content)
