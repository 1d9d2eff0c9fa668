"""The bytes of a pickle, taken from front to back; of a large file only a piece is in memory at a time."""

from __future__ import annotations

from collections.abc import Callable

CHUNK = 1 << 20
"""Bytes that are fetched at once."""
More = Callable[[int], bytes]
"""Gives so many further bytes, fewer only at the end."""


class Malformed(Exception):
    """The bytes are no pickle we can read. Turned into an AssetError where the file's name is known."""


class Pieces:
    """`data`, read from byte `at` on, and what `more` gives after it: `length` bytes in all, else those of `data`.

    Positions in `data` move when further bytes are fetched; `gone` is how many were let go before its first.
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
                    f"ends in the middle: {count:,} bytes are announced at byte {self.gone + self.at:,} of "
                    f"{self.length:,}"
                )
            end = count
        chunk, self.at = self.data[self.at : end], end
        return chunk

    def fetched(self, count: int) -> bool:
        """Let go of what was read and fetch at least `count` bytes in its place; whether there were so many."""
        if self.more is None:
            return False
        left = len(self.data) - self.at
        self.data = self.data[self.at :] + self.more(max(count - left, CHUNK))
        self.gone, self.at = self.gone + self.at, 0
        return len(self.data) >= count

    def line(self) -> bytes:
        """The bytes up to the next line feed, which is passed over."""
        end = self.data.find(b"\n", self.at)
        while end < 0:
            held = len(self.data) - self.at
            if not self.fetched(held + 1):
                raise Malformed(f"ends in the middle of the line at byte {self.gone + self.at:,}")
            end = self.data.find(b"\n", held)
        chunk, self.at = self.data[self.at : end], end + 1
        return chunk


def copied_as_text(data: bytes) -> bool:
    """Whether every line feed stands behind a carriage return, as where a binary file was copied as text."""
    feeds = data.count(b"\n")
    return feeds > 4 and feeds == data.count(b"\r\n")
