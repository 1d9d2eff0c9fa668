"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from trace_data.files import atomic_write


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    file = tmp_path / "new" / "a.json"
    for content in ("one", "two"):
        with atomic_write(file) as partial:
            partial.write_text(content)
            assert partial.parent == file.parent and (content == "one") != file.exists()
        assert file.read_text() == content
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_an_error_leaves_what_was_there_and_nothing_else(tmp_path: Path, error: BaseException) -> None:
    file = tmp_path / "a"
    file.write_text("before")
    with pytest.raises(type(error)), atomic_write(file) as partial:
        partial.write_text("half")
        raise error
    assert file.read_text() == "before" and list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("durable", [True, False])
def test_the_content_is_on_the_disk_before_the_name(
    tmp_path: Path, durable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, synchronised = tmp_path / "a", list[bool]()
    monkeypatch.setattr(os, "fsync", lambda descriptor: synchronised.append(not file.exists()))
    with atomic_write(file, durable=durable) as partial:
        partial.write_text("content")
    assert synchronised == ([True] if durable else [])


@pytest.mark.parametrize("mask", [0o002, 0o027, 0o077])
def test_the_mode_is_that_of_any_new_file(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        with atomic_write(tmp_path / "a") as partial:
            safetensors.numpy.save_file({"a": np.zeros(3)}, partial)  # makes files for their owner alone
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o666 & ~mask and len(list(tmp_path.iterdir())) == 1
