"""Work done without the rights of root."""

from __future__ import annotations

import ctypes
import multiprocessing
import sys
from collections.abc import Callable
from typing import Any

import pytest


def without_rights(work: Callable[[], Any]) -> Any:
    """What `work` returns in a process that may do what the modes of files let their owner do, even as root."""

    def child(pipe: Any) -> None:
        # capset(2) of the header of version 3 for this process, and nothing in any set
        assert ctypes.CDLL(None).capset((ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()) == 0
        pipe.send(work())

    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=child, args=(theirs,))
    process.start()
    theirs.close()
    try:
        return ours.recv()
    finally:
        process.join()


linux = pytest.mark.skipif(sys.platform != "linux", reason="drops the capabilities of Linux")
