"""Broken and hostile files for every reader: nothing runs, nothing hangs, memory is bounded, every error is named.

`make test` runs a short slice, `pytest -m nightly tests/data/test_fuzz_readers.py` all cases. A reader joins by one
line in `READERS`: its name, whole files to start from, and what reads one.
"""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import multiprocessing
import pickle
import random
import resource
import shutil
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import python2_text
import scipy.io
import scipy.sparse
import tiny_3dpw
from cdf_files import write_cdf
from example_result import example_result

from trace_data.adapters.bedlam.motions import read_motion
from trace_data.adapters.bedlam.rows import scene_rows
from trace_data.adapters.bedlam.tables import camera_table, scene_table
from trace_data.adapters.bedlam2.motions import read_rotations
from trace_data.adapters.bedlam2.scenes import portraits
from trace_data.adapters.emdb.annotation import read_annotation
from trace_data.adapters.human36m.cdf import read_cdf
from trace_data.adapters.matlab5 import read_matlab
from trace_data.adapters.mupots.annotations import read_annotations
from trace_data.adapters.rich.bodies import read_body
from trace_data.adapters.rich.calibration import read_calibration
from trace_data.builder.build import build_shards
from trace_data.errors import ConfigError, TraceError
from trace_data.frames.image import decode, file_size
from trace_data.frames.video import video_facts
from trace_data.motions.amass import read_amass
from trace_data.results.file import read_result, write_result
from trace_data.schema.clip import ClipRef, Window
from trace_data.shards.index import load_index
from trace_data.shards.reader import ShardReader
from trace_data.text_files import parse_json, parse_toml, parse_yaml
from trace_data.unpickle.reader import load_npy, load_npz, load_pickle, to_array
from trace_data.unpickle.torch_file import read_state

SEED = 20
SHORT, LONG = 120, 6000
"""Cases of each reader."""
SECONDS = 2.0
"""Of CPU for a file of some kilobytes."""
CPU = 1800
"""Seconds for all cases of a reader: a shard is opened and read in 0.1 s, and no case may take `SECONDS`."""
BYTES = 200_000_000
"""Beside ten times the file."""
RUNS = ("exec", "import", "os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen", "ctypes.",
        "socket.", "shutil.", "os.remove", "os.rename", "os.mkdir", "os.chmod", "pickle.find_class")  # fmt: skip
"""Audit events that no file may cause. numpy parses headers as literals, which is no `exec`."""


@dataclass(frozen=True)
class Reader:
    """What is fuzzed."""

    seeds: Callable[[], list[bytes]]
    read: Callable[[bytes], Any]


def pickles() -> list[bytes]:
    matrix = scipy.sparse.random(3, 4, 0.5, format="csc", random_state=0)
    content = {
        "a": np.arange(6.0).reshape(2, 3),
        "o": np.array([None, "x"], dtype=object),
        "s": {1, "k", (2, "b")},
        "n": [1.5, 7, -(1 << 70), True, b"x"],
        "m": matrix,
    }
    plain = [pickle.dumps(content, protocol) for protocol in range(6)]
    state = {"a": python2_text.chumpy(np.arange(24.0), 0), "idxs": python2_text.array(np.array([5, 0]))}
    select = python2_text.instance("chumpy.reordering", "Select", state, 0)
    return [*plain, python2_text.dictionary({"shapedirs": select}) + b".", gzip.compress(plain[2]), *bombs()]


def bombs() -> list[bytes]:
    """Small files that ask for much; see `tests/data/unpickle/test_budget.py` for what each is."""
    pairs = b"N" + b"2\x86" * 26
    return [
        pairs + b"2\x93.",
        b"}" + pairs + b"Ns.",
        b"\x8f" * 3000 + b".",
        bz2.compress(b"N" * 20_000_000),
        lzma.compress(b"(" * 5_000_000),
        gzip.compress(b"\x8f" * 5_000_000),
    ]


def npys() -> list[bytes]:
    return [_saved(np.save, value) for value in (np.arange(6.0).reshape(2, 3), np.array([{"a": 1}, None], object))]


def npzs() -> list[bytes]:
    arrays = {"a": np.arange(6.0), "o": np.array({"b": np.ones(3)}, object), "zeros": np.zeros(1 << 16)}
    return [_saved(save, **arrays) for save in (np.savez, np.savez_compressed)]


def _saved(save: Any, *values: Any, **named: Any) -> bytes:
    stream = io.BytesIO()
    save(stream, *values, **named)
    return stream.getvalue()


def results() -> list[bytes]:
    """The result of a short video, as written and as somebody may have saved it again."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "a.trace.npz"
        write_result(file, example_result(people=1, frames=3))
        with np.load(file, allow_pickle=False) as data:
            return [file.read_bytes(), _saved(np.savez_compressed, **data)]


def torches() -> list[bytes]:
    import torch

    state = {"w": torch.arange(6.0).reshape(2, 3).T, "n": torch.tensor(3), "b": torch.ones(2, dtype=torch.bfloat16)}
    out = []
    for zipped in (True, False):
        stream = io.BytesIO()
        torch.save(state, stream, _use_new_zipfile_serialization=zipped)
        out.append(stream.getvalue())
    return out


def read_pickle(data: bytes) -> None:
    found = load_pickle(data)
    for value in found.values() if isinstance(found, dict) else [found]:
        sparse = getattr(value, "kind", "").startswith("scipy")
        to_array(value, name="value", shape=(3, 4) if sparse else None, where="x")


def texts(*lines: str) -> Callable[[], list[bytes]]:
    return lambda: [line.encode() for line in lines]


def mats() -> list[bytes]:
    content = {"x": np.arange(6.0).reshape(2, 3), "t": "walk", "c": np.array([[np.eye(2), {"f": "a"}]], object)}
    out = []
    for packed in (False, True):
        stream = io.BytesIO()
        scipy.io.savemat(stream, content, do_compression=packed)
        out.append(stream.getvalue())
    return out


def multi_person() -> list[bytes]:
    entry = {"annot2": np.ones((2, 17)), "isValidFrame": np.eye(1)}
    entry |= {name: np.ones((3, 17)) for name in ("annot3", "univ_annot3")}
    cells = np.empty((2, 2), object)
    cells[:] = [[entry, entry], [entry, np.zeros((0, 0))]]
    stream = io.BytesIO()
    scipy.io.savemat(stream, {"annotations": cells})
    return [stream.getvalue()]


def cdfs() -> list[bytes]:
    out = []
    with tempfile.TemporaryDirectory() as folder:
        for packed, packed_file in ((0, 0), (6, 0), (0, 5)):
            file = Path(folder) / f"{len(out)}.cdf"
            write_cdf(file, packed=packed, packed_file=packed_file)
            out.append(file.read_bytes())
    return out


def images() -> list[bytes]:
    picture = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    return [cv2.imencode(end, picture)[1].tobytes() for end in (".jpg", ".png")]


def videos() -> list[bytes]:
    out = []
    with tempfile.TemporaryDirectory() as folder:
        for name, code in (("a.avi", "MJPG"), ("a.mp4", "mp4v")):
            clip = cv2.VideoWriter(str(Path(folder) / name), cv2.VideoWriter.fourcc(*code), 25.0, (64, 48))
            for shade in range(4):
                clip.write(np.full((48, 64, 3), 60 * shade, np.uint8))
            clip.release()
            out.append((Path(folder) / name).read_bytes())
    return out


@cache
def built() -> dict[str, bytes]:
    """The files of a small folder of shards."""
    with tempfile.TemporaryDirectory() as folder:
        tiny_3dpw.write(Path(folder) / "data", {"train": 1, "val": 1, "test": 1}, frames=3)
        build_shards(["3dpw"], Path(folder) / "data", Path(folder) / "shards")
        return {file.name: file.read_bytes() for file in (Path(folder) / "shards").iterdir() if file.is_file()}


@cache
def place() -> Path:
    """A folder of this process for files under attack; making and removing one each time would look like an attack."""
    folder = Path(tempfile.mkdtemp())
    Finalize(None, shutil.rmtree, (folder,), exitpriority=1)  # a child of multiprocessing runs no atexit
    return folder


def in_shards(name: str, read: Callable[[Path], Any]) -> Callable[[bytes], Any]:
    """Reads a folder of shards in which the file `name` has other bytes."""

    def reading(data: bytes) -> Any:
        for other, content in (built() | {name: data}).items():
            (place() / other).write_bytes(content)
        return read(place())

    return reading


def in_file(end: str, read: Callable[[Path], Any]) -> Callable[[bytes], Any]:
    """Reads a file of this ending."""

    def reading(data: bytes) -> Any:
        (place() / f"x{end}").write_bytes(data)
        return read(place() / f"x{end}")

    return reading


def read_clip(folder: Path) -> None:
    """The first frames of the training sequence, with their annotations."""
    reader = ShardReader(folder)
    number = next(i for i, entry in enumerate(reader.index.sequences) if entry.split == "train")
    ref = ClipRef(sequence=number, start=0, stride=1, length=2)
    annotations = reader.annotations(ref)
    window = Window(left=0.0, top=0.0, side=float(max(annotations.width, annotations.height)))
    reader.frames(ref, [window] * 2, size=32)


SHARD = "3dpw-train-00000.h5"


def motions() -> list[bytes]:
    arrays = {"poses": np.zeros((3, 72)), "trans": np.zeros((3, 3)), "betas": np.zeros(11, np.float32)}
    return [_saved(np.savez, **arrays, mocap_frame_rate=np.array(30), gender=np.array("neutral"))]


def amass() -> list[bytes]:
    arrays = {"poses": np.full((3, 156), 0.1), "trans": np.zeros((3, 3)), "gender": np.array("male")}
    return [_saved(save, **arrays, mocap_framerate=np.array(120.0)) for save in (np.savez, np.savez_compressed)]


def rotations() -> list[bytes]:
    return [_saved(np.savez, poses=np.zeros((3, 165)), trans=np.zeros((3, 3)), mocap_frame_rate=np.array(30))]


def label_rows() -> list[bytes]:
    arrays = {"pose_cam": (72,), "trans_cam": (3,), "shape": (11,), "cam_ext": (4, 4), "cam_int": (3, 3)}
    zeros = {key: np.zeros((2, *shape)) for key, shape in {**arrays, "gtkps": (24, 3)}.items()}
    names = [f"seq_000000/seq_000000_000{number}.png" for number in (0, 5)]
    return [_saved(np.savez, imgname=names, sub=np.array(["a", "a"], object), **zeros)]


def emdb() -> list[bytes]:
    camera = {"intrinsics": np.eye(3), "extrinsics": np.tile(np.eye(4), (2, 1, 1)), "width": 8, "height": 8}
    body = {"poses_root": np.zeros((2, 3)), "poses_body": np.zeros((2, 69)), "trans": np.ones((2, 3))}
    content = {
        "name": "P0_00_x", "gender": "male", "emdb1": True, "emdb2": False, "n_frames": 2, "kp2d": np.ones((2, 24, 2)),
        "good_frames_mask": np.array([True, False]), "camera": camera, "smpl": {**body, "betas": np.zeros(10)},
    }  # fmt: skip
    return [pickle.dumps(content, protocol) for protocol in (3, 4)]


def subjects() -> list[bytes]:
    widths = {"transl": 3, "global_orient": 3, "body_pose": 63, "betas": 10}
    return [pickle.dumps({key: np.ones((1, width), np.float32) for key, width in widths.items()}, 4)]


VIEW = """<?xml version="1.0"?>
<opencv_storage>
<CameraMatrix type_id="opencv-matrix"><rows>3</rows><cols>4</cols><dt>d</dt>
  <data>1. 0. 0. 0.5 0. 1. 0. -2. 0. 0. 1. 3.</data></CameraMatrix>
<Intrinsics type_id="opencv-matrix"><rows>3</rows><cols>3</cols><dt>d</dt>
  <data>1600. 0. 2056. 0. 1600. 1504. 0. 0. 1.</data></Intrinsics>
<Distortion type_id="opencv-matrix"><rows>5</rows><cols>1</cols><dt>d</dt><data>-0.1 0.05 0. 0. 0.</data></Distortion>
</opencv_storage>
"""
SCENE = """Index,Type,Body,X,Y,Z,Yaw,Pitch,Roll,Comment
0,Comment,None,0,0,0,0,0,0,free
1,Group,None,0,0,0,0,0,0,sequence_name=seq_000000;frames=2
2,Body,rp_aaron_posed_002_1038,1.5,-2,0,90.25,0.0,0.0,start_frame=3;texture_body=x
"""
LENS = """name,x,y,z,yaw,pitch,roll,focal_length,sensor_width,sensor_height,hfov
s_0000.png,5.058579,-9.743741,168.953232,1.468127,-2.905068,2.813995,36.905,36,20.25,52
"""


READERS = {
    "amass": Reader(amass, in_file(".npz", lambda file: read_amass(file).at(np.array([0.0, 0.01])))),
    "bedlam scene": Reader(texts(SCENE), in_file(".csv", scene_table)),
    "bedlam camera": Reader(texts(LENS), in_file(".csv", lambda file: camera_table(file, "s", 1))),
    "bedlam motion": Reader(motions, in_file(".npz", read_motion)),
    "bedlam2 motion": Reader(rotations, in_file(".npz", read_rotations)),
    "bedlam2 names": Reader(texts("20240729_1_250_ai1004_vcam, ai1004-portrait-b2v11\n"), in_file(".csv", portraits)),
    "bedlam rows": Reader(label_rows, in_file(".npz", scene_rows)),
    "emdb": Reader(emdb, in_file(".pkl", lambda file: read_annotation(file, "P0_00_x"))),
    "matlab": Reader(mats, in_file(".mat", lambda file: read_matlab(file, ("x", "t", "c"), hint="again"))),
    "mupots": Reader(multi_person, in_file(".mat", read_annotations)),
    "rich body": Reader(subjects, in_file(".pkl", read_body)),
    "rich view": Reader(texts(VIEW), in_file(".xml", read_calibration)),
    "cdf": Reader(cdfs, in_file(".cdf", lambda file: read_cdf(file, "Pose", hint="again"))),
    "image": Reader(images, lambda data: decode(data, "x", strict=True)),
    "image header": Reader(images, in_file(".jpg", file_size)),
    "video header": Reader(videos, in_file(".mp4", video_facts)),
    "index": Reader(lambda: [built()["index.json"]], in_shards("index.json", load_index)),
    "shard": Reader(lambda: [built()[SHARD]], in_shards(SHARD, read_clip)),
    "pickle": Reader(pickles, read_pickle),
    "npy": Reader(npys, load_npy),
    "npz": Reader(npzs, load_npz),
    "npz in pieces": Reader(npzs, lambda data: load_npz(data, each=lambda key, value: value)),
    "result": Reader(results, in_file(".trace.npz", read_result)),
    "torch": Reader(torches, lambda data: read_state(data, where="x.pth")),
    "json": Reader(
        texts(json.dumps({"a": [1, 2.5, {"b": "é\ud83d\ude00"}]}), "[" * 3000),
        lambda data: parse_json(data, where="x", error=ConfigError),
    ),
    "yaml": Reader(
        texts("a: [1, {b: 'é'}]\nc: &x\n  - 2020-01-02\n  - *x\n", "a0: &a0 [x]\na1: &a1 [*a0, *a0]\na2: [*a1, *a1]\n"),
        lambda data: parse_yaml(data, where="x", error=ConfigError),
    ),
    "toml": Reader(
        texts('a = "é"\n[b.c]\nd = [1, 2.5, 1979-05-27T07:32:00Z]\n'),
        lambda data: parse_toml(data, where="x", error=ConfigError),
    ),
}


def mutated(data: bytes, draw: random.Random) -> bytes:
    """A few bytes changed, lost, repeated or put in; sometimes cut, or the inside of an archive changed instead."""
    if data[:2] == b"PK" and draw.random() < 0.6:
        return _with_changed_member(data, draw)
    out = bytearray(data)
    for _ in range(draw.randint(1, 4)):
        at, kind = draw.randrange(len(out) + 1), draw.randrange(6)
        if kind == 0 and at < len(out):
            out[at] = draw.choice((0, 1, 127, 255, draw.randrange(256)))
        elif kind == 1:
            del out[at : at + draw.randint(1, 9)]
        elif kind == 2:
            start = draw.randrange(len(out) + 1)
            out[at:at] = out[start : start + draw.randint(1, 30)] * draw.choice((1, 1, 1, 40))
        elif kind == 3:
            out[at:at] = bytes([draw.choice(b"Rb\x81coi\x93\x92sue(t0h.\x94}]2\x86\x85qrjp")])
        elif kind == 4:
            out[at : at + 4] = draw.choice((b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\0", b"9" * 400))
        elif draw.random() < 0.2:
            del out[at:]
    return bytes(out)


def _with_changed_member(data: bytes, draw: random.Random) -> bytes:
    """The archive with one member changed and its checksum right again."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {item: archive.read(item) for item in archive.infolist()}
    chosen = draw.choice(list(members))
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for item, content in members.items():
            changed = mutated(content, draw) if item is chosen and content else content
            archive.writestr(item.filename, changed, item.compress_type)
    return stream.getvalue()


def _peak() -> int:
    text = Path("/proc/self/status").read_text()
    return 1024 * int(next(line for line in text.splitlines() if line.startswith("VmHWM")).split()[1])


def attack(name: str, cases: int, failed: Any) -> None:
    """Read `cases` files and put what should not have happened into the queue, then None. Runs in a child."""
    reader, draw = READERS[name], random.Random(SEED)
    seeds = reader.seeds()
    armed = False
    ran: list[str] = []

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if armed and event.startswith(RUNS):
            ran.append(f"{event} {str(arguments)[:200]}")

    for seed in seeds:  # what codecs and parsers import when they are first needed
        _outcome(reader, seed)
        _outcome(reader, mutated(seed, random.Random(0)))
    for codec in ("raw-unicode-escape", "unicode-escape", "utf-8", "latin1", "utf-16", "cp437", "idna"):
        "".encode(codec)
    resource.setrlimit(resource.RLIMIT_CPU, (CPU, CPU))
    sys.addaudithook(watch)
    for case in range(cases):
        data = seeds[case] if case < len(seeds) else mutated(seeds[case % len(seeds)], draw)
        before, began = _peak(), time.process_time()
        armed = True
        said = _outcome(reader, data)
        armed = False
        taken, grown = time.process_time() - began, _peak() - before
        if ran or said or taken > SECONDS * max(1, len(data) / 100_000) or grown > 10 * len(data) + BYTES:
            failed.put(f"{name}, case {case}: {said} {ran} {taken:.2f} s, {grown:,} bytes: {data[:80]!r}")
            ran.clear()
    failed.put(None)


def _outcome(reader: Reader, data: bytes) -> str | None:
    """None where a file was read or refused by name."""
    try:
        reader.read(data)
    except TraceError as error:
        return None if error.message and error.where is not None else f"no place: {error}"
    except BaseException as error:  # noqa: BLE001  whatever it is, it is the finding
        return f"{type(error).__name__}: {str(error)[:200]}"
    return None


def findings(name: str, cases: int) -> list[str]:
    """What went wrong; a child that dies is a finding too."""
    forking = multiprocessing.get_context("forkserver")  # it imports this module once, and each child begins from there
    forking.set_forkserver_preload([__name__])
    queue = forking.Queue()
    child = forking.Process(target=attack, args=(name, cases, queue))
    child.start()
    out = []
    try:
        while (said := queue.get(timeout=2 * CPU if cases > SHORT else 120)) is not None:
            out.append(said)
    except Exception as error:  # noqa: BLE001  nothing came: the child hangs or is gone
        out.append(f"no answer ({type(error).__name__}), exit code {child.exitcode}")
        child.kill()
    child.join()
    return out


@pytest.mark.parametrize("name", READERS)
def test_a_slice(name: str) -> None:
    assert not findings(name, SHORT)


@pytest.mark.nightly
@pytest.mark.parametrize("name", READERS)
def test_all(name: str) -> None:
    assert not findings(name, LONG)
