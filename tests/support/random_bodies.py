"""Body models of 40 random vertices, quickly made."""

from __future__ import annotations

import numpy as np

from trace_data.assets.bodies import PACK_FILES, BodyModels
from trace_data.assets.body_model import BodyModel


class TwoBodies(BodyModels):
    """Body models of 40 random vertices; male and neutral share their shape space, female has its own."""

    def __init__(self) -> None:
        self._models = {"male": body(1), "neutral": body(1), "female": body(2)}
        assert set(self._models) == set(PACK_FILES)


def body(seed: int) -> BodyModel:
    rng = np.random.default_rng(seed)
    weights, regressor = rng.random((40, 24)), rng.random((24, 40))
    return BodyModel(
        {
            "v_template": rng.normal(size=(40, 3)),
            "shapedirs": 0.05 * rng.normal(size=(40, 3, 10)),
            "posedirs": 0.01 * rng.normal(size=(207, 120)),
            "J_regressor": regressor / regressor.sum(1, keepdims=True),
            "weights": weights / weights.sum(1, keepdims=True),
            "f": np.zeros((1, 3)),
            "kintree_table": np.array(
                [-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21]
            ),
            "extra_joints_index": np.arange(11),
            "J_regressor_extra9": rng.random((9, 40)) / 20,
            "J_regressor_h36m17": rng.random((17, 40)) / 20,
        }
    )
