"""Permutations of 0 .. n - 1 in constant memory, chosen by a key."""

from __future__ import annotations

import hashlib


def permuted(value: int, size: int, key: tuple[object, ...]) -> int:
    """Image of `value` under a pseudo-random permutation of 0 .. size - 1 that `key` selects, in constant memory.

    A Feistel network on the next even number of bits, with cycle walking for values out of range.
    """
    half = max(1, ((size - 1).bit_length() + 1) // 2)
    mask = (1 << half) - 1
    digest = hashlib.blake2b(repr(key).encode(), digest_size=32).digest()
    rounds = [int.from_bytes(digest[i : i + 8], "little") for i in range(0, 32, 8)]
    while True:
        left, right = value >> half, value & mask
        for constant in rounds:
            left, right = right, left ^ (_mix(right ^ constant) & mask)
        value = (left << half) | right
        if value < size:
            return value


def _mix(value: int) -> int:
    """The finaliser of SplitMix64: every output bit depends on every input bit."""
    value &= 0xFFFFFFFFFFFFFFFF
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 & 0xFFFFFFFFFFFFFFFF
    value = (value ^ (value >> 27)) * 0x94D049BB133111EB & 0xFFFFFFFFFFFFFFFF
    return value ^ (value >> 31)
