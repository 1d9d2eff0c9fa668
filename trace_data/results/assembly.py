"""Puts the rows of an unfinished result in order, places every body, and writes the whole file, in flat memory.

Columns lie in files of their own while they are filled, and are copied into the archive from there.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import fields
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trace_data.results.check import LAYOUTS, check_result
from trace_data.results.file import head, npy, write_members
from trace_data.results.result import SEEN, Result
from trace_data.results.world_placement import placed

Array = npt.NDArray[Any]
Column = np.memmap[Any, np.dtype[Any]]
Floats = npt.NDArray[np.floating[Any]]
Body = Callable[[Floats, Floats], tuple[Floats, Floats]]
"""Poses (n, 24, 3) axis-angle and betas (n, 10) to joints (n, 44, 3) relative to the hip midpoint, and to the pelvis of
the unposed body (n, 3), m."""

AT_ONCE = 512
"""Rows that are placed and checked at a time."""
TAKEN = {"state": "state", "score": "score", "pose": "pose", "hips_in_camera": "hips_in_camera", "box": "box",
         "betas": "betas_row"}  # fmt: skip
"""Columns that the result takes over as they are: name of a row's value, name in the result."""
_MADE = ("translation", "root_in_camera", "translation_in_camera", "joints", "joints_2d", "world_residual")


def assemble(
    file: Path,
    *,
    about: Mapping[str, Any],
    fixed: Mapping[str, Array],
    source: npt.NDArray[np.int64],
    parts: Iterable[Mapping[str, Array]],
    body: Body,
    world_residual: Floats | None,
    keep_betas: bool,
) -> None:
    """Write a result to `file`, with its columns beside it meanwhile.

    `fixed`: the arrays of frames and people, and `row_person` and `row_frame` (N,). `parts`: the `TAKEN` columns of all
    rows, of which row k of the result is number `source[k]`. Raises ResultError if the result contradicts itself,
    OSError.
    """
    scratch = file.with_name("columns")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    try:
        table = _table(scratch, len(source))
        _fill(table, source, parts)
        table["world_residual"][:] = np.nan if world_residual is None else world_residual
        fixed = {**fixed, "betas": _median_betas(table, fixed["row_person"], len(fixed["person"]))}
        for first in range(0, max(len(source), 1), AT_ONCE):
            rows = slice(first, first + AT_ONCE)
            frame, person = fixed["row_frame"][rows], fixed["row_person"][rows]
            _place({name: column[rows] for name, column in table.items()}, fixed, frame, person, body)
            columns = {name: np.array(column[rows]) for name, column in table.items()}
            check_result(Result(about=about, **{**fixed, **columns, "row_frame": frame, "row_person": person}))
        for column in table.values():
            column.flush()
        with ExitStack() as files:
            members = {name: npy(array) for name, array in fixed.items()}
            members |= {name: files.enter_context((scratch / f"{name}.npy").open("rb")) for name in table}
            order = [name for name in LAYOUTS if keep_betas or name != "betas_row"]
            write_members(file, head(about) | {name: members[name] for name in order})
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _table(folder: Path, count: int) -> dict[str, Column]:
    """Empty columns of `count` rows, each a file in the folder."""
    table: dict[str, Column] = {}
    for name in (*TAKEN.values(), *_MADE):
        layout = LAYOUTS[name]
        shape = (count, *(int(size) for size in layout.shape[1:]))
        table[name] = np.lib.format.open_memmap(
            folder / f"{name}.npy", mode="w+", dtype=np.dtype(layout.dtype), shape=shape, version=(1, 0)
        )
    return table


def _fill(table: Mapping[str, Column], source: npt.NDArray[np.int64], parts: Iterable[Mapping[str, Array]]) -> None:
    places = np.full(int(source.max(initial=-1)) + 1, -1)
    places[source] = np.arange(len(source))
    first = 0
    for part in parts:
        place = places[first : first + len(part["state"])]
        first += len(part["state"])
        used = np.flatnonzero(place >= 0)  # the others were replaced
        for name, ours in TAKEN.items():
            table[ours][place[used]] = part[name][used]


def _place(
    table: Mapping[str, Array],
    fixed: Mapping[str, Array],
    frame: npt.NDArray[np.int32],
    person: npt.NDArray[np.int32],
    body: Body,
) -> None:
    """Fill in what depends on the camera path and on people's shapes; the root of `pose` goes into the world."""
    if not len(frame):
        return
    pose, hips = np.array(table["pose"]), np.array(table["hips_in_camera"])
    joints, rest = body(pose, fixed["betas"][person])
    lens = fixed["intrinsics"]
    made = placed(
        pose_in_camera=pose,
        hips_in_camera=hips,
        joints=joints,
        rest_pelvis=rest,
        camera_from_world=fixed["camera_from_world"][frame],
        intrinsics=lens[frame if len(lens) > 1 else np.zeros_like(frame)],
    )
    for one in fields(made):
        table[one.name][:] = getattr(made, one.name)


def _median_betas(table: Mapping[str, npt.NDArray[Any]], person: npt.NDArray[Any], people: int) -> Floats:
    """(P, 10) the score-weighted median of each person's seen rows; of all rows alike if none has a score."""
    starts = np.searchsorted(person, np.arange(people + 1))
    betas = np.zeros((people, 10), np.float32)
    for k, (first, end) in enumerate(pairwise(starts)):
        weight = np.where(table["state"][first:end] == SEEN, table["score"][first:end].clip(0), 0).astype(np.float64)
        weight = weight if weight.any() else np.ones_like(weight)
        betas[k] = weighted_median(np.array(table["betas_row"][first:end]), weight)
    return betas


def weighted_median(values: Floats, weight: Floats) -> Floats:
    """(C,) of each column of values (N, C): the least value at or below which half of the weight (N,) lies."""
    order = np.argsort(values, axis=0)
    below = np.cumsum(weight[order], axis=0)
    middle = (below >= below[-1] / 2).argmax(0)
    median: Floats = np.take_along_axis(values, np.take_along_axis(order, middle[None], 0), 0)[0]
    return median
