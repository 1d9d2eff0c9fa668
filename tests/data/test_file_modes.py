"""Files have the mode that the user's umask gives: whoever shares a folder can read what is written into it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from trace_data.assets.packs import prepare_smil
from trace_data.builder.build import build_shards
from trace_data.files import as_any_new_file
from trace_data.verify.datasets import verify_datasets
from trace_data.verify.manifest import write_manifest
from trace_train.weights.folder import write


@pytest.fixture(params=[0o002, 0o027])
def mode(request: pytest.FixtureRequest) -> Iterator[int]:
    """Of new files while the test runs."""
    before = os.umask(request.param)
    yield 0o666 & ~request.param
    os.umask(before)


def modes(folder: Path) -> dict[str, int]:
    """Of all files below a folder."""
    return {str(file.relative_to(folder)): file.stat().st_mode & 0o777 for file in folder.rglob("*") if file.is_file()}


def test_weights_packs_shards_and_lists(
    mode: int, sample: Path, packs: Path, body_models: Path, tmp_path: Path
) -> None:
    arrays = {"backbone": {"a": np.zeros(3, np.float32)}}
    write(tmp_path / "weights", arrays, {"backbone": {}})
    prepare_smil([body_models], tmp_path / "packs")
    build_shards(["3dpw"], sample / "datasets", tmp_path / "shards", packs=packs, splits=["val"])
    write_manifest(["3dpw"], sample / "datasets", tmp_path / "manifest.jsonl", hash="fast")
    verify_datasets(["3dpw"], sample / "datasets", depth="content", state=tmp_path / "state.jsonl")
    found = modes(tmp_path)
    kinds = {
        "weights/backbone.safetensors",
        "weights/weights.json",
        "shards/index.json",
        "manifest.jsonl",
        "state.jsonl",
    }
    assert kinds <= found.keys() and any(name.endswith(".h5") for name in found), found
    assert set(found.values()) == {mode}, found


def test_a_file_made_for_its_owner_alone_gets_the_mode_of_any_other(mode: int, tmp_path: Path) -> None:
    file = tmp_path / "a.safetensors"
    safetensors.numpy.save_file({"a": np.zeros(3)}, file)
    assert file.stat().st_mode & 0o777 == 0o600  # without this the function is not needed any more
    as_any_new_file(file)
    assert modes(tmp_path) == {"a.safetensors": mode}
