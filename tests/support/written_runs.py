"""Writes folders of runs as training leaves them, without weights."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from trace_train.config import load_config


def line(step: int, **more: Any) -> dict[str, Any]:
    loss = {"center_map": 30 / step, "joints3d": 2 / step, "shape": 0.25}
    return {
        "step": step,
        "loss": {**loss, "total": 60 * loss["center_map"] + 300 * loss["joints3d"] + 60 * 0.25},
        "counts": {"center_map": 16, "joints3d": 4711, "shape": 16},
        "gradient_norm": 1234.0 / step,
        "lr": 0.002,
        "clips_per_s": 32.0,
        "data_wait": 0.01,
        **more,
    }


def evaluation(step: int, split: str = "val", mpjpe: float = 131.94) -> dict[str, Any]:
    rows = {
        "model": {"mpjpe": mpjpe, "pa_mpjpe": 99.42, "recall": 0.904},
        "mean pose": {"mpjpe": 268.8, "pa_mpjpe": 93.31, "recall": None},
        "mean pose in the camera": {"mpjpe": 224.3, "pa_mpjpe": 198.9, "recall": None},
    }
    return {"split": split, "step": step, "rows": rows, "protocol": "The protocol.", "people": 5_200, "frames": 36}


def make_run(
    folder: Path, lines: Sequence[dict[str, Any]], evaluations: Sequence[dict[str, Any]] = (), **settings: Any
) -> Path:
    """A run folder as training leaves it, without weights."""
    folder.mkdir(parents=True)
    values = load_config("debug", ["loss.joints3d=300"]).model_dump(mode="json") | {"steps": 40} | settings
    (folder / "config.yaml").write_text(yaml.safe_dump(values))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
    for one in evaluations:
        (folder / f"evaluation-{len(one['split'])}-{one['step']:08d}.json").write_text(json.dumps(one))
    checkpoint = folder / "checkpoints" / "step-00000040"
    checkpoint.mkdir(parents=True)
    facts = {"step": lines[-1]["step"] if lines else 0, "versions": {"torch": "9.9.9"}}
    data = {"shards": str(folder / "gone"), "shards_sha256": "ab" * 32, "packs_sha256": "cd" * 32, "synthetic": True}
    data |= {"trained_on": "4 sequences <of> mine", "hardware": "3 × Abacus"}
    (checkpoint / "checkpoint.json").write_text(json.dumps(facts | {"data": data}))
    return folder
