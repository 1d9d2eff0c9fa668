"""Pickles of protocol 0 as Python 2 wrote them, made by hand: text, with every array as one escaped string."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np


def array(values: np.ndarray) -> bytes:
    """A numpy array in C order."""
    code = values.dtype.str[1:].encode()
    shape = b"".join(b"I%d\n" % side for side in values.shape)
    kind = b"cnumpy\ndtype\n(S'%s'\nI0\nI1\ntR(I3\nS'<'\nNNNI-1\nI-1\nI0\ntb" % code
    head = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\n(" + shape + b"t"
    return head + kind + b"I00\nS" + repr(values.tobytes())[1:].encode() + b"\ntb"


def dictionary(items: Mapping[str, bytes]) -> bytes:
    """A dictionary of parts that are written already."""
    return b"(d" + b"".join(b"S'%s'\n%ss" % (key.encode(), value) for key, value in items.items())


def instance(module: str, name: str, state: Mapping[str, bytes], protocol: int = 0) -> bytes:
    """An object with its state, the class made as protocol 0 and 1 or as protocol 2 makes it."""
    cls = f"c{module}\n{name}\n".encode()
    made = cls + b")\x81" if protocol == 2 else b"ccopy_reg\n_reconstructor\n(" + cls + b"c__builtin__\nobject\nNtR"
    return made + dictionary(state) + b"b"


def chumpy(values: np.ndarray, protocol: int = 0) -> bytes:
    """What `chumpy.array(values)` left in a file."""
    return instance("chumpy.ch", "Ch", {"x": array(values), "_dirty_vars": b"c__builtin__\nset\n((ltR"}, protocol)


def sparse(values: np.ndarray) -> bytes:
    """What `scipy.sparse.csc_matrix(values)` left in a file."""
    columns, rows = np.nonzero(values.T)
    starts = np.searchsorted(columns, np.arange(values.shape[1] + 1)).astype(np.int32)
    parts = {"data": values[rows, columns], "indices": rows.astype(np.int32), "indptr": starts}
    shape = b"(I%d\nI%d\nt" % values.shape
    state = {name: array(part) for name, part in parts.items()} | {"_shape": shape, "format": b"S'csc'\n"}
    return instance("scipy.sparse.csc", "csc_matrix", state)
