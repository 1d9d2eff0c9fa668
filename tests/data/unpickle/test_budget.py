"""Small files that ask for much time or memory are refused by name, and early; real ones of any size are not.

Limits are checked on what is counted, not by a clock; `tests/data/test_fuzz_readers.py` has the clock.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import pickle
import resource
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trace_data.errors import AssetError, UnsafePickleError
from trace_data.unpickle import budget
from trace_data.unpickle.reader import load_npy, load_npz, load_pickle, to_array

PAIRS = b"N" + b"2\x86" * 200
"""A tuple of two tuples of two tuples …: 2 ** 200 words, were it ever written out."""
DTYPE = b"cnumpy\ndtype\n(S'f8'\nI0\nI1\ntR"
ARRAY = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntC\x01btR"
LONG = b"\x8b" + struct.pack("<i", 8 << 20) + b"\x7f" * (8 << 20)
FRAME = b"cjoblib.numpy_pickle\nNumpyArrayWrapper\n)\x81}(S'dtype'\n" + DTYPE
HASH = (1 << 61) - 1
"""Multiples of this have the same hash."""


@pytest.fixture(autouse=True)
def cpu_limit() -> Iterator[None]:
    """A bomb that goes off ends the process instead of the machine's day."""
    used = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    limits = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (int(used) + 120, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_CPU, limits)


FOREIGN = {
    "module": PAIRS + b"2\x93.",
    "name": b"X\x02\0\0\0os" + PAIRS + b"\x93.",
    "dtype": b"cnumpy\ndtype\n" + PAIRS + b"\x85R.",
    "order": b"cnumpy.core.numeric\n_frombuffer\n(C\x00" + DTYPE + b"(I0\nt" + PAIRS + b"tR.",
    "order in joblib": FRAME + b"S'shape'\n(I0\ntS'order'\n" + PAIRS + b"ub.",
    "key": b"}" + PAIRS + b"Ns.",
    "member": b"\x8f(" + PAIRS + b"\x90.",
    "function": PAIRS + b")R.",
    "state": b"N" + PAIRS + b"b.",
    "persistent id": PAIRS + b"Q.",
    "shape": b"cnumpy.core.numeric\n_frombuffer\n(C\x00" + DTYPE + PAIRS + b"S'C'\ntR.",
    "factory": b"ccollections\ndefaultdict\n" + PAIRS + b"\x85R.",
}


@pytest.mark.parametrize("place", FOREIGN)
def test_of_a_foreign_object_only_the_type_is_told(place: str) -> None:
    with pytest.raises(AssetError) as caught:
        load_pickle(FOREIGN[place], where="x.pkl")
    assert caught.value.where == "x.pkl" and len(caught.value.message) < 300


def colliding(keys: list[Any], dictionary: bool) -> bytes:
    body = b"".join(pickle.dumps(key, 2)[2:-1] + (b"N" if dictionary else b"") for key in keys)
    return (b"}(" + body + b"u." if dictionary else b"\x8f(" + body + b"\x90.").replace(b"q\x00", b"")


def tuples_of_one_hash(count: int) -> list[tuple[int, int]]:
    """The hash of a pair is found from `first * P2`, turned and multiplied, and `second * P2`: solved for `second`."""
    p1, p2, full = 11400714785074694791, 14029467366897019727, 1 << 64
    out, wanted, first = [], None, 0
    while len(out) < count:
        first += 1
        lane = (2870177450012600261 + first * p2) % full
        lane = ((lane << 31 | lane >> 33) % full) * p1 % full
        if wanted is None:
            wanted = lane
        second = (wanted - lane) * pow(p2, -1, full) % full
        if second < HASH >> 1:
            out.append((first, second))
    return out


@pytest.mark.parametrize("dictionary", [True, False], ids=["dictionary", "set"])
def test_keys_cannot_be_chosen_to_collide(dictionary: bool) -> None:
    pairs = tuples_of_one_hash(500)
    assert len(set(map(hash, pairs))) == 1
    for keys in ([k * HASH for k in range(1, 500)], pairs):
        with pytest.raises(AssetError, match=r"key"):
            load_pickle(colliding(keys, dictionary))
    listed = pickle.dumps(pairs, 2)[2:-1]
    for name in (b"c__builtin__\nset\n", b"c__builtin__\nfrozenset\n"):
        with pytest.raises(AssetError, match="hash"):
            load_pickle(name + listed + b"\x85R.")
    many = {(k, "b"): k for k in range(5000)} | {k: k for k in range(5000)} | {k / 7: k for k in range(5000)}
    assert load_pickle(pickle.dumps([many, many, set(many)])) == [many, many, set(many)]


LARGE_SIDES = {
    "a dozen large integers": ARRAY + b"(I1\n(" + LONG + b"2" * 11 + b"t" + DTYPE + b"I00\nC\x00tb.",
    "in joblib": FRAME + b"S'shape'\n(" + LONG + b"2" * 11 + b"tu" + b"b.",
    "from a buffer": b"cnumpy.core.numeric\n_frombuffer\n(C\x00" + DTYPE + b"(" + LONG + b"2" * 11 + b"tS'C'\ntR.",
    "as a key": b"}" + LONG + b"Ns.",
    "of many sides": ARRAY + b"(I1\n(" + b"I0\n" * 17 + b"t" + DTYPE + b"I00\nC\x00tb.",
    "nothing of a huge side": ARRAY + b"(I1\n(I0\nL4611686018427387904L\nt" + DTYPE + b"I00\nC\x00tb.",
}


@pytest.mark.parametrize("case", LARGE_SIDES)
def test_sides_are_bounded(case: str) -> None:
    with pytest.raises(AssetError, match=r"integer|shape") as caught:
        load_pickle(LARGE_SIDES[case], where="x.pkl")
    assert caught.value.where == "x.pkl"


@pytest.mark.parametrize("shape", [(0, 1 << 62), (1 << 62, 0, 3), (-1, -1), (-1,)])
@pytest.mark.parametrize("kind", ["<f8", "|O"])
def test_shapes_that_no_array_has_in_a_header(shape: tuple[int, ...], kind: str) -> None:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": kind, "fortran_order": False, "shape": shape})
    content = stream.getvalue() + (pickle.dumps(np.array([], object)) if kind == "|O" else b"")
    with pytest.raises(AssetError, match="shape") as caught:
        load_npy(content, where="x.npy")
    assert caught.value.where == "x.npy"


@pytest.mark.parametrize("shape", [(0, 1 << 62), (-1, -1), (1 << 80,), (-2,)])
def test_shapes_that_no_array_has_in_an_expression(shape: tuple[int, ...]) -> None:
    for kind, key in (("Select", "preferred_shape"), ("Reshape", "newshape")):
        node = load_pickle(b"cchumpy.reordering\n" + kind.encode() + b"\n)\x81.")
        node.state.update({"a": np.zeros(0), "idxs": np.zeros(0, np.int64), key: shape})
        with pytest.raises(AssetError, match="v_template"):
            to_array(node, name="v_template")
    sparse = load_pickle(b"cscipy.sparse.csc\ncsc_matrix\n)\x81.")
    parts = {"data": np.zeros(0), "indices": np.zeros(0, np.int64), "indptr": np.zeros(1, np.int64)}
    sparse.state.update({"_shape": shape, **parts})
    with pytest.raises(AssetError, match="J_regressor"):
        to_array(sparse, name="J_regressor", shape=(None, None))


LISTED = b"](" + b"K\x01" * 100_000 + b"eq\x000"
TEXT = b"X\0\0\x10\0" + b"a" * (1 << 20) + b"q\x00"
MUCH = {
    "marks": b"(" * 20_000_000,
    "small integers": b"](" + b"K\x07" * 10_000_000 + b"e.",
    "tiny dictionaries": b"](" + b"}K\x00Ns" * 4_000_000 + b"e.",
    "sets": b"\x8f" * 1_000_000 + b".",
    "dictionaries": b"}" * 2_000_000 + b".",
    "gaps in the memo": b"".join(b"Nr" + struct.pack("<I", (1 << 15) * k) for k in range(1, 3000)) + b".",
    "a slot far away": b"Nr\xff\xff\xff\xff.",
    "a slot of 4,000 digits": b"Np" + b"9" * 4000 + b"\n.",
    "one slot, again and again": b"N" + b"q\x00" * 2_000_000 + b".",
    "what is taken away again": b"N0" * 2_000_000 + b"N.",
    "nothing, appended": b"]" + b"Na" * 3_000_000 + b".",
    "one key, again and again": b"}" + b"K\x00Ns" * 3_000_000 + b".",
    "one call, again and again": b"c_codecs\nencode\nq\0X\1\0\0\0a\x85q\1](" + b"h\0h\1R" * 1_000_000 + b"e.",
    "a slot below zero": b"Np0\n0Np-1\n.",
    "one list, many sets": LISTED + b"c__builtin__\nset\nq\x01" + b"h\x01h\x00\x85R0" * 3000 + b".",
    "one list, many frozen sets": LISTED + b"c__builtin__\nfrozenset\nq\x01" + b"h\x01h\x00\x85R0" * 3000 + b".",
    "one text, many times": TEXT + b"c_codecs\nencode\nq\1" + b"h\1h\0\x85R0" * 3000 + b".",
}
PACKED = {
    "56 bytes of bz2": bz2.compress(b"N" * 90_000_000),
    "sets in gzip": gzip.compress(b"\x8f" * 30_000_000),
    "memo in zlib": zlib.compress(b"N" + b"\x94" * 30_000_000),
    "pops in gzip": gzip.compress(b"N0" * 15_000_000),
    "marks in xz": lzma.compress(b"(" * 30_000_000),
    "floats in gzip": gzip.compress(b"G\0\0\0\0\0\0\0\0" * 5_000_000),
    "zeros in gzip": gzip.compress(pickle.dumps(np.zeros(1 << 24), 2)),
}


@pytest.mark.parametrize("case", [*MUCH, *PACKED])
def test_what_costs_far_more_than_the_file_is_long_is_refused(case: str) -> None:
    with pytest.raises(AssetError) as caught:
        load_pickle({**MUCH, **PACKED}[case], where="x.pkl")
    assert caught.value.where == "x.pkl"


@pytest.mark.parametrize("each", [None, lambda key, value: value], ids=["whole", "in pieces"])
def test_members_of_an_archive_are_counted_by_what_they_are_packed_to(each: Any) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|O", "fortran_order": False, "shape": ()})
    for member in (header.getvalue() + b"\x8f" * 3_000_000, _zeros(1 << 22)):
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
            for number in range(4):  # one may pass, all together may not
                archive.writestr(f"{number}.npy", member)
        with pytest.raises(AssetError, match="memory"):
            load_npz(stream.getvalue(), where="x.npz", limit_bytes=1 << 40, each=each)


def _zeros(count: int) -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.zeros(count))
    return stream.getvalue()


def test_a_part_that_is_named_many_times_is_computed_once() -> None:
    node = load_pickle(b"cchumpy.ch\nCh\n)\x81.")
    node.state["x"] = np.zeros(1, np.int64)
    for _ in range(31):
        above = load_pickle(b"cchumpy.reordering\nSelect\n)\x81.")
        above.state.update({"a": node, "idxs": node})
        node = above
    assert to_array(node, name="v_template").tolist() == [0]
    with pytest.raises(AssetError, match="computes more"):
        large = np.zeros(1 << 26, np.int8)
        for _ in range(3):
            above = load_pickle(b"cchumpy.reordering\nReshape\n)\x81.")
            above.state.update({"a": large, "newshape": (1 << 13, 1 << 13)})
            large = above
        to_array(large, name="v_template")


REAL = {
    "small dictionaries": [{"a": i % 200, "b": 3, "c": 7} for i in range(50_000)],
    "small lists": [[1, 2, 3] for _ in range(50_000)],
    "pairs": [(i % 250, i % 199) for i in range(50_000)],
    "names": [f"image {i}" for i in range(50_000)],
    "nothing": [None] * 500_000,
    "small arrays": [np.arange(3.0) for _ in range(20_000)],
}


@pytest.mark.parametrize("case", REAL)
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_what_people_write_stays_within_the_account(case: str, protocol: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if case != "nothing":  # so that the length decides, as in files of gigabytes
        monkeypatch.setattr(budget, "FREE_STEPS", 1000)
    assert len(load_pickle(pickle.dumps(REAL[case], protocol))) == len(REAL[case])


def test_a_column_of_text_for_every_row_of_the_largest_annotation_is_read() -> None:
    rows = [f"imageFiles/downtown_walking_00/image_{i:05d}.jpg" for i in range(100_000)]
    found = load_pickle(
        pickle.dumps({"img_name": np.array(rows, object), "vid_name": rows, "frame_id": [*range(100_000)]})
    )
    assert found["vid_name"] == rows and found["img_name"].tolist() == rows


def in_an_archive(pickled: bytes) -> bytes:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|O", "fortran_order": False, "shape": ()})
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("annots.npy", header.getvalue() + pickled)
    return stream.getvalue()


EVERY_IMAGE: dict[str, Any] = {
    "Human3.6M": lambda i: {"kp2d": np.ones((32, 2)) * i, "poses": np.ones((3, 66)), "cam": np.ones((3, 3))},
    "MPI-INF-3DHP": lambda i: {"kp2d": np.ones((28, 2), np.float32) * i, "kp3d": np.ones((28, 3), np.float32)},
    "Penn Action": lambda i: [[np.full((13, 3), float(i))], [i]],
    "fits of Penn Action": lambda i: [[np.ones(72) * i, np.ones(10)]],
    "lists of pairs": lambda i: {"kp2d": [[i + k / 7, k / 3] for k in range(28)]},
}


@pytest.mark.parametrize("protocol", [2, 3, 4])
@pytest.mark.parametrize("form", EVERY_IMAGE)
def test_a_dictionary_of_every_image_is_read_however_many_there_are(
    form: str, protocol: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, "FREE_STEPS", 1000)  # so that the length decides, as in files of gigabytes
    content = {f"{i:04d}-000001.jpg": EVERY_IMAGE[form](i) for i in range(1000)}
    found = load_npz(in_an_archive(pickle.dumps(np.array(content, object), protocol)), of_images=True)
    assert len(found["annots"].item()) == 1000


@pytest.mark.parametrize("each", [None, lambda key, value: value], ids=["whole", "in pieces"])
@pytest.mark.parametrize("case", ["small integers", "tiny dictionaries", "pairs"])
def test_in_a_file_of_images_a_flood_is_refused(case: str, each: Any) -> None:
    flood = (MUCH | {"pairs": b"](" + b"K\x01K\x02\x86" * 4_000_000 + b"e."})[case]
    with pytest.raises(AssetError, match="more parts"):
        load_npz(in_an_archive(flood), of_images=True, each=each)


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (1 << 40, np.int32),
        (-1, np.uint8),
        (256, np.uint8),
        (float(1 << 63), np.int64),
        (1e300, np.float32),
        (-1e300, np.float32),
        (7e4, np.float16),
        (1 << 63, np.int64),
        (2, np.bool_),
        (1 << 70, np.float64),
    ],
)
def test_what_the_type_cannot_hold_is_refused(value: float, dtype: Any) -> None:
    for given in (value, np.array([value, 0])):
        with pytest.raises(AssetError, match="faces") as caught:
            to_array(given, name="faces", dtype=dtype, where="x.pkl")
        assert caught.value.where == "x.pkl"


def test_what_the_type_can_hold_is_kept() -> None:
    for value, dtype in ((255, np.uint8), (-(1 << 31), np.int32), ((1 << 63) - 1, np.int64), (3e38, np.float32)):
        assert to_array(np.array([value]), name="faces", dtype=dtype)[0] == dtype(value)
    assert to_array(np.zeros((0, 3)), name="faces", dtype=np.uint8).shape == (0, 3)


def test_too_little_memory_is_called_that(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def none_left(*_: Any) -> None:
        raise MemoryError

    (tmp_path / "x.pkl").write_bytes(pickle.dumps([1]))
    monkeypatch.setattr("trace_data.unpickle.reader.run", none_left)
    with pytest.raises(AssetError, match="memory") as caught:
        load_pickle(tmp_path / "x.pkl")
    assert caught.value.hint and "workers" in caught.value.hint


def test_a_small_file_takes_no_gigabyte_to_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    class Stream(io.BytesIO):
        def read(self, count: int | None = -1) -> bytes:
            asked.append(-1 if count is None else count)
            return super().read(count)

    assert load_pickle(Stream(pickle.dumps([1]))) == [1]
    assert all(0 <= count <= 1 << 20 for count in asked)


def as_text(data: bytes) -> bytes:
    return data.replace(b"\n", b"\r\n")


def test_a_text_pickle_copied_as_text_is_told_and_not_read_with_returns_in_its_names() -> None:
    whole = pickle.dumps({"v_template": [1.5, 2.5], "betas": "x"}, protocol=0)
    assert load_pickle(whole) == {"v_template": [1.5, 2.5], "betas": "x"}
    with pytest.raises(AssetError, match="copied as text"):
        load_pickle(whole.replace(b"\n", b"\r\n"))


@pytest.mark.parametrize("protocol", [0, 1, 2])
def test_a_file_that_was_copied_as_text_is_called_that(protocol: int, tmp_path: Path) -> None:
    content = {str(number): np.arange(3) for number in range(5)}
    with pytest.raises(AssetError, match="copied as text") as caught:
        load_pickle(as_text(pickle.dumps(content, protocol)), where="SMPL.pkl")
    assert not isinstance(caught.value, UnsafePickleError) and "binary" in str(caught.value.hint)
    np.savez(tmp_path / "a.npz", **{f"a{k}": np.full(20, 10, np.uint8) for k in range(3)})
    (tmp_path / "a.npz").write_bytes(as_text((tmp_path / "a.npz").read_bytes()))
    for source in (tmp_path / "a.npz", (tmp_path / "a.npz").read_bytes()):
        with pytest.raises(AssetError, match="copied as text"):
            load_npz(source)


def test_harmless_names_have_harmless_words() -> None:
    import collections
    import datetime

    factories = (list, dict, int, None, collections.OrderedDict)
    for factory in factories:
        for protocol in range(6):
            held = collections.defaultdict(factory, {"a": 1, "b": [2]})
            assert load_pickle(pickle.dumps(held, protocol)) == {"a": 1, "b": [2]}
    with pytest.raises(UnsafePickleError) as caught:
        load_pickle(pickle.dumps(datetime.date(2020, 1, 2)))
    assert "save arrays" in str(caught.value.hint) and "claims" not in str(caught.value.hint)
    with pytest.raises(UnsafePickleError, match="claims") as caught:
        load_pickle(b"cos\nsystem\n(S'ls'\ntR.")
    with pytest.raises(UnsafePickleError) as caught:
        load_pickle(b"cos\x1b[31m\nsys\x07tem\n.")
    assert "\x1b" not in str(caught.value) and "\x07" not in str(caught.value)
