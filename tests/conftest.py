"""What several tests need once: body models in the official format, the packs made from them, and small shards."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def made_once(tmp_path_factory: pytest.TempPathFactory, name: str, make: Callable[[Path], Any]) -> Path:
    """A folder that `make` fills, once for all processes of a parallel run. Read only."""
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:  # then the root is this process's own, beside those of the others
        root = root.parent
    folder, done = root / name, root / f"{name}.done"
    with (root / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            folder.mkdir(exist_ok=True)
            make(folder)
            done.touch()
    return folder


@pytest.fixture(scope="session")
def body_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the sample world's body models and side files, as a user would have unpacked them. Read only."""
    from trace_data.sample_world.bodies import write_body_models

    return made_once(tmp_path_factory, "body_models", write_body_models)


@pytest.fixture(scope="session")
def male(body_models: Path) -> dict[str, Any]:
    """The male model as plain arrays, as a re-saved copy would hold it. Read only."""
    from trace_data.unpickle.reader import load_pickle, to_array

    data = load_pickle(next(body_models.rglob("basicmodel_m_*.pkl")))
    keys = ("v_template", "shapedirs", "posedirs", "weights", "kintree_table", "f")
    regressor = to_array(data["J_regressor"], name="J_regressor", shape=(24, 6890))
    return {key: to_array(data[key], name=key) for key in keys} | {"J_regressor": regressor}


@pytest.fixture(scope="session")
def small(male: dict[str, Any]) -> dict[str, Any]:
    """The male model as SMPL 1.0.0 would be, in a form that is quickly written and read. Read only."""
    import numpy as np

    return male | {"shapedirs": male["shapedirs"][..., :10], "posedirs": male["posedirs"].astype(np.float16)}


@pytest.fixture(scope="session")
def packs(body_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with all packs of `body_models`. Read only."""
    from trace_data.assets.packs import prepare_smil, prepare_smpl

    def make(folder: Path) -> None:
        prepare_smpl([body_models], folder, genders=("male", "female", "neutral"))
        prepare_smil([body_models], folder)

    return made_once(tmp_path_factory, "packs", make)


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The 3DPW of a small sample world, below `datasets/`. Read only."""
    from trace_data.sample_world.people import cast
    from trace_data.sample_world.threedpw import write_sequence

    def make(folder: Path) -> None:
        for index, role in enumerate(cast(3, 12)):
            write_sequence(folder / "datasets" / "3DPW", 3, index, role, frames=8, height=144)

    return made_once(tmp_path_factory, "sample", make)


@pytest.fixture(scope="session")
def shards(sample: Path, packs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards of `sample`. Read only."""
    from trace_data.builder.build import build_shards

    def make(folder: Path) -> None:
        build_shards(["3dpw"], sample / "datasets", folder, packs=packs, force=True)

    return made_once(tmp_path_factory, "shards", make)


@pytest.fixture(scope="session")
def several_shards(sample: Path, packs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small shards of `sample`, several of each split. Read only."""
    from trace_data.builder.build import build_shards

    def make(folder: Path) -> None:
        build_shards(["3dpw"], sample / "datasets", folder, packs=packs, shard_bytes=200_000, force=True)

    return made_once(tmp_path_factory, "several", make)


@pytest.fixture(scope="session")
def tiny_run(shards: Path, packs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The finished run of `tiny()` on `shards`. Read only."""
    import torch
    from tiny_runs import tiny

    from trace_train.train import train

    torch.set_num_threads(1)
    return made_once(tmp_path_factory, "tiny_run", lambda run: train(tiny(), shards=shards, packs=packs, run=run))


@pytest.fixture(scope="session")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of released checkpoints with random numbers; the flow is in the form of before torch 1.6. Read only."""
    from published_files import random_state, save

    from trace_train.weights.published import PARTS

    def make(folder: Path) -> None:
        for part, published in PARTS.items():
            save(random_state(part), folder / published.file, zipped=part != "flow")

    return made_once(tmp_path_factory, "released", make)


@pytest.fixture(scope="session")
def imported(released: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `released` becomes. Read only."""
    from trace_train.weights.importing import import_weights
    from trace_train.weights.published import PARTS

    files = {part: released / published.file for part, published in PARTS.items()}
    return made_once(tmp_path_factory, "imported", lambda folder: import_weights(files, folder))
