"""Stored flow of whole frames, moved into the windows of a clip: what its provider would give on the crops, nearly.

The window of frame t maps a point x of the frame to x' = (x - o_t) k_t of its crop. Flow u(x) from frame t to frame
t + 1 then becomes

    u'(x') = (x + u(x) - o_{t+1}) k_{t+1} - x'

in the crop, exactly: crops of different places and sizes (synthetic cameras), mirrored ones (k < 0 along x). How far
this is from the same provider run on the crops is measured in docs/stored-flow.md#how-near-it-is.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from trace_data.errors import ConfigError, NoStoredFlowError
from trace_data.shards.flow.reader import FlowReader
from trace_data.shards.reader import ShardReader
from trace_train.config import Config
from trace_train.network.flow import MAP_STRIDE, UNIT


def flow_in_crops(
    pairs: Sequence[npt.NDArray[np.float32] | None],
    crop_from_frame: npt.NDArray[np.float64],
    frame: tuple[int, int],
    size: int,
    *,
    continues: bool = False,
) -> Tensor:
    """Flow of a clip as providers give it (`network.flow`): (T, 2, M, M) float32 with M = S / 4, in units of 8 px.

    pairs: of the T frames, (h, w, 2) px of the frame, evenly spread over it, or None: zero. crop_from_frame (T, 3, 3):
    axis-aligned maps between pixel centres. frame: width and height, px. size: S. Outside the frame, the flow at its
    edge continues. `continues`: the frame before the first has the first one's window; else the first has no pair.
    """
    cells = size // MAP_STRIDE
    at = np.linspace(0, size - 1, cells)  # where `to_map` samples a map of the crop
    flow = np.zeros((len(pairs), 2, cells, cells), np.float32)
    for t, pair in enumerate(pairs):
        if pair is None:
            continue
        before = crop_from_frame[max(t - 1, 0)]
        assert t > 0 or continues
        x, y = ((at - before[axis, 2]) / before[axis, axis] for axis in range(2))
        moved = _interpolated(pair, (y + 0.5) * len(pair) / frame[1] - 0.5, axis=0)
        moved = _interpolated(moved, (x + 0.5) * pair.shape[1] / frame[0] - 0.5, axis=1)
        after = crop_from_frame[t]
        flow[t, 0] = (x + moved[..., 0]) * after[0, 0] + after[0, 2] - at
        flow[t, 1] = (y[:, None] + moved[..., 1]) * after[1, 1] + after[1, 2] - at[:, None]
    return torch.from_numpy(flow / np.float32(UNIT))


def _interpolated(values: npt.NDArray[np.float32], at: npt.NDArray[np.float64], axis: int) -> npt.NDArray[np.float32]:
    """Linear interpolation of (h, w, 2) at positions along an axis; the outer values continue."""
    last = values.shape[axis] - 1
    low = np.clip(np.floor(at), 0, max(last - 1, 0)).astype(np.int64)
    share = np.clip(at - low, 0, 1).astype(np.float32).reshape((-1, 1, 1) if axis == 0 else (-1, 1))
    lower, upper = values.take(low, axis), values.take(np.minimum(low + 1, last), axis)
    found: npt.NDArray[np.float32] = lower + share * (upper - lower)
    return found


def with_flow_provider(config: Config, reader: ShardReader) -> Config:
    """With `network.flow: stored`, fill in which provider the shards' flow is by, which the run then keeps.

    Raises NoStoredFlowError when the shards have none, ShardError when strides are missing, ConfigError when it is of
    another provider than the configuration says.
    """
    network = config.network
    if network.flow != "stored":
        return config
    flow = FlowReader(reader)
    settings = flow.index.settings
    if any(stage.frames > 1 for stage in config.stages):
        flow.check_strides(config.data.strides)
    theirs = (settings.provider, settings.iterations or network.flow_iterations)
    ours = (network.flow_provider or settings.provider, network.flow_iterations)
    if theirs != ours:
        raise ConfigError(
            "the shards' flow is by {} ({} iterations), the configuration says {} ({})".format(*theirs, *ours),
            where="network.flow",
            hint="leave network.flow_provider out, or trace add-flow --force with the other provider",
        )
    changed = network.model_copy(update={"flow_provider": settings.provider})
    return config.model_copy(update={"network": changed})


def flow_reader(config: Config, reader: ShardReader) -> FlowReader | None:
    """The shards' flow for whole videos, if the network takes stored flow and they have some by its provider; else
    None, and it is to be computed. Raises ShardError when it is damaged.
    """
    if config.network.flow != "stored":
        return None
    try:
        flow = FlowReader(reader)
    except NoStoredFlowError:
        return None
    settings = flow.index.settings
    return flow if settings.provider == config.network.flow_provider and 1 in settings.strides else None
