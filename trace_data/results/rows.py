"""Rows of a result: chosen, joined, and made between two others."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from trace_data.results.bodies import Bodies
from trace_data.results.check import LAYOUTS
from trace_data.results.paths import turned
from trace_data.results.result import Result
from trace_data.results.world_placement import rigid_inverse

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]

BY_ROW = tuple(name for name, layout in LAYOUTS.items() if layout.shape[0] == "N")
"""The arrays of a result with an entry for each row."""


def chosen(result: Result, rows: Index) -> Result:
    """The result with these rows only, in ascending order."""
    arrays: dict[str, Any] = {name: value[rows] for name, value in _by_row(result).items()}
    return replace(result, **arrays)


def joined(first: Result, second: Result) -> Result:
    """The rows of both, which share people and frames, and have no row in common."""
    others = _by_row(second)
    arrays: dict[str, Any] = {name: np.concatenate([value, others[name]]) for name, value in _by_row(first).items()}
    order = np.lexsort((arrays["row_frame"], arrays["row_person"]))
    return replace(first, **{name: value[order] for name, value in arrays.items()})


def made_between(
    result: Result, frames: Result, *, frame: Index, first: Index, last: Index, share: Array, state: Index
) -> Result:
    """`frames` with rows by `share` (M,) of the way from the rows `first` (M,) of `result` to `last` (M,).

    Both rows are of one person. They are joined in the world: rotations by the shortest turn, places by a straight
    line. `frame` (M,): where in `frames` the new rows are; `state` (M,). They have to be sorted by person, then frame.
    Scores and residuals are those between the rows.
    """
    bodies = Bodies.of(result)
    into_world = rigid_inverse(result.camera_from_world)[result.row_frame]
    bodies = _moved(bodies, into_world)
    mixed = {}
    for field in fields(Bodies):
        values = getattr(bodies, field.name)
        if field.name == "rotation":
            mixed[field.name] = turned(values[first], values[last], share[:, None])
        else:
            mixed[field.name] = _mixed(values, first, last, share)
    arrays = {
        name: _mixed(value, first, last, share) for name, value in _by_row(result).items() if value.dtype.kind == "f"
    }
    arrays |= {"row_person": result.row_person[first], "row_frame": frame, "state": state}
    typed: dict[str, Any] = {name: value.astype(LAYOUTS[name].dtype) for name, value in arrays.items()}
    rows = replace(frames, **typed)
    return _moved(Bodies(**mixed), frames.camera_from_world[frame]).written(rows)


def _by_row(result: Result) -> dict[str, npt.NDArray[Any]]:
    return {name: value for name in BY_ROW if (value := getattr(result, name)) is not None}


def _moved(bodies: Bodies, change: Array) -> Bodies:
    """Bodies in another frame; `change` (N, 4, 4)."""
    turn = change[:, :3, :3]
    root = (turn @ bodies.rotation[:, 0])[:, None]
    return replace(
        bodies,
        rotation=np.concatenate([root, bodies.rotation[:, 1:]], axis=1),
        pelvis=np.einsum("nij,nj->ni", turn, bodies.pelvis) + change[:, :3, 3],
    )


def _mixed(values: npt.NDArray[Any], first: Index, last: Index, share: Array) -> npt.NDArray[Any]:
    weight = share.reshape(-1, *[1] * (values.ndim - 1))
    # where both rows are one, it stays exactly as it is
    return np.where(weight > 0, (1 - weight) * values[first] + weight * values[last], values[first])
