"""What can be drawn."""

from __future__ import annotations

from collections.abc import Sequence

from trace_data.errors import ConfigError, nearest

ITEMS = {
    "overlay": "bodies on the picture",
    "ids": "a box and the identity of everybody",
    "skeleton": "the 44 joints",
    "bird": "the world from above, with the camera",
    "side": "the world from the side",
}


def items_of(text: str, *, where: str = "--draw") -> tuple[str, ...]:
    """The items of a list such as `overlay,ids`, in the order of `ITEMS`. Raises ConfigError."""
    wanted = {part.strip() for part in text.split(",") if part.strip()}
    for item in sorted(wanted - set(ITEMS)):
        close = nearest(item, ITEMS)
        raise ConfigError(
            f"cannot draw {item!r}, expected some of: {', '.join(ITEMS)}",
            where=where,
            hint=f"did you mean {close}?" if close else None,
        )
    if not wanted:
        raise ConfigError(f"nothing to draw, expected some of: {', '.join(ITEMS)}", where=where)
    return tuple(item for item in ITEMS if item in wanted)


def needs_body(items: Sequence[str]) -> bool:
    """Whether a body model is needed."""
    return "overlay" in items
