"""Allocation of the sample world's sequences to datasets."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence

from trace_data.sample_world import emdb, mupots, rich
from trace_data.sample_world.human36m_clips import CLIPS, PLAYERS, VIEWS
from trace_data.sample_world.mpi_inf_3dhp import ORDER_OF_CAMERAS, PLACES
from trace_data.sample_world.people import Role, Split, cast

REST = "3dpw"
"""Takes all remaining sequences: it has every split and no limit on their number."""
SHARES: Mapping[Split, Mapping[str, float]] = {
    "train": {"dynacam": 1 / 8, "mpi-inf-3dhp": 1 / 8, "penn-action": 1 / 8, "h36m": 1 / 8},
    "validation": {"dynacam": 1 / 4, "mpi-inf-3dhp": 1 / 8, "h36m": 1 / 8},
    "test": {"dynacam": 1 / 3},
}
"""Share of a split's sequences for each dataset; if there are few, earlier datasets take precedence."""
ROOM: Mapping[tuple[Split, str], int] = {
    ("train", "h36m"): len(PLAYERS["train"]) * CLIPS * VIEWS,
    ("validation", "h36m"): len(PLAYERS["validation"]) * CLIPS * VIEWS,
    ("train", "mpi-inf-3dhp"): len(PLACES) * len(ORDER_OF_CAMERAS),
    ("validation", "mpi-inf-3dhp"): len(ORDER_OF_CAMERAS),
}
"""Number of sequences for which a release has names; unlimited if missing."""

FURTHER: Mapping[str, tuple[Split, ...]] = {
    "bedlam": ("train", "validation"),
    "emdb": ("test",),
    "mupots": ("test",),
    "rich": ("train", "validation", "test"),
    "bedlam2": ("train",),
}
"""Datasets that are drawn on request, beside the others, and their splits."""
FIRST_FURTHER, LEAST_FURTHER = 10_000, 8
"""Index of the first sequence of the first of them, those of each other so much farther; and least number of sequences
that are dealt, of which those of splits that it has not are left out."""

Allocation = dict[str, list[tuple[int, Role]]]
"""Name of a dataset to its sequences, by index."""


def allocate(roles: Sequence[Role]) -> Allocation:
    """Assign each sequence to one dataset, by split. Deterministic.

    Human3.6M gets pairs, since two cameras film each of its clips. A split with few sequences has fewer datasets, 3DPW
    first.
    """
    allocation: Allocation = {name: [] for name in (REST, *SHARES["train"])}
    for split in SHARES:
        waiting = deque((index, role) for index, role in enumerate(roles) if role.split == split)
        for name, count in _counts(split, len(waiting)).items():
            allocation[name] += [waiting.popleft() for _ in range(count)]
    return allocation


def further(name: str, seed: int, sequences: int) -> list[tuple[int, Role]]:
    """Sequences of a dataset of `FURTHER`: an eighth as many as the world has, as far as its release has names."""
    number, first = max(LEAST_FURTHER, sequences // 8), FIRST_FURTHER * (1 + list(FURTHER).index(name))
    own = {"emdb": emdb.roles, "mupots": mupots.roles, "rich": rich.roles}
    roles = own[name](number) if name in own else cast(seed, number)
    return [(first + index, role) for index, role in enumerate(roles) if role.split in FURTHER[name]]


def _counts(split: Split, number: int) -> dict[str, int]:
    """Number of sequences of a split for each dataset."""
    counts: dict[str, int] = {}
    left = max(0, number - 1)  # 3DPW gets at least one
    for name, share in SHARES[split].items():
        pack = VIEWS if name == "h36m" else 1
        wanted = max(1, round(share * number / pack))
        counts[name] = pack * min(wanted, left // pack, ROOM.get((split, name), number) // pack)
        left -= counts[name]
    return {REST: number - sum(counts.values()), **counts}
