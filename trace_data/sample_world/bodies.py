"""Body models of the sample world: the free body in files with the official names, keys, shapes and encodings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from trace_data.files import atomic_write
from trace_data.sample_world.free_body import FreeBody, load_free_body
from trace_data.sample_world.python2_pickle import (
    chumpy_array,
    chumpy_leading,
    sparse_columns,
    write_python2_pickle,
)

SYNTHETIC = "trace sample world, free body (CC0), not SMPL"
SMPL_FOLDER = Path("SMPL_python_v.1.1.0/smpl/models")
SMPL_FILES = {kind: f"basicmodel_{kind[0]}_lbs_10_207_0_v1.1.0.pkl" for kind in ("male", "female")}
SMPL_FILES["neutral"] = "basicmodel_neutral_lbs_10_207_0_v1.1.0.pkl"
INFANT_COMPONENTS = 20


def write_body_models(folder: Path) -> dict[str, Path]:
    """Write the raw body-model files (docs/reference/assets.md#raw-model-files) below `folder`.

    Returns their paths under the names male, female, neutral, infant, regressor_extra, regressor_h36m and
    kid_template. Existing files are replaced atomically; about 310 MB. Raises OSError.
    """
    paths = {kind: folder / SMPL_FOLDER / name for kind, name in SMPL_FILES.items()}
    paths["infant"] = folder / "smil/smil_web.pkl"
    regressors = folder / "smpl_model_data"
    paths |= {"regressor_extra": regressors / "J_regressor_extra.npy"}
    paths |= {
        "regressor_h36m": regressors / "J_regressor_h36m.npy",
        "kid_template": regressors / "smpl_kid_template.npy",
    }
    for path in paths.values():
        path.parent.mkdir(parents=True, exist_ok=True)

    neutral = load_free_body("neutral")
    arrays = {
        "regressor_extra": neutral.regressor_extra,
        "regressor_h36m": neutral.regressor_h36m,
        "kid_template": neutral.kid_template,
    }
    for name, path in paths.items():
        with atomic_write(path) as partial:
            if name in arrays:
                with partial.open("wb") as file:
                    np.save(file, arrays[name])
            else:
                write_python2_pickle(model_content(load_free_body(name)), partial)
    return paths


def model_content(body: FreeBody) -> Mapping[str, object]:
    """The dictionary of an SMPL or (infant) SMIL file, with chumpy objects where the real files have them."""
    infant = body.kind == "infant"
    table = np.array([body.parents, range(24)]).astype(np.uint32)  # the root's -1 becomes 4294967295
    regressor = sparse_columns(body.J_regressor)
    return {
        "synthetic": SYNTHETIC,
        "v_template": chumpy_array(body.v_template) if infant else body.v_template,
        # in SMIL's file the shape space is stored as a slice of a larger one
        "shapedirs": chumpy_leading(body.shapedirs[..., : INFANT_COMPONENTS + 2], INFANT_COMPONENTS)
        if infant
        else chumpy_array(body.shapedirs),
        "posedirs": chumpy_array(body.posedirs) if infant else body.posedirs,
        "weights": chumpy_array(body.weights) if infant else body.weights,
        "J_regressor": regressor,
        "kintree_table": table,
        "f": body.faces.astype(np.uint32),
        "J": chumpy_array(body.J_regressor @ body.v_template),
        "J_regressor_prior": regressor,
        "weights_prior": body.weights,
        "vert_sym_idxs": body.mirror,
        "bs_style": "lbs",
        "bs_type": "lrotmin",
    }
