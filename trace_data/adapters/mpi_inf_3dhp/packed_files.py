"""The .npz files packed by the published code: dictionaries in object arrays, read with the restricted unpickler."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from trace_data.adapters.mpi_inf_3dhp.facts import wrong
from trace_data.errors import AnnotationError, AssetError
from trace_data.unpickle.machine import Each
from trace_data.unpickle.reader import load_npz

LIMIT_BYTES = 64 << 30


def read_packed(file: Path, names: Collection[str], each: Each | None = None) -> dict[str, dict[Any, Any]]:
    """The dictionaries named `names` in the file, an empty one for `synthetic`. Raises AnnotationError.

    The first of `names` must exist. `each` as in `load_npz`.
    """
    try:
        content = load_npz(file, only=names, limit_bytes=LIMIT_BYTES, of_images=True, each=each)
    except AssetError as error:
        raise AnnotationError(error.message, where=error.where or file, hint=error.hint) from error
    first = next(iter(names))
    if first not in content:
        raise wrong(file, first, "is missing", f"the arrays {', '.join(names)}")
    found = {}
    for name, array in content.items():
        value = {} if name == "synthetic" else array.item() if array.shape == () and array.dtype == np.object_ else None
        if not isinstance(value, dict):
            raise wrong(file, name, f"is an array of type {array.dtype} and shape {array.shape}", "a dictionary")
        found[name] = value
    return found
