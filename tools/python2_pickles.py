"""Write body-model pickles the way the official files were written: Python 2.7, numpy 1.16, scipy 1.2, chumpy 0.70.

    python2.7 -m pip install --target old numpy==1.16.6 scipy==1.2.3 chumpy==0.70
    PYTHONPATH=old python2.7 tools/python2_pickles.py tests/files/python2/arrays.npz tests/files/python2

Reads the arrays of a body model from an .npz and writes `plain-N.pkl` and `nested-N.pkl` for the protocols N = 0, 1, 2
(or those named after the folder). plain holds chumpy objects where SMPL's files do, nested wherever chumpy allows
one. It is Python 2 for the sake of what it writes; Python 3 can read it too, but then writes other files.
"""

import pickle
import sys

import chumpy
import numpy as np
import scipy.sparse

SUBJECT = b"m\xe4x".decode("latin1")


def plain(arrays):
    """The dictionary as SMPL's files have it."""
    template, weights = arrays["v_template"], arrays["weights"]
    regressor = scipy.sparse.csc_matrix(arrays["J_regressor"])
    return {
        "v_template": template,
        "shapedirs": chumpy.array(arrays["shapedirs"]),
        "posedirs": arrays["posedirs"],
        "weights": weights,
        "J_regressor": regressor,
        "kintree_table": arrays["kintree_table"].astype(np.uint32),
        "f": arrays["f"].astype(np.uint32),
        "J": chumpy.array(regressor.dot(template)),
        "J_regressor_prior": regressor,
        "weights_prior": weights,
        "vert_sym_idxs": np.arange(len(template))[::-1].copy(),
        "pose_training_info": {"subjects": [SUBJECT, "moritz"], "scans": np.int64(7), "weight": np.float64(0.1)},
        "bs_style": "lbs",
        "bs_type": "lrotmin",
    }


def nested(arrays):
    """The same numbers behind selections of selections, new shapes, transposes, and one expression nobody needs."""
    shapes, poses = chumpy.array(arrays["shapedirs"]), chumpy.array(arrays["posedirs"])
    wider = np.concatenate([arrays["shapedirs"], -arrays["shapedirs"][:, :, :2]], axis=2)
    template = chumpy.array(arrays["v_template"])
    return dict(
        plain(arrays),
        v_template=template.reshape((-1, 1)).reshape(arrays["v_template"].shape),
        shapedirs=chumpy.array(wider)[:, :, : shapes.shape[2] + 1][:, :, : shapes.shape[2]],
        posedirs=chumpy.array(np.ascontiguousarray(poses.r.T)).T,
        weights=chumpy.array(arrays["weights"])[:, ::-1][:, ::-1],
        J=chumpy.array(arrays["J_regressor"]).dot(template),
    )


def main(source, folder, *protocols):
    """Write the files named above."""
    arrays = dict(np.load(source))
    for name, content in (("plain", plain(arrays)), ("nested", nested(arrays))):
        for protocol in protocols or "012":
            path = folder + "/" + name + "-" + protocol + ".pkl"
            with open(path, "wb") as file:  # noqa: PTH123  there is no pathlib in Python 2
                pickle.dump(content, file, int(protocol))
            print(path)


if __name__ == "__main__":
    main(*sys.argv[1:])
