"""HTML elements. Anything that is not `Html` is escaped as text, so that names from files cannot become markup."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

import numpy as np
import numpy.typing as npt

from trace_data.drawing import data_uri


class Html(str):
    """Trusted markup."""

    __slots__ = ()


def text(value: object) -> Html:
    """The value as markup: unchanged if it is `Html`, else escaped."""
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
    """A less prominent paragraph."""
    return element("p", words, style="note")


def table(head: Sequence[object], rows: Iterable[Sequence[object]], *, style: str = "") -> Html:
    """A table that scrolls horizontally if too wide; the first cell of a row is its header."""
    titles = element("thead", element("tr", *(element("th", cell) for cell in head))) if head else Html()
    lines = [element("tr", element("th", row[0]), *(element("td", cell) for cell in row[1:])) for row in rows]
    return element("div", element("table", titles, element("tbody", *lines), style=style), style="scroll")


def figure(caption: object, content: object, *, under: bool = False) -> Html:
    """Content with its caption above, or `under` it."""
    words = element("figcaption", caption)
    return element("figure", content, words) if under else element("figure", words, content)


def image(picture: npt.NDArray[np.uint8], describe: str, *, quality: int = 85) -> Html:
    """An inlined RGB picture (H, W, 3); `describe`: its alternative text."""
    return Html(f'<img alt="{escape(describe, quote=True)}" src="{data_uri(picture, quality=quality)}">')


def folded(summary: object, *content: object) -> Html:
    """Collapsible content."""
    return element("details", element("summary", summary), *content)
