"""One-to-one assignment of rows to columns under a limit of the cost."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment


def assign(cost: npt.NDArray[np.float64], limit: float) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Rows and columns of the pairs (P,), (P,) that minimise the sum of their costs, rows ascending.

    A pair left unmatched costs `limit`, so only pairs below it are made; infinite costs forbid a pair.
    """
    gain = np.minimum(cost - limit, 0.0)
    rows, columns = linear_sum_assignment(gain)
    kept = gain[rows, columns] < 0
    return rows[kept], columns[kept]
