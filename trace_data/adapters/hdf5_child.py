"""Reads arrays of one HDF5 file and writes them to stdout; run by `hdf5.py` in a process of its own, with limits.

A script rather than a module: it starts without importing the package.
"""

from __future__ import annotations

import json
import resource
import sys
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt


def main(file: str, most: int, memory: int, seconds: int, keys: list[str]) -> None:
    """Write a line of JSON and an `.npz`. The line: names in the file, and what is wrong with which key."""
    for kind, limit in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_CPU, seconds), (resource.RLIMIT_CORE, 0)):
        _, hard = resource.getrlimit(kind)
        resource.setrlimit(kind, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))
    arrays: dict[str, npt.NDArray[Any]] = {}
    refused: dict[str, tuple[str, str]] = {}
    with h5py.File(file, "r", locking=False) as content:
        names = [ascii(name)[1:-1] for name, _ in zip(content, range(100))]
        for key in keys:
            if key in content:
                found = array_or_why_not(content, key, most)
                if isinstance(found, tuple):
                    refused[key] = found
                else:
                    arrays[key] = found
    sys.stdout.buffer.write(json.dumps({"names": names, "refused": refused}).encode() + b"\n")
    np.savez(sys.stdout.buffer, **arrays)  # type: ignore[arg-type]


def array_or_why_not(content: h5py.File, key: str, most: int) -> npt.NDArray[Any] | tuple[str, str]:
    """The numbers of a dataset, or what was found and what is expected instead."""
    found = content[key] if isinstance(content.get(key, getlink=True), h5py.HardLink) else None
    if not isinstance(found, h5py.Dataset) or found.external or found.is_virtual:
        return "lies in another file", "an array of its own"
    if found.size is None or found.size > most:
        return f"has {found.size or 0:,} numbers", f"at most {most:,}"
    array = np.asarray(found[()])
    return array if array.dtype.kind in "biuf" else (f"is of type {array.dtype}", "numbers")


if __name__ == "__main__":
    try:
        most, memory, seconds = map(int, sys.argv[2:5])
        main(sys.argv[1], most, memory, seconds, sys.argv[5:])
    except BaseException as error:  # noqa: BLE001  whatever it is, the file is not read
        words = "it asks for more memory than its size allows" if isinstance(error, MemoryError) else str(error)
        sys.stdout.buffer.write(json.dumps({"error": words[:200]}).encode() + b"\n")
