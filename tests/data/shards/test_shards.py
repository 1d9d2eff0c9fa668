"""Shards: what goes in comes out, whatever happens on the way."""

import hashlib
import os
import pickle
import signal
import struct
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
import tiny_3dpw
from shard_damage import reseal

from trace_data.adapters.threedpw import find, read
from trace_data.builder.build import build_shards
from trace_data.errors import OutputError, ShardError
from trace_data.schema.body import GENDERS, Completed
from trace_data.schema.clip import ClipRef, Window
from trace_data.schema.keypoints import ALL_44, SMPL_24, Keypoints
from trace_data.shards.checks.shards import verify_shards
from trace_data.shards.entries import ShardIndex, numbered
from trace_data.shards.index import check_index, load_index, save_index
from trace_data.shards.levels import Storage
from trace_data.shards.reader import ShardReader
from trace_data.shards.rows import rows_of
from trace_data.shards.writer import ShardWriter

COUNTS = {"train": 5, "val": 1, "test": 1}
SMALL = 40_000  # bytes a shard: about two of the tiny sequences


def hashes(folder: Path) -> dict[str, str]:
    return {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.iterdir()) if file.is_file()
    }


def build(root: Path, out: Path, **options: object):  # type: ignore[no-untyped-def]
    return build_shards(["3dpw"], root, out, **{"shard_bytes": SMALL, **options})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("datasets")
    tiny_3dpw.write(folder, COUNTS, frames=12)
    content = tiny_3dpw.load(folder / "3DPW", "train", "train_walk_01")
    content["campose_valid"][0][4:7] = 0
    content["poses2d"][0][5:7] = 0
    tiny_3dpw.rewrite(folder / "3DPW", "train", "train_walk_01", content)
    return folder


@pytest.fixture(scope="module")
def shards(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("built") / "shards"
    report = build(root, out)
    assert not report.bad and report.built == len(report.index.shards) >= 4
    return out


def test_what_the_writer_takes_the_reader_gives(tmp_path: Path, root: Path) -> None:
    records = [read(ref) for ref in find(root, "train")[:2]]
    rng = np.random.default_rng(0)
    added = {
        person.name: Completed(joints3d=rng.uniform(0.1, 1, (12, 44, 4)), betas_neutral=rng.normal(size=(12, 10)))
        for person in records[1].people
    }
    with ShardWriter(tmp_path, "3dpw-train-00000", storage=Storage()) as writer:
        writer.add(records[0], rows_of(records[0], {}))
        writer.add(records[1], rows_of(records[1], added))
        closed = writer.close("3dpw", "train")
    assert closed is not None
    sequences = numbered([closed[1]])
    save_index(ShardIndex(folder=tmp_path, shards=(closed[0],), sequences=sequences, bad=(), settings={}))
    reader = ShardReader(tmp_path)
    record, ref = records[1], ClipRef(sequence=1, start=1, stride=2, length=5)
    frames = [1, 3, 5, 7, 9]
    clip = reader.annotations(ref)
    np.testing.assert_array_equal(clip.frame_ids, frames)
    assert (clip.width, clip.height) == (96, 64)
    intrinsics, extrinsics = record.camera.per_frame(12)
    np.testing.assert_array_equal(clip.intrinsics, intrinsics[frames].astype(np.float32))
    np.testing.assert_array_equal(clip.camera_from_world, extrinsics[frames].astype(np.float32))
    # in frame 5 one person has neither a camera pose nor 2D points, and may be seen all the same
    np.testing.assert_array_equal(clip.masks["everyone_annotated"], [True, True, False, True, True])
    for p, person in enumerate(record.people):
        assert person.body is not None and person.keypoints2d is not None and person.joints3d is not None
        assert GENDERS[clip.gender[p]] == person.gender
        np.testing.assert_array_equal(clip.present[p], person.present[frames])
        valid = person.body_valid[frames]
        joints = added[person.name].joints3d
        neutral = added[person.name].betas_neutral
        assert joints is not None and neutral is not None
        for column, expected in (
            (clip.pose, person.body.pose),
            (clip.betas, person.body.betas),
            (clip.translation, person.body.translation),
            (clip.betas_neutral, neutral),
        ):
            np.testing.assert_array_equal(column[p][valid], expected[frames][valid].astype(np.float32))
            assert (column[p][~valid] == 0).all()
        np.testing.assert_array_equal(clip.kp2d[p], person.keypoints2d.to_44()[frames].astype(np.float32))
        released = person.joints3d.points[frames][valid].astype(np.float32)
        np.testing.assert_array_equal(clip.kp3d[p][valid][:, : len(SMPL_24)], released)
        np.testing.assert_array_equal(
            clip.kp3d[p][valid][:, len(SMPL_24) :], joints[frames][valid][:, len(SMPL_24) :].astype(np.float32)
        )
        for mask in ("root_rotation", "body_pose", "translation", "shape", "joints3d"):
            np.testing.assert_array_equal(clip.masks[mask][p], valid)
        assert not clip.masks["world"].any(), "3DPW's moving camera gives no world supervision"
        np.testing.assert_array_equal(clip.masks["pose2d"][p], (person.keypoints2d.points[frames, :, 2] > 0).any(1))
    assert list(clip.present[0]) == [True, True, False, True, True]
    assert reader.encoded(ref) == [record.frames[f].read_bytes() for f in frames]


def test_a_clip_is_located_once_for_its_frames(shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader, ref = ShardReader(shards), ClipRef(sequence=0, start=0, stride=1, length=2)
    locate, asked = reader._locate, list[ClipRef]()
    monkeypatch.setattr(reader, "_locate", lambda ref: asked.append(ref) or locate(ref))
    reader.frames(ref, [Window(left=0, top=0, side=64)] * 2, 32)
    assert asked == [ref]


def test_only_people_of_the_clip_and_numbers_unique_over_the_index(shards: Path) -> None:
    reader = ShardReader(shards)
    names = [entry.name for entry in reader.index.sequences]
    second = names.index("train_walk_01")
    clip = reader.annotations(ClipRef(sequence=second, start=5, stride=1, length=2))
    assert clip.identity.tolist() == [2 * second + 1], "person 0 is absent from frames 5 and 6"
    seen = [
        number
        for row in range(len(names))
        for number in reader.annotations(ClipRef(sequence=row, start=0, stride=1, length=12)).identity
    ]
    assert seen == list(range(2 * len(names))) and reader.index.people == len(seen)
    with pytest.raises(IndexError, match="12 frames"):
        reader.annotations(ClipRef(sequence=0, start=2, stride=4, length=4))


def test_a_shard_is_plain_hdf5(shards: Path) -> None:
    index = load_index(shards)
    with h5py.File(shards / index.shards[0].file) as content:
        kinds = []
        content.visititems(lambda _, item: kinds.append(item.dtype.kind) if isinstance(item, h5py.Dataset) else None)
        assert set(kinds) <= set("iufS") and len(kinds) > 25, "no objects, no variable lengths"
        assert content["sequence/name"][0] == b"3dpw/train/train_walk_00"
        begin, end = content["frames/offset"][0, 3:5]
        assert cv2.imdecode(content["frames/bytes"][begin:end], 1).shape == (64, 96, 3)


def test_the_same_bytes_whatever_the_number_of_workers(root: Path, shards: Path, tmp_path: Path) -> None:
    time.sleep(1.1)  # a time stamp in a file would show
    report = build(root, tmp_path / "two", jobs=2)
    assert hashes(tmp_path / "two") == hashes(shards)
    again = build(root, tmp_path / "two", jobs=1)
    assert (again.built, again.kept) == (0, report.built)
    assert hashes(tmp_path / "two") == hashes(shards)


PARENT = """
import multiprocessing, os, threading, time
from trace_data.progress import SILENT
from trace_data.workers import spread

def pause(seconds, progress):
    time.sleep(seconds)

def die():
    while len(multiprocessing.active_children()) < 2:
        time.sleep(0.01)
    print(*(child.pid for child in multiprocessing.active_children()), flush=True)
    time.sleep(1.5)  # the workers are up by now
    os.kill(os.getpid(), 9)

if __name__ == "__main__":
    threading.Thread(target=die).start()
    list(spread(pause, [60, 60], jobs=2, progress=SILENT))
"""


def running(process: int) -> bool:
    try:
        return b") Z " not in Path(f"/proc/{process}/stat").read_bytes()
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_workers_end_with_a_killed_parent(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    process = subprocess.run([sys.executable, str(script)], stdout=subprocess.PIPE, text=True, timeout=60)
    assert process.returncode == -signal.SIGKILL
    workers = [int(word) for word in process.stdout.split()]
    deadline = time.monotonic() + 10
    while any(map(running, workers)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(workers) >= 2 and not any(map(running, workers))


STOPPED = """
import time
from pathlib import Path
from trace_data.progress import SILENT
from trace_data.workers import spread

def pause(file, progress):
    Path(file).touch()
    time.sleep(120)

if __name__ == "__main__":
    import sys
    list(spread(pause, sys.argv[1:3], jobs=2, progress=SILENT))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_to_the_parent_alone_ends_workers_and_leaves_no_semaphores(
    tmp_path: Path, number: signal.Signals
) -> None:
    (tmp_path / "parent.py").write_text(STOPPED)
    begun = [tmp_path / "a", tmp_path / "b"]
    command = [sys.executable, str(tmp_path / "parent.py"), *map(str, begun)]
    heed = partial(signal.signal, number, signal.SIG_DFL)  # ignored in the background of a shell, or under nohup
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=heed) as parent:
        deadline = time.monotonic() + 60
        while not all(file.exists() for file in begun) and time.monotonic() < deadline:
            time.sleep(0.05)
        parent.send_signal(number)
        _, said = parent.communicate(timeout=60)
    assert all(file.exists() for file in begun)
    assert "KeyboardInterrupt" in said and "leaked" not in said


def test_damaged_shards_are_named_and_mended(root: Path, shards: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    build(root, out)
    file = out / "3dpw-train-00001.h5"
    whole = file.read_bytes()
    row = next(i for i, e in enumerate(load_index(out).sequences) if load_index(out).shards[e.shard].file == file.name)
    ref = ClipRef(sequence=row, start=0, stride=1, length=2)
    reader = ShardReader(out)
    reader.annotations(ref)

    file.write_bytes(whole[:5000])
    for broken in (reader, ShardReader(out)):  # cut while it was open, and before
        with pytest.raises(ShardError, match=rf"5,000 bytes, expected {len(whole):,}") as caught:
            broken.frames(ref, [Window(left=0, top=0, side=64)] * 2, 64)
        assert caught.value.where == str(file) and f"trace verify-shards {out}" in str(caught.value.hint)
    flipped = bytearray(whole)
    flipped[-1000] ^= 1
    file.write_bytes(flipped)
    check_index(out)
    with pytest.raises(ShardError, match="content changed"):
        check_index(out, hashes=True)
    file.write_bytes(b"no HDF5 " + whole[8:])
    with pytest.raises(ShardError, match="not readable as a shard"):
        ShardReader(out).annotations(ref)
    file.unlink()
    with pytest.raises(ShardError, match="missing"):
        check_index(out)
    (out / "index.json").write_text(
        (out / "index.json").read_text().replace('"format_version":4', '"format_version":9')
    )
    with pytest.raises(ShardError, match="shard format 9, expected 4"):
        load_index(out)
    report = build(root, out)
    assert report.built == 1 and hashes(out) == hashes(shards)


def test_a_bad_sequence_is_left_out_with_its_reason(tmp_path: Path) -> None:
    folder = tiny_3dpw.write(tmp_path, {"train": 5, "val": 1, "test": 1}, frames=8)
    image = folder / "imageFiles" / "train_walk_01" / "image_00005.jpg"
    image.write_bytes(image.read_bytes()[:-300])
    (folder / "sequenceFiles" / "train" / "train_walk_02.pkl").write_bytes(b"\x80\x02}")
    other = folder / "imageFiles" / "train_walk_03" / "image_00002.jpg"
    cv2.imwrite(str(other), np.zeros((32, 32, 3), np.uint8))
    content = tiny_3dpw.load(folder, "val", "val_walk_00")
    content["cam_poses"][3, :3, :3] *= 1.5
    tiny_3dpw.rewrite(folder, "val", "val_walk_00", content)
    report = build(tmp_path, tmp_path / "out")
    reasons = {bad.key.rpartition("/")[2]: bad.reason for bad in report.bad}
    assert list(reasons) == ["train_walk_01", "train_walk_02", "train_walk_03", "val_walk_00"]
    assert "image_00005.jpg: the JPEG ends too early" in reasons["train_walk_01"]
    assert "train_walk_02.pkl" in reasons["train_walk_02"]
    assert "image_00002.jpg: the image is 32x32, the sequence 96x64" in reasons["train_walk_03"]
    assert "camera_from_world: not rotations" in reasons["val_walk_00"]
    assert [entry.name for entry in report.index.sequences] == ["train_walk_00", "train_walk_04", "test_walk_00"]
    (tmp_path / "elsewhere").mkdir()
    folder.rename(tmp_path / "elsewhere" / folder.name)
    again = build(tmp_path / "elsewhere", tmp_path / "again")
    assert hashes(tmp_path / "again") == hashes(tmp_path / "out"), "the index does not say where the datasets lay"
    assert [str(tmp_path) in bad.reason for bad in again.bad] == [False] * 4
    folder = tmp_path / "elsewhere" / folder.name
    reader = ShardReader(tmp_path / "out")
    for row, entry in enumerate(reader.index.sequences):  # nothing of the bad ones stays between the good ones
        source = folder / "imageFiles" / entry.name
        clip = reader.encoded(ClipRef(sequence=row, start=0, stride=1, length=8))
        assert clip == [(source / f"image_{i:05d}.jpg").read_bytes() for i in range(8)]


@pytest.mark.parametrize("storage", [Storage(), Storage(heights=(), raised=False), Storage(heights=(32, 64))])
def test_a_frame_with_noise_in_its_middle_is_left_out_and_the_rest_is_sound(tmp_path: Path, storage: Storage) -> None:
    folder = tiny_3dpw.write(tmp_path, {"train": 2, "val": 1, "test": 1}, frames=4)
    image = folder / "imageFiles" / "train_walk_01" / "image_00002.jpg"
    data = bytearray(image.read_bytes())
    at = data.index(b"\xff\xda") + 40
    data[at : at + 200] = np.random.default_rng(0).integers(1, 250, 200, dtype=np.uint8).tobytes()
    image.write_bytes(data)
    report = build(tmp_path, tmp_path / "out", storage=storage)
    assert [bad.key for bad in report.bad] == ["3dpw/train/train_walk_01"]
    assert "image_00002.jpg: the JPEG does not decode" in report.bad[0].reason
    assert verify_shards(tmp_path / "out").ok


@pytest.mark.parametrize("kind", ["pipe", "bomb of a JPEG", "bomb of a PNG"])
def test_traps_in_place_of_a_frame_cost_their_sequence(tmp_path: Path, kind: str) -> None:
    folder = tiny_3dpw.write(tmp_path, {"train": 2, "val": 1, "test": 1}, frames=4)
    image = folder / "imageFiles" / "train_walk_01" / "image_00000.jpg"
    data = bytearray(image.read_bytes())
    image.unlink()
    if kind == "pipe":
        os.mkfifo(image)
    elif kind == "bomb of a JPEG":
        at = data.index(b"\xff\xc0")
        data[at + 5 : at + 9] = b"\xff" * 4
        image.write_bytes(data)
    else:
        picture = bytearray(cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))[1].tobytes())
        picture[16:24] = struct.pack(">II", 65_535, 65_535)
        image.write_bytes(picture)
    report = build(tmp_path, tmp_path / "out")
    assert [bad.key for bad in report.bad] == ["3dpw/train/train_walk_01"]
    assert ("pipe" if kind == "pipe" else "announces") in report.bad[0].reason or "missing" in report.bad[0].reason


def test_a_name_that_is_no_text_costs_its_sequence(tmp_path: Path) -> None:
    folder = tiny_3dpw.write(tmp_path, {"train": 2, "val": 1, "test": 1}, frames=4)
    odd = os.fsdecode(b"train_walk_\xff1")
    (folder / "imageFiles" / "train_walk_01").rename(folder / "imageFiles" / odd)
    (folder / "sequenceFiles" / "train" / "train_walk_01.pkl").rename(folder / "sequenceFiles" / "train" / f"{odd}.pkl")
    report = build(tmp_path, tmp_path / "out")
    assert [bad.key for bad in report.bad] == [r"3dpw/train/train_walk_\udcff1"]
    assert verify_shards(tmp_path / "out").ok


def test_a_link_in_place_of_an_unfinished_shard_is_not_written_through(root: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis").write_text("three years")
    build(root, tmp_path / "out", splits=["val"])
    (tmp_path / "out" / "3dpw-val-00000.h5").unlink()
    (tmp_path / "out" / "3dpw-val-00000.h5.partial").symlink_to(tmp_path / "thesis")
    assert build(root, tmp_path / "out", splits=["val"]).built == 1
    assert (tmp_path / "thesis").read_text() == "three years"
    (tmp_path / "out" / ".build" / "lock").unlink()
    (tmp_path / "out" / ".build" / "lock").symlink_to(tmp_path / "thesis")
    with pytest.raises(OutputError, match="a link"):
        build(root, tmp_path / "out", splits=["val"])
    assert (tmp_path / "thesis").read_text() == "three years"


def test_a_mended_frame_brings_its_sequence_back(tmp_path: Path) -> None:
    folder = tiny_3dpw.write(tmp_path, {"train": 2, "val": 1, "test": 1}, frames=8)
    image = folder / "imageFiles" / "train_walk_01" / "image_00005.jpg"
    whole = image.read_bytes()
    image.write_bytes(whole[:-300])
    assert [bad.key for bad in build(tmp_path, tmp_path / "out").bad] == ["3dpw/train/train_walk_01"]
    image.write_bytes(whole)
    report = build(tmp_path, tmp_path / "out")
    assert not report.bad and report.kept > 0
    assert {entry.name for entry in report.index.sequences} >= {"train_walk_00", "train_walk_01"}


def test_other_contents_are_not_overwritten(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="not empty"):
        build(root, out)
    build(root, out, force=True, splits=["val"])
    assert (out / "notes.txt").read_text() == "mine"
    with pytest.raises(OutputError, match=r"other settings: --limit none, now 1"):
        build(root, out, splits=["val"], limit=1)
    with pytest.raises(OutputError, match=r"other settings: --height 720, now none"):  # not that no encoder is needed
        build(root, out, splits=["val"], storage=Storage(heights=(), raised=False))
    report = build(root, out, splits=["train", "val"], limit=1, force=True)
    assert sorted(entry.name for entry in report.index.sequences) == ["train_walk_00", "val_walk_00"]
    with pytest.raises(OutputError, match=r"shards need about .* free"):
        monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000}))
        build(root, tmp_path / "other")


def test_a_write_that_fails_is_reported_with_its_file(root: Path, tmp_path: Path) -> None:
    code = f"""
import resource
from pathlib import Path
from trace_data.builder.build import build_shards
resource.setrlimit(resource.RLIMIT_FSIZE, (30000, 30000))  # the disk is full after 30 kB a file
build_shards(["3dpw"], Path({str(root)!r}), Path({str(tmp_path / "out")!r}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "OutputError" in done.stderr and "-00000.h5: cannot be written" in done.stderr
    assert not list((tmp_path / "out").glob("*.h5*"))


def blobs(width: int, height: int, centres: np.ndarray, sigma: float) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    distance = (x[..., None] - centres[:, 0]) ** 2 + (y[..., None] - centres[:, 1]) ** 2
    return np.clip(250 * np.exp(-distance / (2 * sigma**2)).sum(-1), 0, 255)


@pytest.mark.parametrize("height", [720, 200])  # passed through, and stored at a scale of 200/330
@pytest.mark.parametrize("side", [61.3, 160.0, 301.7, 520.0, 1207.0])  # 0.5 to 9 frame px a crop px
def test_the_window_puts_points_where_its_map_says(tmp_path: Path, height: int, side: float) -> None:
    folder = tiny_3dpw.write(tmp_path, {"train": 1}, frames=1, size=(440, 330), people=1)
    rng = np.random.default_rng(int(side))
    size, window = 128, Window(left=90.37, top=41.81, side=side)
    lowest, highest = np.array([95.0, 46.0]), np.minimum([430.0, 320.0], np.array([90.0, 41.0]) + side - 8)
    sigma = max(2.5, 2.2 * side / size)
    centres = np.stack([rng.uniform(lowest + 2 * sigma, highest - 2 * sigma)])
    picture = np.repeat(blobs(440, 330, centres, sigma)[..., None], 3, 2).astype(np.uint8)
    file = folder / "imageFiles" / "train_walk_00" / "image_00000.jpg"
    cv2.imwrite(str(file), picture, [cv2.IMWRITE_JPEG_QUALITY, 98])
    build(tmp_path, tmp_path / "out", storage=Storage(heights=(height,), raised=False), splits=["train"])
    reader = ShardReader(tmp_path / "out")
    frames, maps = reader.frames(ClipRef(sequence=0, start=0, stride=1, length=1), [window], size)
    crop, to_crop = frames[0].mean(-1), maps[0]
    weight = np.where(crop > 12, crop - 12, 0)
    y, x = np.mgrid[:size, :size]
    found = np.array([(weight * x).sum(), (weight * y).sum()]) / weight.sum()
    expected = to_crop[:2, :2] @ centres[0] + to_crop[:2, 2]
    np.testing.assert_allclose(found, expected, atol=0.1)


def test_colours_black_outside_and_averaging_when_shrinking(tmp_path: Path) -> None:
    folder = tiny_3dpw.write(tmp_path, {"train": 1}, frames=2, size=(256, 192), people=1)
    images = folder / "imageFiles" / "train_walk_00"
    cv2.imwrite(str(images / "image_00000.jpg"), np.full((192, 256, 3), (10, 60, 200), np.uint8))  # BGR: reddish
    fine = np.indices((192, 256)).sum(0) % 2 * 255  # a chequerboard of single pixels has the mean 127.5
    cv2.imwrite(str(images / "image_00001.jpg"), np.repeat(fine[..., None], 3, 2), [cv2.IMWRITE_JPEG_QUALITY, 100])
    build(tmp_path, tmp_path / "out", splits=["train"])
    reader = ShardReader(tmp_path / "out")
    ref = ClipRef(sequence=0, start=0, stride=1, length=2)
    crops, _ = reader.frames(ref, [Window(left=-64, top=-96, side=384)] * 2, 96)
    assert crops.shape == (2, 96, 96, 3) and crops.dtype == np.uint8
    inside = np.zeros((96, 96), bool)
    inside[24:72, 16:80] = True  # the frame's 192 x 256 px at a quarter
    assert (crops[:, ~inside] == 0).all()
    np.testing.assert_allclose(crops[0, 26:70, 18:78].mean((0, 1)), (200, 60, 10), atol=2)
    assert abs(crops[1, 26:70, 18:78].astype(float) - 127.5).max() < 8
    with pytest.raises(ValueError, match="1 windows for 2 frames"):
        reader.frames(ref, [Window(left=0, top=0, side=10)], 96)


def test_the_reader_travels_and_serves_threads(shards: Path) -> None:
    reader = ShardReader(shards)
    refs = [ClipRef(sequence=i % 7, start=i % 5, stride=1 + i % 2, length=3) for i in range(40)]
    windows = [Window(left=3.5, top=1.25, side=60)] * 3
    expected = [reader.frames(ref, windows, 48)[0] for ref in refs]
    copy = pickle.loads(pickle.dumps(reader))
    assert len(pickle.dumps(copy)) < 20_000
    with ThreadPoolExecutor(4) as pool:
        for found, wanted in zip(pool.map(lambda ref: copy.frames(ref, windows, 48)[0], refs), expected):
            np.testing.assert_array_equal(found, wanted)


def test_the_44_joints_take_what_the_release_has_by_name() -> None:
    points = np.zeros((1, 24, 4))
    points[0, SMPL_24.index("L_Wrist")] = (1, 2, 3, 1)
    moved = Keypoints(layout="SMPL_24", points=points).to_44()
    assert moved[0, ALL_44.index("L_Wrist")].tolist() == [1, 2, 3, 1] and moved.sum() == 7


def test_nothing_that_is_no_number_and_no_link_passes_the_reader(root: Path, tmp_path: Path) -> None:
    build(root, tmp_path / "out", splits=["train"])
    index = load_index(tmp_path / "out")
    file = tmp_path / "out" / index.shards[0].file
    with h5py.File(file, "r+") as content:
        content["people/kp3d"][7, 3, 1] = np.nan
        reseal(content)
    ShardReader(tmp_path / "out").annotations(ClipRef(sequence=0, start=0, stride=1, length=2))
    with pytest.raises(ShardError, match=r"people/kp3d has NaN or infinite values in 3dpw/train/train_walk_00"):
        ShardReader(tmp_path / "out").annotations(ClipRef(sequence=0, start=0, stride=1, length=12))
    with h5py.File(file, "r+") as content:
        del content["people/pose"]
        content["people/pose"] = h5py.ExternalLink("/dev/zero", "pose")
    (tmp_path / "out" / "index.json").write_text(
        (tmp_path / "out" / "index.json").read_text().replace(str(index.shards[0].bytes), str(file.stat().st_size))
    )
    with pytest.raises(ShardError, match="people/pose: a link to '/dev/zero'"):
        ShardReader(tmp_path / "out").annotations(ClipRef(sequence=0, start=0, stride=1, length=2))
