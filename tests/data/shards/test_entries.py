"""What entries of an index say of frames."""

from __future__ import annotations

import numpy as np
import pytest

from trace_data.shards.entries import usual_step


@pytest.mark.parametrize(
    ("ids", "step"),
    [
        ([7], 1),
        ([7, 10], 3),
        ([0, 5, 10, 15], 5),
        ([0, 5, 10, 50, 55], 5),  # a gap
        ([0, 10, 20, 21, 22], 1),  # a tie: gaps only make distances larger
        ([0, 10, 30, 60, 100], 10),  # no two alike
        ([0, 1, 11, 21, 31], 10),  # the most frequent one, though it is not the smallest
    ],
)
def test_the_usual_step_is_the_most_frequent_distance(ids: list[int], step: int) -> None:
    assert usual_step(np.array(ids)) == step
