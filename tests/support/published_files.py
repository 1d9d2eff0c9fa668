"""Released checkpoints with random numbers: every name, shape and type of the table, in the published layout."""

from __future__ import annotations

import io
from collections import OrderedDict
from pathlib import Path

import torch
from torch import Tensor

from trace_train.weights.published import PARTS, PREFIX, known

BODY = "_result_parser."
"""Buffers of body models: large, so only one of them is in these files."""


def random_state(part: str) -> OrderedDict[str, Tensor]:
    """All tensors of a part, in the table's order, under the published names."""
    torch.manual_seed(sorted(PARTS).index(part))
    state: OrderedDict[str, Tensor] = OrderedDict()
    for name, shape in known(PARTS[part]).items():
        if name.startswith(BODY) and not name.endswith("lbs_weights"):
            continue
        counter = name.endswith("num_batches_tracked")
        prefix = PREFIX if PARTS[part].parallel else ""
        state[prefix + name] = torch.randint(0, 99, shape) if counter else torch.empty(shape).uniform_(-1, 1)
        if name.endswith("running_var"):
            state[prefix + name].abs_()
    return state


def save(state: object, path: Path, *, zipped: bool = True) -> Path:
    """`torch.save`, the same bytes for the same values."""
    buffer = io.BytesIO()
    torch.save(state, buffer, _use_new_zipfile_serialization=zipped)
    path.write_bytes(buffer.getvalue())
    return path
