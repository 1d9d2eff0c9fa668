"""What may happen to files of MPI-INF-3DHP, and how it is asserted that it was found."""

from __future__ import annotations

import shutil
from pathlib import Path

from trace_data.verify.datasets import DEPTHS, verify_datasets


def problems(root: Path, depth: str) -> list[tuple[str, str, tuple[str, ...]]]:
    """Severity, words and places of what is found."""
    report = verify_datasets(["mpi-inf-3dhp"], root, depth=depth)  # type: ignore[arg-type]
    found = [(p.severity, p.what, p.examples) for dataset in report.datasets for p in dataset.problems]
    assert report.ok == (not any(severity == "error" for severity, *_ in found))
    return found


def assert_found(root: Path, depth: str, words: str, place: str) -> None:
    """An error with these words at this depth and not before; nothing is said of any other place."""
    before = DEPTHS[: DEPTHS.index(depth)]  # type: ignore[arg-type]
    assert [problems(root, shallower) for shallower in before] == [[] for _ in before]
    found = problems(root, depth)
    assert any(severity == "error" and words in what for severity, what, _ in found), found
    for _, what, examples in found:
        assert all(place in example or place in what for example in examples), found


def exchanged(names: tuple[str, ...]) -> list[int]:
    """For each joint the place of its mirror image."""
    other = {"L": "R", "R": "L"}
    return [names.index(other.get(n[0], n[0]) + n[1:]) if n[1] == "_" else i for i, n in enumerate(names)]


def exchange(one: Path, other: Path) -> None:
    aside = one.with_name("aside")
    one.rename(aside)
    other.rename(one)
    aside.rename(other)


def cut(file: Path, share: float) -> None:
    data = file.read_bytes()
    file.write_bytes(data[: int(share * len(data))])


def loop(place: Path) -> None:
    if place.is_dir():
        shutil.rmtree(place)
    else:
        place.unlink()
    place.symlink_to(place.name)


def rename_images(folder: Path, shift: int) -> None:
    """Each image gets the number of the one `shift` later."""
    files = sorted(folder.iterdir(), reverse=True)
    for file in files:
        stem, number = file.stem[:-6], int(file.stem[-6:])
        file.rename(file.with_name(f"{stem}{number + shift:06d}.jpg"))
