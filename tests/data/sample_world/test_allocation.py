"""How the cast of the sample world is dealt to the datasets: by arithmetic alone."""

from __future__ import annotations

from collections import Counter

import pytest

from trace_data.adapters import ADAPTERS, load_adapter
from trace_data.sample_world.allocation import Allocation, allocate
from trace_data.sample_world.human36m_clips import CLIPS, PLAYERS
from trace_data.sample_world.people import Role, cast

SIZES = [*range(3, 60), 100, 320, 5000, 9999]


def counts(allocation: Allocation) -> Counter[tuple[str, str]]:
    return Counter((name, role.split) for name, roles in allocation.items() for _, role in roles)


@pytest.mark.parametrize("number", SIZES)
def test_every_sequence_is_dealt_once_and_every_dataset_has_names_for_its_own(number: int) -> None:
    roles = cast(number, number)
    allocation = allocate(roles)
    assert set(allocation) == set(ADAPTERS)
    assert sorted(entry for hand in allocation.values() for entry in hand) == list(enumerate(roles))
    found = counts(allocation)
    for split, official in (("train", "train"), ("validation", "val"), ("test", "test")):
        assert found["3dpw", split] >= 1
        for name in ADAPTERS:
            assert not found[name, split] or official in load_adapter(name).SPEC.splits
        subjects = len(PLAYERS[split])  # type: ignore[index]
        assert found["h36m", split] % 2 == 0 and found["h36m", split] <= 2 * subjects * CLIPS
    assert not any(found[name, "test"] for name in ("h36m", "mpi-inf-3dhp", "penn-action"))
    assert found["mpi-inf-3dhp", "train"] <= 14 * 11 and found["mpi-inf-3dhp", "validation"] <= 11
    assert number < 8 or all(found[name, "train"] for name in ADAPTERS)


def test_half_of_the_training_is_3dpw_and_the_rest_even() -> None:
    found = counts(allocate(cast(0, 320)))
    assert {name: found[name, "train"] for name in ADAPTERS} == {
        "3dpw": 112, "dynacam": 28, "h36m": 28, "mpi-inf-3dhp": 28, "penn-action": 28,
    }  # fmt: skip
    assert all(found[name, "validation"] for name in ("3dpw", "dynacam", "h36m", "mpi-inf-3dhp"))
    assert found["3dpw", "test"] > found["dynacam", "test"] > 10


def test_a_dataset_that_is_full_leaves_the_rest_to_3dpw() -> None:
    found = counts(allocate(cast(0, 5000)))
    assert found["mpi-inf-3dhp", "train"] == 154 and found["h36m", "train"] == 220
    assert found["3dpw", "train"] > 0.6 * 3500 and found["dynacam", "train"] == found["penn-action", "train"] == 438


def test_splits_need_not_come_in_order() -> None:
    roles = [Role(split, (index,)) for index, split in enumerate(("test", "train", "validation", "train") * 3)]  # type: ignore[arg-type]
    assert sorted(entry for hand in allocate(roles).values() for entry in hand) == list(enumerate(roles))
