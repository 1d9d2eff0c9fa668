"""What the system refuses is said of every file of every layout as it is: no missing file, no damaged one."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from broken_layouts import LAYOUTS
from found_at_depth import said
from rights import linux, without_rights

from trace_data.verify.datasets import verify_datasets

WRONG = ("missing", "copy", "again", "readable", "broken", "no whole", "unpack")
"""Words of another cause, or of a cure of another."""


UNUSED = {
    "3dpw, annots.npz": ("smpl_neutral_betas",),
    "mpi-inf-3dhp, test set": ("TS5",),
    "h36m, release": ("S9", "subject9", "mono", "SYNTHETIC"),
    "h36m, re-packaged": ("subject9", "SYNTHETIC"),
    "h36m, packed": ("SYNTHETIC",),
}
"""Files that this layout does not open, or those of other sequences."""


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Read only."""
    return {name: layout.write(tmp_path_factory.mktemp("layout")) for name, layout in LAYOUTS.items()}


def files_of(name: str, folder: Path) -> Iterator[Path]:
    """Every annotation file that is about the layout's sequence, and one of its frames."""
    layout = LAYOUTS[name]
    place = folder / layout.place
    yield layout.middle(folder)
    for file in sorted(folder.rglob("*")):
        pictures = file.suffix in (".jpg", ".jpeg", ".png", ".avi", ".mp4")
        unused = any(word in str(file.relative_to(folder)) for word in UNUSED.get(name, ()))
        if file.is_file() and not (pictures or unused) and place not in file.parents:
            yield file


@linux
@pytest.mark.parametrize("name", LAYOUTS)
def test_a_file_that_may_not_be_read(written: dict[str, Path], name: str, tmp_path: Path) -> None:
    folder = shutil.copytree(written[name], tmp_path / written[name].name)
    for file in files_of(name, folder):
        file.chmod(0)
        found = without_rights(lambda: said(LAYOUTS[name].dataset, tmp_path, "content"))
        file.chmod(0o644)
        errors = [what for severity, what in found if severity == "error"]
        assert any("permission denied" in what and file.name in what for what in errors), (file, found)
        assert not [what for what in errors if any(word in what.split("(")[0] for word in WRONG)], (file, errors)


@pytest.mark.parametrize("name", [name for name, layout in LAYOUTS.items() if layout.image])
def test_a_mount_that_does_not_answer(
    written: dict[str, Path], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, layout = written[name], LAYOUTS[name]
    scandir = os.scandir

    def broken(place: Any) -> Any:
        if Path(place) == folder / layout.place:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), str(place))
        return scandir(place)

    monkeypatch.setattr(os, "scandir", broken)
    report = verify_datasets([layout.dataset], folder.parent, depth="layout")
    errors = [p for p in report.datasets[0].problems if p.severity == "error"]
    assert len(errors) == 1 and "does not respond (stale file handle)" in errors[0].what, errors
    assert layout.place in errors[0].what and "mount it again" in errors[0].hint
