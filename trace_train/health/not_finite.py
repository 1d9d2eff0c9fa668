"""Saves a batch that gave a non-finite loss or gradient in the run folder, so that it can be replayed.

Two files: `not-finite-step-00000123.pth` with the batch, the origin of its clips, the step and the configuration
(tensors, numbers and text only), and `….safetensors` next to it with the weights at that step.
"""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from trace_data.errors import CheckpointError
from trace_data.files import atomic_write, check_regular, open_regular
from trace_data.schema.clip import ClipRef
from trace_train.config import Config, config_from
from trace_train.losses.objective import LossReport
from trace_train.streaming.batch import Batch
from trace_train.training.hooks import RunSnapshot
from trace_train.weights.checkpoint import first_line

FORMAT_VERSION = 1
NAMED = 4
"""Number of clips named in the error; the file names all."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SavedBatch:
    """Content of such a file."""

    file: Path
    step: int
    """Number of steps taken before it."""
    config: Config
    batch: Batch
    clips: tuple[str, ...]
    """Description of each clip's origin."""
    terms: Mapping[str, float]
    """The loss terms computed in the run."""
    evaluating: tuple[str, ...]
    """Modules in evaluation mode, because they are frozen."""
    still: tuple[str, ...]
    """Parameters without gradient."""
    weights: Mapping[str, Tensor] | None
    """State of the network; None if the disk was too full to save it."""
    shards: str
    """Location of the shards."""


def clip_names(snapshot: RunSnapshot, batch: Batch) -> list[str]:
    """A description of each clip, such as `3dpw/train/downtown_0, frames 12 to 18 in steps of 2`, with the release's
    frame ids."""
    names = []
    for ref in batch.refs:
        entry = snapshot.stream.reader.index.sequences[ref.sequence]
        ids = entry.clip_ids(ref).tolist()
        every = f" in steps of {ref.stride}" if ref.stride > 1 else ""
        names.append(f"{entry.key}, frames {ids[0]} to {ids[-1]}{every}" if len(ids) > 1 else f"{entry.key} {ids[0]}")
    return names


def keep_batch(snapshot: RunSnapshot, batch: Batch, report: LossReport) -> str:
    """Save the batch in the run folder; return text with its clips and the command that replays it.

    If saving fails, the text says so.
    """
    names = clip_names(snapshot, batch)
    shown = "; ".join(names[:NAMED]) + (f"; and {len(names) - NAMED} more" if len(names) > NAMED else "")
    rank = os.environ.get("RANK", "0")
    file = snapshot.run / f"not-finite-step-{snapshot.step:08d}{'' if rank == '0' else f'-rank{rank}'}.pth"
    content = {
        "format_version": FORMAT_VERSION,
        "step": snapshot.step,
        "config": snapshot.loss_module.config.model_dump(mode="json"),  # with the settings of this stage
        "evaluating": [name for name, module in snapshot.loss_module.named_modules() if not module.training],
        "still": [name for name, weight in snapshot.loss_module.named_parameters() if not weight.requires_grad],
        "shards": snapshot.stream.reader.store.where,
        "clips": names,
        "terms": {name: value.item() for name, value in report.values.items()},
        "rng": torch.get_rng_state(),
        "batch": _plain(batch),
    }
    try:
        with atomic_write(file) as partial:
            torch.save(content, partial)
    except (OSError, RuntimeError) as error:
        return f"clips: {shown}\n  the batch could not be kept: {str(error).splitlines()[0]}"
    network = snapshot.loss_module.network.state_dict()
    state = {name: value.detach().cpu().contiguous() for name, value in network.items()}
    note = ""
    try:
        with atomic_write(file.with_suffix(".safetensors")) as partial:
            safetensors.torch.save_file(state, partial)
    except (OSError, RuntimeError, safetensors.SafetensorError):
        note = "  (without the weights, for which there was no room: the last checkpoint's are taken)"
    return f"clips: {shown}\n  trace train --replay {file}  runs this batch again and says where it begins{note}"


def _plain(batch: Batch) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for item in fields(batch):
        value = getattr(batch, item.name)
        if isinstance(value, Tensor):
            content[item.name] = value.detach().cpu()
        elif isinstance(value, Mapping):
            content[item.name] = {name: tensor.detach().cpu() for name, tensor in value.items()}
    content["refs"] = [[ref.sequence, ref.start, ref.stride, ref.length] for ref in batch.refs]
    content["occluded"] = list(batch.occluded)
    return content


def load_batch(file: Path) -> SavedBatch:
    """Read such a file; only tensors, numbers and text are allowed in it. Raises CheckpointError."""
    try:
        with open_regular(file) as stream:
            content = torch.load(stream, map_location="cpu", weights_only=True)
        if content["format_version"] != FORMAT_VERSION:
            raise CheckpointError(
                f"has format {content['format_version']}, this version reads {FORMAT_VERSION}", where=file
            )
        values = dict(content["batch"])
        values["refs"] = tuple(
            ClipRef(sequence=sequence, start=start, stride=stride, length=length)
            for sequence, start, stride, length in values["refs"]
        )
        values["occluded"] = tuple(values["occluded"])
        beside = file.with_suffix(".safetensors")
        if beside.exists():
            check_regular(beside)
        return SavedBatch(
            file=file,
            step=int(content["step"]),
            config=config_from(content["config"], origin=str(file)),
            batch=Batch(**values),
            clips=tuple(content["clips"]),
            terms=dict(content["terms"]),
            evaluating=tuple(content["evaluating"]),
            still=tuple(content["still"]),
            weights=safetensors.torch.load_file(beside) if beside.exists() else None,
            shards=str(content["shards"]),
        )
    except FileNotFoundError as error:
        raise CheckpointError(
            "there is no such file", where=file, hint="name a not-finite-step-….pth of a run"
        ) from error
    except (
        OSError, RuntimeError, EOFError, KeyError, TypeError, ValueError, pickle.UnpicklingError, zipfile.BadZipFile,
        safetensors.SafetensorError,
    ) as error:  # fmt: skip
        raise CheckpointError(f"is not a saved batch: {first_line(error)}", where=file) from error
