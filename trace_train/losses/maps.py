"""Focal losses of the centre maps (fact sheet training.md, 1.5), in the numerically stable form for logits."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from trace_train.losses.reduce import Term, masked


def focal(logits: Tensor, heat: Tensor, frame_mask: Tensor) -> Term:
    """Penalty-reduced focal loss, alpha 2 and beta 4, over maps (N, ...); one value per frame, `frame_mask` (N,).

    Positives are the cells whose heat is exactly 1. A frame without positives counts its negatives undivided.
    """
    logits, heat = logits.float().flatten(1), heat.flatten(1)
    p = logits.sigmoid()
    positive = heat >= 1
    hit = torch.where(positive, F.logsigmoid(logits) * (1 - p).square(), torch.zeros_like(p))
    miss = torch.where(positive, torch.zeros_like(p), F.logsigmoid(-logits) * p.square() * (1 - heat) ** 4)
    per_frame = -(hit + miss).sum(1) / positive.sum(1).clamp_min(1)
    return masked(per_frame, frame_mask)
