"""Checks that a weights file is the expected one, complete and of the right size; errors name the best match."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from trace_data.errors import CheckpointError
from trace_train.weights.published import PARTS, PREFIX, ModelPart, TensorUse, fate, known, needed, table

Array = npt.NDArray[Any]
WIDTH_OF = "backbone.stage4.0.branches.0.0.conv1.weight"
"""The tensor whose first side is the width of an HRNet."""
SHOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Checked:
    """A file's tensors after comparison with the table."""

    tensors: dict[str, Array]
    """By name without prefix, in the table's order, float32 and int64."""
    prefixed: bool
    """Whether the names had DataParallel's prefix."""
    fates: dict[str, TensorUse]
    """Use of each tensor."""
    missing: tuple[str, ...]
    """Known names that are missing but not needed."""
    converted: int
    """Number of tensors converted from another element type."""


def check(
    part: ModelPart, tensors: Mapping[str, Array], *, where: str, option: str, allow_unexpected: bool = False
) -> Checked:
    """Compare the tensors given by `option` with the table. Raises CheckpointError on any mismatch."""
    names, prefixed = _without_prefix(tensors, where)
    _right_file(part, names.keys(), where, option)
    expected = known(part)
    unexpected = [name for name in names if name not in expected]
    if unexpected and not allow_unexpected:
        raise CheckpointError(
            f"holds {count(len(unexpected), 'tensor')} that {part.file} does not have: {some(unexpected)}",
            where=where,
            hint="--allow-unexpected keeps them beside the others; nothing here will use them",
        )
    _right_shapes(part, names, where)
    missing = sorted(needed(part) - names.keys())
    if missing:
        raise CheckpointError(
            f"lacks {len(missing):,} of the {len(needed(part)):,} tensors that {part.what} needs: {some(missing)}",
            where=where,
            hint=f"get {part.file} again; part of a checkpoint is no checkpoint",
        )
    out, converted = {}, 0
    for name in [*(name for name in expected if name in names), *unexpected]:
        array = names[name]
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise CheckpointError(f"{name} has values that are not finite", where=where, hint="get the file again")
        if name.endswith("running_var") and (array < 0).any():
            raise CheckpointError(
                f"{name} has variances below zero, which no training gives", where=where, hint="get the file again"
            )
        wanted = np.dtype(np.float32 if array.dtype.kind == "f" else np.int64)
        converted += array.dtype != wanted
        out[name] = np.ascontiguousarray(array, wanted).reshape(array.shape)
    return Checked(
        tensors=out,
        prefixed=prefixed,
        fates={name: fate(part, name) for name in out},
        missing=tuple(name for name in table(part.branch) if name not in names),
        converted=converted,
    )


def count(number: int, noun: str) -> str:
    """`1 tensor`, `12 tensors`."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


def some(names: Iterable[str]) -> str:
    """The first few of many names."""
    names = list(names)
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more:,} more" if more > 0 else "")


def _without_prefix(tensors: Mapping[str, Array], where: str) -> tuple[dict[str, Array], bool]:
    marked = sum(name.startswith(PREFIX) for name in tensors)
    if 0 < marked < len(tensors):
        raise CheckpointError(
            f"{marked:,} of {count(len(tensors), 'name')} begin with {PREFIX!r}: half of a DataParallel prefix",
            where=where,
            hint="two checkpoints were mixed; save model.module.state_dict() anew, or get the published file",
        )
    return {name.removeprefix(PREFIX): array for name, array in tensors.items()}, marked > 0


def _right_file(part: ModelPart, names: Iterable[str], where: str, option: str) -> None:
    there = set(names)
    if "cam_rot_head.3.weight" in there and part.name == "head":
        raise CheckpointError(
            "has three blocks in cam_rot_head, as the published training configuration makes it and never trains it",
            where=where,
            hint=f"the released {part.file} has one block; that one can be imported",
        )

    def share(candidate: ModelPart) -> float:
        return len(there & needed(candidate)) / len(needed(candidate))

    if share(part) >= 0.5:
        return
    if len(there & table("raft_torchvision").keys()) > len(table("raft_torchvision")) / 2:
        raise CheckpointError(
            "is RAFT with torchvision's names",
            where=where,
            hint=f"--flow takes the original {PARTS['flow'].file}; it also comes as trace_motion_backbone.pth",
        )
    best = max(PARTS.values(), key=share)
    if share(best) >= 0.5:
        raise CheckpointError(
            f"is {best.what} and was given as {option}", where=where, hint=f"give it as  --{best.name} {where}"
        )
    nearest = f"nearest is --{best.name}, of whose tensors it has {100 * share(best):.0f} %" if share(best) else ""
    raise CheckpointError(
        f"is no checkpoint of this network: {count(len(there), 'tensor')}, first {some(sorted(there))}"
        + (f"; {nearest}" if nearest else ""),
        where=where,
        hint=f"{option} takes {part.file}; trace docs weights  says where it is found",
    )


def _right_shapes(part: ModelPart, tensors: Mapping[str, Array], where: str) -> None:
    expected = known(part)
    wrong = [name for name in tensors if name in expected and tensors[name].shape != expected[name]]
    if not wrong:
        return
    finding = f"{count(len(wrong), 'tensor')} of another shape"
    if WIDTH_OF in wrong:
        finding = f"is HRNet-W{len(tensors[WIDTH_OF])}, expected W{expected[WIDTH_OF][0]}: {finding}"
    first = wrong[0]
    raise CheckpointError(
        f"{finding}, first {first}: {tensors[first].shape}, expected {expected[first]}",
        where=where,
        hint=f"the published {part.file} has the expected ones",
    )
