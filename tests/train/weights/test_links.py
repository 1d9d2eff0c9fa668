"""Disks without symbolic links, such as exFAT."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from trace_train.weights.checkpoint_writer import _link


@pytest.mark.parametrize("code", [errno.EPERM, errno.EOPNOTSUPP])
def test_without_symbolic_links_a_text_names_the_best_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refused(*_: object) -> None:
        raise OSError(code, "Operation not permitted")

    folder = tmp_path / "step-00000320"
    folder.mkdir()
    monkeypatch.setattr(Path, "symlink_to", refused)
    _link(folder, "best")
    assert "step-00000320" in (tmp_path / "best.txt").read_text() and not (tmp_path / "best").exists()


def test_a_full_disk_is_no_missing_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "symlink_to", full)
    with pytest.raises(OSError, match="No space"):
        _link(tmp_path / "step-00000320", "best")
