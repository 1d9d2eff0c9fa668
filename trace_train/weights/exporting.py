"""Exports weights in the names and layout of the published files, for use with the published code."""

from __future__ import annotations

import io
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from trace_data.errors import CheckpointError, OutputError
from trace_data.files import atomic_write, writable_folder
from trace_train.weights.checkpoint import open_checkpoint
from trace_train.weights.checks import some
from trace_train.weights.flow import flow_folder
from trace_train.weights.folder import DESCRIPTION, Switches, open_weights
from trace_train.weights.published import PARTS, PREFIX, ModelPart, known, needed, table


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedWeights:
    """One file that was written."""

    part: str
    file: Path
    tensors: int
    missing: tuple[str, ...]
    """Published names missing in it; the published loader keeps its own initial values for them."""


def export_weights(source: Path, out: Path, *, force: bool = False) -> tuple[ExportedWeights, ...]:
    """Write a folder of imported weights, or a run or checkpoint, as the published files.

    Raises CheckpointError if the weights do not have the published architecture and form, OutputError if a file exists
    or cannot be written.
    """
    if (source / DESCRIPTION).is_file():
        weights = open_weights(source)
        states = {part: weights.state(part) for part in weights.parts if part in PARTS}
        if not states:
            raise CheckpointError("holds nothing that is published as a file", where=source)
    else:
        states = _of_checkpoint(source)
    targets = {part: out / PARTS[part].file for part in states}
    for file in targets.values():
        if file.exists() and not force:
            raise OutputError("is there already", where=file, hint="--force replaces it, --out names another folder")
    writable_folder(out)
    return tuple(_write(PARTS[part], state, targets[part]) for part, state in states.items())


def _of_checkpoint(source: Path) -> dict[str, dict[str, Tensor]]:
    checkpoint = open_checkpoint(source)
    state = checkpoint.weights()
    states = {
        "image": {name: value for name, value in state.items() if name.startswith("backbone.")},
        "head": {name: value for name, value in state.items() if not name.startswith("backbone.")},
    }
    for name, tensors in states.items():
        part = PARTS[name]
        expected = known(part)
        missing = sorted(needed(part) - tensors.keys())
        wrong = [key for key in tensors if expected.get(key) != tuple(tensors[key].shape)]
        if missing or wrong:
            what = f"lacks {len(missing):,} tensors of {part.what}: {some(missing)}" if missing else ""
            other = f"has {len(wrong):,} tensors of another shape or name: {some(wrong)}" if wrong else ""
            raise CheckpointError(
                " and ".join(filter(None, (what, other))),
                where=checkpoint.folder,
                hint="the published code can only read a network of the published size (preset trace)",
            )
    network = checkpoint.config.network
    forms = [
        f"network.{key} is {getattr(network, key)!r}, not {value!r}"
        for key, value in asdict(Switches()).items()
        if getattr(network, key) != value
    ]
    if forms:
        raise CheckpointError(
            f"holds numbers that the published code would take for others: {', '.join(forms)}",
            where=checkpoint.folder,
            hint="runs that began from an imported head (init.weights) have the published forms and can be exported",
        )
    if flow_folder(checkpoint.run).is_dir():
        states["flow"] = open_weights(flow_folder(checkpoint.run)).state("flow")
    return states


def _write(part: ModelPart, state: Mapping[str, Tensor], file: Path) -> ExportedWeights:
    names = [name for name in known(part) if name in state]
    names += [name for name in state if name not in known(part)]
    prefix = PREFIX if part.parallel else ""
    # saved to memory first, because torch stores the file's name inside the file
    buffer = io.BytesIO()
    torch.save(OrderedDict((prefix + name, state[name].contiguous()) for name in names), buffer)
    try:
        with atomic_write(file) as partial:
            partial.write_bytes(buffer.getvalue())
    except OSError as error:
        raise OutputError(
            f"cannot be written: {error.strerror}", where=file, hint="free some space or choose another --out"
        ) from error
    missing = tuple(name for name in table(part.branch) if name not in state)
    return ExportedWeights(part=part.name, file=file, tensors=len(names), missing=missing)
