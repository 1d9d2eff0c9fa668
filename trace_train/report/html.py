"""Pieces of HTML. What is not `Html` already is text and gets escaped, so that no name from a file becomes markup."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

import numpy as np
import numpy.typing as npt

from trace_data.drawing import data_uri


class Html(str):
    """Markup that may stand on the page as it is."""

    __slots__ = ()


def text(value: object) -> Html:
    """The value as markup: unchanged when it is some, else escaped."""
    return value if isinstance(value, Html) else Html(escape(str(value), quote=True))


def joined(parts: Iterable[object], between: str = "") -> Html:
    """All parts, one after the other."""
    return Html(between.join(text(part) for part in parts))


def element(name: str, *content: object, style: str = "") -> Html:
    """One element of class `style`."""
    return Html(
        f"<{name}{f' class={chr(34)}{escape(style, quote=True)}{chr(34)}' if style else ''}>{joined(content)}</{name}>"
    )


def note(words: object) -> Html:
    """A paragraph of less weight."""
    return element("p", words, style="note")


def table(head: Sequence[object], rows: Iterable[Sequence[object]], *, style: str = "") -> Html:
    """A table that scrolls sideways where it does not fit; the first cell of a row is its name."""
    titles = element("thead", element("tr", *(element("th", cell) for cell in head))) if head else Html()
    lines = [element("tr", element("th", row[0]), *(element("td", cell) for cell in row[1:])) for row in rows]
    return element("div", element("table", titles, element("tbody", *lines), style=style), style="scroll")


def figure(caption: object, content: object, *, under: bool = False) -> Html:
    """Something to look at with its name over it, or `under` it."""
    words = element("figcaption", caption)
    return element("figure", content, words) if under else element("figure", words, content)


def image(picture: npt.NDArray[np.uint8], describe: str, *, quality: int = 85) -> Html:
    """An RGB picture (H, W, 3), inside the page; `describe` is for who does not see it."""
    return Html(f'<img alt="{escape(describe, quote=True)}" src="{data_uri(picture, quality=quality)}">')


def folded(summary: object, *content: object) -> Html:
    """Something that opens when its summary is clicked."""
    return element("details", element("summary", summary), *content)
