"""What training sees of a shard that was changed: either what was written, or an error that names the file."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import pytest
import tiny_3dpw
from shard_damage import reseal

from trace_data.builder.build import build_shards
from trace_data.errors import ConfigError, ShardError
from trace_data.files import sha256_of
from trace_data.schema.clip import ClipRef, Window
from trace_data.shards.index import save_index
from trace_data.shards.layout import FRAME_BYTES, FRAME_OFFSET, FRAME_SIZE, PEOPLE_OFFSET
from trace_data.shards.levels import Storage
from trace_data.shards.reader import ShardReader

FILE = "3dpw-train-00000.h5"
FLIPS = 100
FRAMES = 6


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("datasets")
    tiny_3dpw.write(root, {"train": 2, "val": 1, "test": 1}, frames=FRAMES)
    out = tmp_path_factory.mktemp("built") / "shards"
    build_shards(["3dpw"], root, out, splits=["train"], storage=Storage(heights=(32, 64), raised=False))
    return out


@pytest.fixture
def own(built: Path, tmp_path: Path) -> Path:
    shutil.copytree(built, tmp_path / "shards")
    return tmp_path / "shards"


def everything(reader: ShardReader) -> list[bytes]:
    """All that training can see."""
    found = []
    for row in range(len(reader.index.sequences)):
        ref = ClipRef(sequence=row, start=0, stride=1, length=FRAMES)
        clip = reader.annotations(ref)
        for name in ("frame_ids", "intrinsics", "camera_from_world", "identity", "gender", "present", "pose", "betas",
                     "betas_neutral", "translation", "kp2d", "kp3d", "center", "box"):  # fmt: skip
            found += [np.asarray(getattr(clip, name)).tobytes()]
        found += [np.asarray(mask).tobytes() for mask in clip.masks.values()]
        found += [data for level in (0, 1) for data in reader.encoded(ref, level)]
    return found


def test_a_flipped_bit_anywhere_changes_nothing_without_a_word(own: Path) -> None:
    whole, expected = (own / FILE).read_bytes(), everything(ShardReader(own))
    draw, told = random.Random(0), 0
    for _ in range(FLIPS):
        changed = bytearray(whole)
        changed[draw.randrange(len(whole))] ^= 1 << draw.randrange(8)
        (own / FILE).write_bytes(changed)
        try:
            assert everything(ShardReader(own)) == expected
        except ShardError as error:
            told += 1
            assert error.where == str(own / FILE) and "verify-shards" in str(error.hint)
    assert told > 0.8 * FLIPS


def flip(file: Path, dataset: str) -> None:
    with h5py.File(file, "r") as content:
        at = content[dataset].id.get_offset() + 40
    with file.open("r+b") as stream:
        stream.seek(at)
        byte = stream.read(1)
        stream.seek(at)
        stream.write(bytes([byte[0] ^ 1]))


@pytest.mark.parametrize("dataset", [FRAME_BYTES, "people/pose"])
def test_when_checksums_are_compared_is_chosen(own: Path, dataset: str) -> None:
    readers = {verify: ShardReader(own, verify=verify) for verify in ("first", "always", "off")}  # type: ignore[arg-type]
    for reader in readers.values():
        everything(reader)
    flip(own / FILE, dataset)
    everything(readers["first"])
    everything(readers["off"])
    with pytest.raises(ShardError, match="changed since they were written"):
        everything(readers["always"])
    with pytest.raises(ShardError, match="changed since they were written"):
        everything(ShardReader(own))
    with pytest.raises(ConfigError, match="'sometimes'"):
        ShardReader(own, verify="sometimes")  # type: ignore[arg-type]


def craft(folder: Path, change: Callable[[Any], object]) -> None:
    """Change a shard from within, as somebody would who also mends its checksums, its length and its hash."""
    with h5py.File(folder / FILE, "r+") as content:
        change(content)
        reseal(content)
    index = ShardReader(folder).index
    entry = replace(index.shards[0], bytes=(folder / FILE).stat().st_size, sha256=sha256_of(folder / FILE))
    save_index(replace(index, shards=(entry, *index.shards[1:])))


def put(name: str, at: Any, value: Any) -> Callable[[Any], None]:
    def change(content: Any) -> None:
        content[name][at] = value

    return change


def null(content: Any) -> None:
    del content["people/pose"]
    content.create_dataset("people/pose", data=h5py.Empty("<f4"))


def bomb(content: Any) -> None:
    """A JPEG that announces 65,535 x 65,535 px in the place of a frame."""
    begin, end = content[FRAME_OFFSET][1, :2]
    data = bytearray(cv2.imencode(".jpg", np.zeros((16, 16, 3), np.uint8))[1].tobytes())
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = b"\xff" * 4
    content[FRAME_BYTES][begin:end] = np.frombuffer(bytes(data).ljust(end - begin, b"\0"), np.uint8)


HOSTILE: dict[str, tuple[Callable[[Any], object], str]] = {
    "offset beyond the end": (put(FRAME_OFFSET, (0, 2), 2**62), FRAME_OFFSET),
    "negative offset": (put(FRAME_OFFSET, (0, 2), -5), FRAME_OFFSET),
    "offsets that wrap": (put(FRAME_OFFSET, (0, slice(1, 3)), [2**62, -(2**63) + 2**62]), FRAME_OFFSET),
    "rows beyond the end": (put(PEOPLE_OFFSET, 3, 10**15), PEOPLE_OFFSET),
    "level of size 0": (put(FRAME_SIZE, (0,), 0), FRAME_SIZE),
    "negative size": (put(FRAME_SIZE, (1, 2), -1), FRAME_SIZE),
    "huge size": (put(FRAME_SIZE, (1, 2), 2**31 - 1), FRAME_SIZE),
    "null dataspace": (null, "people/pose"),
    "bomb": (bomb, FRAME_SIZE),
    "another person": (put("people/person", 0, 2**30), "people/person"),
}


@pytest.mark.parametrize("change", HOSTILE)
@pytest.mark.parametrize("verify", ["first", "off"])
def test_tables_of_other_hands_are_refused_by_name(own: Path, change: str, verify: Any) -> None:
    edit, dataset = HOSTILE[change]
    craft(own, edit)
    reader = ShardReader(own, verify=verify)
    ref = ClipRef(sequence=0, start=0, stride=1, length=FRAMES)
    with pytest.raises(ShardError) as caught:
        reader.annotations(ref)
        reader.frames(ref, [Window(left=0, top=0, side=64)] * FRAMES, 64)
    assert caught.value.where == str(own / FILE)
    assert dataset in caught.value.message or (change, verify) == ("bomb", "off")


def test_damaged_headers_never_end_raw(own: Path) -> None:
    """The first kilobytes hold the tree of the file: noise there meets HDF5 itself."""
    whole, draw = (own / FILE).read_bytes(), random.Random(1)
    for _ in range(60):
        changed = bytearray(whole)
        at = draw.randrange(4096)
        changed[at : at + 8] = draw.randbytes(8)
        (own / FILE).write_bytes(changed)
        try:
            everything(ShardReader(own))
        except ShardError as error:
            assert error.where == str(own / FILE)


def test_a_locked_or_lockless_disk_is_read(own: Path) -> None:
    """HDF5 fails in the same way where somebody holds a lock as where the disk knows none."""
    hold = (
        "import fcntl, sys; f = open(sys.argv[1], 'r+b'); fcntl.flock(f, fcntl.LOCK_EX); print(1, flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(own / FILE)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        try:
            assert everything(ShardReader(own))
        finally:
            other.kill()
