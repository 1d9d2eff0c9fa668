"""Descriptions of a run's training data and hardware, stored in its checkpoints."""

from __future__ import annotations

import os

import torch

from trace_data.shards.entries import ShardIndex


def training_data(index: ShardIndex) -> str:
    """`3dpw: 24 sequences, 22,735 frames; …` of the training split."""
    frames: dict[str, list[int]] = {}
    for entry in index.sequences:
        if entry.split == "train":
            frames.setdefault(entry.dataset, []).append(entry.frames)
    words = [f"{name}: {len(each):,} sequences, {sum(each):,} frames" for name, each in frames.items()]
    return "; ".join(words) + (" (synthetic)" if index.synthetic and words else "")


def hardware(device: torch.device, processes: int) -> str:
    """`4 × NVIDIA H100` or `2 CPU cores`: one device per training process."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        return f"{processes} × {name}" if processes > 1 else name
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return f"{processes} processes on {cores} CPU cores" if processes > 1 else f"{cores} CPU cores"
