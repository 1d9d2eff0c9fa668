"""Focal losses of the centre maps, numerically stable for logits, clamped for released weights.

Source: docs/reference/training.md#centre-map-losses.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from trace_train.losses.reduce import Term, masked

CLAMP = 1e-3
"""Raw outputs are clamped to [CLAMP, 1 - CLAMP] as probabilities; outside, the logarithm has no gradient."""


def focal(found: Tensor, heat: Tensor, frame_mask: Tensor, *, logits: bool = True) -> Term:
    """Penalty-reduced focal loss, alpha 2 and beta 4, over maps (N, ...); one value per frame, `frame_mask` (N,).

    Positives are the cells with heat exactly 1. In a frame without positives the sum over negatives is not divided.
    `found` holds logits, or raw values as predicted by released weights.
    """
    found, heat = found.to(torch.promote_types(found.dtype, torch.float32)).flatten(1), heat.flatten(1)
    if logits:
        p, log_yes, log_no = found.sigmoid(), F.logsigmoid(found), F.logsigmoid(-found)
    else:
        p, inside = found, found.clamp(CLAMP, 1 - CLAMP)
        log_yes, log_no = inside.log(), (1 - inside).log()
    positive = heat >= 1
    hit = torch.where(positive, log_yes * (1 - p).square(), torch.zeros_like(p))
    miss = torch.where(positive, torch.zeros_like(p), log_no * p.square() * (1 - heat) ** 4)
    per_frame = -(hit + miss).sum(1) / positive.sum(1).clamp_min(1)
    return masked(per_frame, frame_mask)
