"""Reads the bytes of a pickle sequentially; only a piece of a large file is in memory at a time."""

from __future__ import annotations

from collections.abc import Callable

from trace_data.progress import counted

CHUNK = 1 << 20
"""Number of bytes fetched at a time."""
More = Callable[[int], bytes]
"""Returns the requested number of further bytes, fewer only at the end."""


class Malformed(Exception):
    """The bytes are not a readable pickle. Converted to an AssetError where the file name is known."""


class Pieces:
    """Reads `data` from byte `at`, followed by the bytes from `more`, `length` bytes in total (default: only `data`).

    Positions in `data` shift when further bytes are fetched; `gone`: number of bytes released before its start.
    """

    def __init__(self, data: bytes, at: int, more: More | None, length: int | None) -> None:
        self.data, self.at, self.gone = data, at, 0
        self.more, self.length = more, len(data) if length is None else length

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        end = self.at + count
        if count < 0 or end > len(self.data):
            if count < 0 or self.gone + end > self.length or not self.fetched(count):
                raise Malformed(
                    f"ends in the middle: {counted(count, 'byte')} announced at byte {self.gone + self.at:,} of "
                    f"{self.length:,}"
                    if self.length
                    else "is empty"
                )
            end = count
        chunk, self.at = self.data[self.at : end], end
        return chunk

    def fetched(self, count: int) -> bool:
        """Release the bytes read and fetch at least `count` more; returns whether there were enough."""
        if self.more is None:
            return False
        left = len(self.data) - self.at
        self.data = self.data[self.at :] + self.more(max(count - left, CHUNK))
        self.gone, self.at = self.gone + self.at, 0
        return len(self.data) >= count

    def line(self) -> bytes:
        """The bytes up to the next line feed, which is skipped."""
        end = self.data.find(b"\n", self.at)
        while end < 0:
            held = len(self.data) - self.at
            if not self.fetched(held + 1):
                raise Malformed(f"ends in the middle of the line at byte {self.gone + self.at:,}")
            end = self.data.find(b"\n", held)
        chunk, self.at = self.data[self.at : end], end + 1
        return chunk


def copied_as_text(data: bytes) -> bool:
    """Whether every line feed follows a carriage return, as in a binary file copied in text mode."""
    feeds = data.count(b"\n")
    return feeds > 4 and feeds == data.count(b"\r\n")
