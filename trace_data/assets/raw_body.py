"""A downloaded body model: read safely and checked against what it claims to be.

Source: docs/reference/assets.md#contents-of-the-smpl-pickle, docs/reference/assets.md#version-of-the-neutral-model.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from trace_data.assets.official_names import EXTRA9, H36M17, ORIGIN, SMIL
from trace_data.assets.source_files import SourceFile
from trace_data.errors import AssetError
from trace_data.schema.keypoints import SMPL_PARENTS
from trace_data.unpickle.reader import load_npy, load_npz, load_pickle, to_array

VERTICES, FACES, JOINTS, POSE_FEATURES, BETAS = 6890, 13776, 24, 207, 10
COMPONENTS_1_1 = 300
ROW_SUM_TOLERANCE = 1e-3
INFANT_HEIGHT = 1.2
KID_HEIGHTS = (0.2, 0.95)
"""Plausible heights of a kid, as shares of the adult's."""
LONGEST_EDGE = 0.1
"""Share of the body's height; longer edges connect vertices that are not neighbours."""

Array = npt.NDArray[np.float64]

_KEYS = ("v_template", "shapedirs", "posedirs", "weights", "J_regressor", "kintree_table", "f")
_OTHER_VERTICES = {10475: "SMPL-X", 778: "MANO (a hand)", 5023: "FLAME (a head)", 3889: "SMAL (an animal)"}
_OTHER_JOINTS = {52: "SMPL-H", 55: "SMPL-X", 16: "MANO"}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RawBody:
    """The arrays of one model file, metres, y up, facing +z."""

    source: SourceFile
    """The file."""
    sha256: str
    """Hash of the file."""
    components: int
    """Shape components in the file; only the first ten are kept."""
    synthetic: bool
    """Whether the file calls itself synthetic."""
    v_template: Array
    """(6890, 3)."""
    shapedirs: Array
    """(6890, 3, 10)."""
    posedirs: Array
    """(6890, 3, 207)."""
    weights: Array
    """(6890, 24), rows sum to one."""
    J_regressor: Array
    """(24, 6890), dense."""
    parents: npt.NDArray[np.int64]
    """(24,), -1 for the root."""
    f: npt.NDArray[np.int64]
    """(13776, 3)."""

    @property
    def version(self) -> str:
        """SMPL's version, inferred from the number of components (1.0.0 has 10, 1.1.0 has 300)."""
        if self.components >= COMPONENTS_1_1:
            return "1.1.0"
        return "1.0.0" if self.components == BETAS else "unknown"

    @property
    def title(self) -> str:
        """Model and version in words."""
        return "an SMPL of unknown version" if self.version == "unknown" else f"SMPL {self.version}"


def read_body(source: SourceFile) -> RawBody:
    """Read a .pkl or .npz body model. Raises AssetError (UnsafePickleError) that says what the file is instead."""
    raw = source.read()
    where = source.where
    if source.name.lower().endswith(".npz"):
        data: Any = load_npz(raw, where=where)
    else:
        data = load_pickle(raw, where=where)
    if not isinstance(data, Mapping):
        raise AssetError(f"holds a {type(data).__name__}, expected a body model", where=where, hint=_get(source))
    _check_kind(data, source)

    def read(key: str, *shape: int | None, dtype: npt.DTypeLike = np.float64) -> npt.NDArray[Any]:
        return to_array(data[key], name=key, shape=shape, dtype=dtype, where=where)

    shapedirs = read("shapedirs", VERTICES, 3, None)
    if shapedirs.shape[2] < BETAS:
        raise AssetError(f"has {shapedirs.shape[2]} shape components, expected at least {BETAS}", where=where)
    body = RawBody(
        source=source,
        sha256=hashlib.sha256(raw).hexdigest(),
        components=shapedirs.shape[2],
        synthetic=_says_synthetic(data),
        v_template=read("v_template", VERTICES, 3),
        shapedirs=shapedirs[:, :, :BETAS].copy(),
        posedirs=read("posedirs", VERTICES, 3, POSE_FEATURES),
        weights=read("weights", VERTICES, JOINTS),
        J_regressor=read("J_regressor", JOINTS, VERTICES),
        parents=_parents(read("kintree_table", 2, JOINTS, dtype=np.int64)[0], where),
        f=read("f", FACES, 3, dtype=np.int64),
    )
    _check_values(body)
    return body


def read_regressor(source: SourceFile) -> Array:
    """The (9, 6890) or (17, 6890) joint regressor, by the role of the file. Raises AssetError saying what it is."""
    rows = {EXTRA9: 9, H36M17: 17}
    values = to_array(load_npy(source.read(), where=source.where), name="the regressor", where=source.where)
    for role, count in rows.items():
        if role != source.role and values.shape == (count, VERTICES):
            raise AssetError(
                f"has {count} rows: it is {role}, not {source.role}",
                where=source.where,
                hint="the two regressors were swapped: rename them back",
            )
    if values.shape != (rows[source.role], VERTICES):
        raise _other_shape(values, (rows[source.role], VERTICES), values.shape[-1:], source)
    return values


def read_kid_template(source: SourceFile) -> Array:
    """The (6890, 3) vertices of the kid template, metres. Raises AssetError for another topology."""
    values = to_array(load_npy(source.read(), where=source.where), name="the kid template", where=source.where)
    if values.shape != (VERTICES, 3):
        raise _other_shape(values, (VERTICES, 3), values.shape[:1], source)
    return values


def _other_shape(values: Array, expected: tuple[int, int], vertices: tuple[int, ...], source: SourceFile) -> AssetError:
    other = _OTHER_VERTICES.get(vertices[0]) if vertices else None
    belongs = f": it belongs to {other}" if other else ""
    return AssetError(f"has shape {values.shape}, expected {expected}{belongs}", where=source.where, hint=_get(source))


def off_sum_rows(values: Array) -> int:
    """Number of regressor rows that do not sum to one."""
    return int(np.sum(np.abs(values.sum(axis=1) - 1) > ROW_SUM_TOLERANCE))


def check_infant(body: RawBody) -> None:
    """Raise AssetError when a supposed SMIL body is too tall for an infant."""
    height = float(np.ptp(body.v_template[:, 1]))
    if height >= INFANT_HEIGHT:
        raise AssetError(
            f"stands {height:.2f} m tall, but SMIL is an infant", where=body.source.where, hint=_get(body.source)
        )


def check_kid(kid: Array, source: SourceFile, body: RawBody) -> None:
    """Raise AssetError unless the kid template is a smaller body with the same vertex order as `body`."""
    height, adult = float(np.ptp(kid[:, 1])), float(np.ptp(body.v_template[:, 1]))
    smallest, largest = KID_HEIGHTS
    if not smallest * adult < height < largest * adult:
        raise AssetError(
            f"stands {height:.2f} m tall beside an adult of {adult:.2f} m", where=source.where, hint=_get(source)
        )
    edges = kid[body.f] - kid[np.roll(body.f, 1, axis=1)]
    if np.linalg.norm(edges, axis=2).max() > LONGEST_EDGE * height:
        raise AssetError(
            f"has other vertices, or in another order, than {body.source.name}", where=source.where, hint=_get(source)
        )


def _check_kind(data: Mapping[Any, Any], source: SourceFile) -> None:
    """Check the file's keys, vertex and joint counts, and gender."""
    missing = [key for key in _KEYS if key not in data]
    if missing:
        raise AssetError(f"lacks {', '.join(missing)}: it is no SMPL body model", where=source.where, hint=_get(source))
    template = to_array(data["v_template"], name="v_template", where=source.where)
    count = template.shape[0] if template.ndim else 0
    if count != VERTICES:
        kind = _OTHER_VERTICES.get(count, "no SMPL model")
        raise AssetError(
            f"has {count:,} vertices, expected {VERTICES:,}: it is {kind}", where=source.where, hint=_get(source)
        )
    weights = to_array(data["weights"], name="weights", where=source.where)
    if weights.ndim == 2 and weights.shape[1] != JOINTS:
        kind = _OTHER_JOINTS.get(weights.shape[1], "no SMPL model")
        raise AssetError(
            f"has {weights.shape[1]} joints, expected {JOINTS}: it is {kind}", where=source.where, hint=_get(source)
        )
    said = _text(data.get("gender", source.role))
    if source.role != SMIL and said.lower() not in (source.role, source.role[0]):
        raise AssetError(f"is {said} by its own metadata, but is used as {source.role}", where=source.where)
    for key, expected in (("bs_style", "lbs"), ("bs_type", "lrotmin")):
        if (value := _text(data.get(key, expected))) != expected:
            raise AssetError(f"has {key} {value!r}, expected {expected!r}", where=source.where, hint=_get(source))


def _check_values(body: RawBody) -> None:
    where = body.source.where
    if body.f.min() < 0 or body.f.max() >= VERTICES:
        raise AssetError(f"has a face on vertex {body.f.max():,} of {VERTICES:,}", where=where, hint=_get(body.source))
    sums = np.abs(body.weights.sum(axis=1) - 1).max()
    if sums > ROW_SUM_TOLERANCE or body.weights.min() < -1e-6:
        raise AssetError(f"has skinning weights whose sum is off by {sums:.2g}", where=where, hint=_get(body.source))
    if rows := off_sum_rows(body.J_regressor):
        raise AssetError(f"has {rows} rows of J_regressor that do not sum to one", where=where, hint=_get(body.source))


def _parents(row: npt.NDArray[np.int64], where: str) -> npt.NDArray[np.int64]:
    # the root's parent is 2**32 - 1 in the original files and -1 in some re-saved ones
    parents = row.copy()
    parents[0] = -1
    if tuple(parents) != SMPL_PARENTS:
        raise AssetError(f"has the joint tree {parents.tolist()}, expected {list(SMPL_PARENTS)}", where=where)
    return parents


def _says_synthetic(data: Mapping[Any, Any]) -> bool:
    return _text(data.get("synthetic", "")).lower() not in ("", "0", "false", "none")


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("latin1")
    return str(value) if isinstance(value, (str, bool, int, np.generic)) or getattr(value, "shape", None) == () else ""


def _get(source: SourceFile) -> str:
    return f"get {ORIGIN[source.role]}"
