"""Where a dataset is looked for: below the root or the root itself, and never another dataset's folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from broken_layouts import LAYOUTS

from trace_data.adapters import find_sequences, load_adapter
from trace_data.builder.build import build_shards
from trace_data.errors import DatasetLayoutError

DATASETS = sorted({layout.dataset for layout in LAYOUTS.values()})


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_root_may_be_the_dataset_itself(name: str, tmp_path: Path) -> None:
    layout = LAYOUTS[name]
    folder = layout.write(tmp_path)
    for split in load_adapter(layout.dataset).SPEC.splits:
        below, itself = (find_sequences(layout.dataset, root, split) for root in (tmp_path, folder))
        assert [ref.key for ref in below] == [ref.key for ref in itself]


@pytest.mark.parametrize("name", LAYOUTS)
def test_no_dataset_is_found_or_hinted_at_in_the_folder_of_another(name: str, tmp_path: Path) -> None:
    layout = LAYOUTS[name]
    folder = layout.write(tmp_path / "datasets")
    for other in DATASETS:
        if other == layout.dataset:
            continue
        for root in (folder, folder.parent, tmp_path):
            with pytest.raises(DatasetLayoutError, match="not here" if root != folder else None) as caught:
                find_sequences(other, root, "train")
            assert "it is there with" not in (caught.value.hint or "")


def test_a_build_of_everything_says_what_is_here_and_how_to_build_that(tmp_path: Path) -> None:
    for name in ("dynacam", "3dpw, release"):
        LAYOUTS[name].write(tmp_path / "ROOT")
    with pytest.raises(DatasetLayoutError, match="h36m, mpi-inf-3dhp, penn-action are not here") as caught:
        build_shards([], tmp_path / "ROOT", tmp_path / "shards")
    assert caught.value.hint is not None and "build-shards 3dpw dynacam --root" in caught.value.hint
    shutil.rmtree(tmp_path / "ROOT")
    (tmp_path / "ROOT").mkdir()
    with pytest.raises(DatasetLayoutError, match="penn-action are not here") as caught:
        build_shards([], tmp_path / "ROOT", tmp_path / "shards")
    assert caught.value.hint is not None and "verify-datasets" in caught.value.hint
