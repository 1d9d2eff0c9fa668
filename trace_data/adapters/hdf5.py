"""Numeric arrays of HDF5 files that others wrote, such as MATLAB's version 7.3.

The HDF5 library trusts what a file says of itself: a damaged or hostile one can crash the process, never end, or take
all memory. So it runs in a child process with limits, and a bad file costs an error that names it.
"""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trace_data.adapters.files import refused
from trace_data.errors import AnnotationError
from trace_data.files import open_regular
from trace_data.text_files import parse_json

MOST_NUMBERS = 10_000_000
"""Numbers of an array; the largest of the test set of MPI-INF-3DHP has 0.3 million."""
MEMORY, SECONDS = 3 << 30, 20
"""Address space and CPU time of the child; numpy and HDF5 alone take 0.5 GiB of the former."""
_CHILD = Path(__file__).with_name("hdf5_child.py")
_SINGLE = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class Hdf5Arrays:
    """Arrays of a file by name."""

    def __init__(
        self, file: Path, names: tuple[str, ...], arrays: dict[str, npt.NDArray[Any]], wrong: dict[str, Any]
    ) -> None:
        """`names`: all in the file; `arrays`: those asked for; `wrong`: those that are there and are no array."""
        self.file, self.names = file, names
        self._arrays, self._wrong = arrays, wrong

    def __contains__(self, key: str) -> bool:
        return key in self._arrays or key in self._wrong

    def __getitem__(self, key: str) -> npt.NDArray[Any]:
        """Raises AnnotationError when it is missing or no array of numbers."""
        if key in self._arrays:
            return self._arrays[key]
        found, expected = self._wrong.get(key, ("is missing", f"one of the file's names: {', '.join(self.names)}"))
        raise AnnotationError(f"{key} {found}, expected {expected}", where=self.file)


def read_hdf5(file: Path, keys: Sequence[str], *, hint: str) -> Hdf5Arrays:
    """Read arrays; files read last are remembered. Raises AnnotationError when it is missing or no whole HDF5 file.

    The message calls it a MATLAB file, as which people have it.
    """
    try:
        state = file.stat()
        open_regular(file).close()
    except OSError as error:
        raise refused(error, file) from error
    return _read(file, tuple(keys), hint, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=8)
def _read(file: Path, keys: tuple[str, ...], hint: str, changed: int, size: int) -> Hdf5Arrays:
    limits = map(str, (MOST_NUMBERS, MEMORY, SECONDS))
    command = [sys.executable, "-I", str(_CHILD), str(file.absolute()), *limits, *keys]
    why = ""
    try:
        done = subprocess.run(command, capture_output=True, timeout=10 * SECONDS, env={**os.environ, **_SINGLE})
        head, _, rest = done.stdout.partition(b"\n")
        if done.returncode < 0:
            why = f"reading it ended the library ({signal.Signals(-done.returncode).name})"
        elif done.returncode or not head:
            why = f"reading it ended with code {done.returncode}"
        else:
            said = parse_json(head, where=file, error=AnnotationError)
            why = said.get("error", "")
    except subprocess.TimeoutExpired:
        why = "reading it does not end"
    if why:
        raise AnnotationError(f"{size:,} bytes that are no whole MATLAB file (HDF5): {why}", where=file, hint=hint)
    with np.load(io.BytesIO(rest), allow_pickle=False) as found:
        arrays = {key: found[key] for key in found.files}
    return Hdf5Arrays(file, tuple(said["names"]), arrays, said["refused"])
