"""The restricted reader: the same objects as Python's own for harmless files, a named error for every other one."""

from __future__ import annotations

import builtins
import collections
import io
import os
import pickle
import random
import re
import struct
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import python2_text
import scipy.sparse

from trace_data.errors import AssetError, TraceError, UnsafePickleError
from trace_data.unpickle import machine as pickle_machine
from trace_data.unpickle import stream as pickle_pieces
from trace_data.unpickle.machine import DROPPED
from trace_data.unpickle.reader import load_npy, load_npz, load_pickle, to_array

PROTOCOLS = range(6)
CUBE = np.arange(24.0).reshape(2, 3, 4)
HARMLESS = {
    "atoms": [
        None,
        True,
        False,
        0,
        -5,
        255,
        65535,
        1 << 31,
        -(1 << 70),
        1.5,
        float("inf"),
        1 + 2j,
        "é☃",
        "",
        "x" * 70000,
    ],
    "bytes": [b"", b"\x00\xff", b"y" * 300, bytearray(b"z")],
    "groups": [(), (1,), (1, 2, 3, 4), [], [[1], [2]], {}, {"a": {(1, "b"): 2}}, {1, 2}, frozenset([3])],
    "ordered": collections.OrderedDict([("b", 1), ("a", 2)]),
    "arrays": [CUBE, np.asfortranarray(CUBE[0]), CUBE.transpose(1, 0, 2), CUBE[:, ::2], np.empty((0, 3)), np.array(7)],
    "types": [np.array([1, 2], code) for code in ("i1", "u2", "i4", "u8", "f2", "f4", "c16", "?")],
    "texts": [np.array(["ab", "c"]), np.array([b"ab"])],
    "objects": [np.array([1, None, [2]], dtype=object), np.array({"q": CUBE}, dtype=object)],
    "numbers": [np.float64(2.5), np.int32(-3), np.bool_(True), np.float32(0.1)],
}


def same(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray):
        plain = a.dtype == b.dtype and a.shape == b.shape
        if a.dtype == object:
            return plain and all(same(x, y) for x, y in zip(a.ravel(), b.ravel()))
        return plain and np.array_equal(a, b)
    if isinstance(a, dict):
        return type(a) is type(b) and list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(same(x, y) for x, y in zip(a, b))
    return type(a) is type(b) and bool(a == b)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_reads_what_python_wrote(protocol: int) -> None:
    found = load_pickle(pickle.dumps(HARMLESS, protocol))
    for name, values in HARMLESS.items():
        assert same(found[name], values), name


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_shared_and_cyclic_parts_stay_shared(protocol: int) -> None:
    ring: list[Any] = [CUBE, CUBE]
    ring.append(ring)
    found = load_pickle(pickle.dumps(ring, protocol))
    assert found[2] is found
    assert found[0] is found[1]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_two_byte_orders_in_one_file(protocol: int) -> None:
    values = [np.array([1.5, 2], ">f8"), np.array([1.5, 2], "<f8"), np.dtype(">f8"), np.dtype("<f8")]
    big, little, big_type, little_type = load_pickle(pickle.dumps(values, protocol))
    assert np.array_equal(big, little)
    assert (big_type, little_type) == (np.dtype(">f8"), np.dtype("<f8"))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_sparse_matrix_becomes_dense(protocol: int) -> None:
    matrix = scipy.sparse.random(5, 7, 0.4, format="csc", random_state=1)
    data = pickle.dumps(matrix, protocol)
    old = data.replace(b"cscipy.sparse._csc\n", b"cscipy.sparse.csc\n")
    for text in (data, old):
        assert np.array_equal(to_array(load_pickle(text), name="m", shape=(5, 7)), matrix.toarray())


def test_python2_opcodes_by_hand() -> None:
    # protocol 0: old strings with escapes, longs, a set, and numbers in text
    numbers = b"L123L\nsS'b'\nI01\nsS'd'\nF1.5\nsS'c'\n"
    text = b"(dp0\nS'a\\xe9\\n'\np1\n" + numbers + b"c__builtin__\nset\np2\n((lp3\nI1\naI2\natp4\nRp5\ns."
    assert load_pickle(text) == {"a\xe9\n": 123, "b": True, "c": {1, 2}, "d": 1.5}
    # protocol 1 and 2: counted strings, latin1
    assert load_pickle(b"]q\x00(U\x02\xe9xT\x03\x00\x00\x00abcK\x07M\x01\x02J\xff\xff\xff\xffe.") == [
        "éx",
        "abc",
        7,
        513,
        -1,
    ]


def python2_chumpy(protocol: int) -> bytes:
    """`{'shapedirs': Select(Ch(arange(24)), idxs [5, 0, 23, 7], (2, 2))}`, as Python 2 wrote it."""

    state = {
        "a": python2_text.chumpy(np.arange(24.0), protocol),
        "idxs": python2_text.array(np.array([5, 0, 23, 7])),
        "preferred_shape": b"(I2\nI2\nt",
    }
    select = python2_text.instance("chumpy.reordering", "Select", state, protocol)
    return (b"\x80\x02" if protocol == 2 else b"") + python2_text.dictionary({"shapedirs": select}) + b"."


@pytest.mark.parametrize("protocol", [0, 2])
def test_chumpy_select_without_chumpy(protocol: int) -> None:
    found = load_pickle(python2_chumpy(protocol))["shapedirs"]
    assert to_array(found, name="shapedirs", shape=(2, 2)).tolist() == [[5, 0], [23, 7]]


def test_chumpy_objects_equal_chumpy() -> None:
    chumpy = pytest.importorskip("chumpy")
    values = chumpy.Ch(np.random.default_rng(0).normal(size=(4, 5, 6)))
    for expression in (values, values[:, :, :3], values[1:3, ::2][:, :1], values[2], values.T, values.reshape((20, 6))):
        for protocol in (0, 2, 4):
            found = to_array(load_pickle(pickle.dumps(expression, protocol)), name="x")
            assert np.array_equal(found, expression.r)
    with pytest.raises(AssetError, match="unevaluated chumpy expression"):
        to_array(load_pickle(pickle.dumps(values + values, 2)), name="x")


@pytest.mark.parametrize(
    "change",
    [
        {"idxs": np.array([-1])},
        {"idxs": np.array([6])},
        {"idxs": np.array([0.5])},
        {"idxs": np.array([1, 2]), "preferred_shape": (3,)},
        {"idxs": np.array([1, 2]), "preferred_shape": (1 << 40, 1 << 40)},
        {"idxs": "all"},
        {"a": None},
    ],
)
def test_hostile_select_is_refused(change: dict[str, Any]) -> None:
    select = load_pickle(b"cchumpy.reordering\nSelect\n)\x81.")
    select.state.update({"a": np.arange(6.0), "idxs": np.array([0]), **change})
    with pytest.raises(AssetError, match="shapedirs"):
        to_array(select, name="shapedirs")


def test_endless_expression_is_refused() -> None:
    ring = load_pickle(b"cchumpy.ch\nCh\n)\x81p0\n}S'x'\ng0\nsb.")
    with pytest.raises(AssetError, match="nested"):
        to_array(ring, name="v_template")


class Canary:
    """Unpickled by Python's own loader, this makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_code_is_never_run(protocol: int, tmp_path: Path) -> None:
    data = pickle.dumps({"v_template": CUBE, "J": Canary(tmp_path / "canary")}, protocol)
    with pytest.raises(UnsafePickleError) as caught:
        load_pickle(data, where="SMPL_MALE.pkl")
    assert not (tmp_path / "canary").exists()
    asked = data.index(b"cposix\nmkdir") if protocol < 4 else data.index(b"\x93", data.index(b"mkdir"))
    assert f"asks for posix.mkdir at byte {asked:,}" in caught.value.message
    assert caught.value.where == "SMPL_MALE.pkl"
    pickle.loads(data)
    assert (tmp_path / "canary").exists(), "the canary is alive only if Python's loader would have run it"


@pytest.mark.parametrize(
    "asked",
    ["builtins eval", "builtins getattr", "__builtin__ __import__", "os system", "numpy load", "copyreg __newobj__",
     "numpy.core.multiarray frombuffer", "numpy.testing runstring", "joblib.hashing Hasher", "chumpyx.ch Ch"],
)  # fmt: skip
def test_forbidden_names(asked: str) -> None:
    module, name = asked.split(" ")
    for code in (f"c{module}\n{name}\n)R.", f"(i{module}\n{name}\n.", f"(V{module}\nV{name}\n\x93."):
        with pytest.raises(UnsafePickleError, match=re.escape(f"{module}.{name} at byte")):
            load_pickle(code.encode("latin1"))


@pytest.mark.parametrize(
    "data",
    [
        b"cnumpy\nndarray\n(I9\nI9\ntR.",
        b"c__builtin__\nobject\n)\x81.",
        b"c__builtin__\nbytearray\n(I999999999999\ntR.",
        b"cnumpy\ndtype\n(S'V8'\ntR.",
        b"c__builtin__\nset\n(S'abc'\ntR.",
        b"P0\n.",
        b"\x82\x01.",
        b"(lp0\n" + b"(" * 50 + b".",
        b"\x8e" + struct.pack("<Q", 1 << 60) + b"x.",
        b"N" + b"\x85" * 100_000 + b"q\x00}h\x00Ns.",
        b"L" + b"9" * 100_000 + b"L\n.",
        b"",
        b"garbage",
        b"<html>log in</html>",
    ],
)
def test_nonsense_is_a_named_error(data: bytes) -> None:
    with pytest.raises(AssetError) as caught:
        load_pickle(data, where="here.pkl")
    assert "here.pkl" in str(caught.value)


def test_huge_shapes_take_no_memory() -> None:
    for shape in ((1 << 40,), (1 << 32, 1 << 32), (-1,), (2, -3)):
        array = pickle.dumps(np.zeros(3), 2).replace(b"K\x03\x85", b"(" + b"".join(b"L%dL\n" % s for s in shape) + b"t")
        with pytest.raises(AssetError, match="shape"):
            load_pickle(array)


def test_copying_one_text_again_and_again_is_refused() -> None:
    body = b"X" + struct.pack("<I", 1 << 20) + b"a" * (1 << 20) + b"q\x00]"
    again = b"c_codecs\nencode\nh\x00\x85Ra"
    with pytest.raises(AssetError, match="again and again"):
        load_pickle(body + again * 2000 + b".")


def test_size_limit_holds_for_compressed_files_too(tmp_path: Path) -> None:
    import gzip

    data = pickle.dumps(np.zeros(1 << 17))
    with pytest.raises(AssetError, match="larger than"):
        load_pickle(data, limit_bytes=1 << 16)
    (tmp_path / "bomb.pkl").write_bytes(gzip.compress(data))
    with pytest.raises(AssetError, match="unpacks to more"):
        load_pickle(tmp_path / "bomb.pkl", limit_bytes=1 << 16)
    np.savez_compressed(tmp_path / "bomb.npz", x=np.zeros(1 << 17))
    with pytest.raises(AssetError, match="unpacks to more"):
        load_npz(tmp_path / "bomb.npz", limit_bytes=1 << 16)


def test_missing_and_truncated_files_say_so(tmp_path: Path) -> None:
    with pytest.raises(AssetError, match="does not exist"):
        load_pickle(tmp_path / "no.pkl")
    data = pickle.dumps(HARMLESS, 2)
    for end in range(0, len(data), 97):
        (tmp_path / "cut.pkl").write_bytes(data[:end])
        with pytest.raises(AssetError, match=r"cut\.pkl"):
            load_pickle(tmp_path / "cut.pkl")


@pytest.mark.parametrize("compress", [0, 3, "gzip", "bz2", "xz"])
def test_joblib_files(compress: int | str, tmp_path: Path) -> None:
    joblib = pytest.importorskip("joblib")
    joblib.dump(HARMLESS, tmp_path / "db", compress=compress)
    found = load_pickle(tmp_path / "db")
    for name, values in HARMLESS.items():
        assert same(found[name], values), name


def test_npz_with_object_members(tmp_path: Path) -> None:
    arrays = {"annots": np.array({"frame": CUBE}, dtype=object), "plain": CUBE, "text": np.array(["a", "bc"])}
    np.savez(tmp_path / "a.npz", **arrays)
    found = load_npz(tmp_path / "a.npz")
    assert all(same(found[name], value) for name, value in arrays.items())
    np.savez(tmp_path / "bad.npz", annots=np.array([Canary(tmp_path / "canary")], dtype=object))
    with pytest.raises(UnsafePickleError, match=r"posix\.mkdir"):
        load_npz(tmp_path / "bad.npz")
    assert not (tmp_path / "canary").exists()


def test_only_the_named_members_are_unpacked(tmp_path: Path) -> None:
    np.savez_compressed(
        tmp_path / "a.npz", small=CUBE, large=np.zeros(1 << 16), other=np.array([Canary(tmp_path / "c")])
    )
    found = load_npz(tmp_path / "a.npz", only=("small", "missing"), limit_bytes=1 << 16)
    assert list(found) == ["small"] and same(found["small"], CUBE)
    with pytest.raises(AssetError, match="unpacks to more"):
        load_npz(tmp_path / "a.npz", only=("small", "large"), limit_bytes=1 << 16)


def test_npz_of_many_small_parts_as_smaller_things(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickle_machine, "WINDOW", 512)
    entries = {f"image {i}": {"points": np.arange(6.0) + i, "unused": np.zeros(3)} for i in range(400)}
    np.savez(tmp_path / "a.npz", annots=np.array(entries, object), other=CUBE)

    def each(key: object, value: object) -> object:
        return float(value["points"][1]) if isinstance(value, dict) else value

    found = load_npz(tmp_path / "a.npz", only=("annots",), each=each)
    assert found.keys() == {"annots"} and found["annots"].item() == {f"image {i}": i + 1.0 for i in range(400)}
    with monkeypatch.context() as patch, pytest.raises(AssetError, match="has more parts than any"):
        patch.setattr("trace_data.unpickle.reader.MAX_STEPS", 1000)
        load_npz(tmp_path / "a.npz")
    entries["image 399"]["points"] = entries["image 200"]["points"]  # one array, stored once, far behind
    np.savez(tmp_path / "a.npz", annots=np.array(entries, object))
    assert load_npz(tmp_path / "a.npz")["annots"].item()["image 399"]["points"][1] == 201
    with pytest.raises(AssetError, match="is not readable as a pickle"):
        load_npz(tmp_path / "a.npz", each=each)


def test_npy_lying_about_its_size() -> None:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f8", "fortran_order": False, "shape": (1 << 50,)})
    with pytest.raises(AssetError, match="another size"):
        load_npy(stream.getvalue() + b"\0" * 80)


@pytest.mark.parametrize(
    ("value", "match"),
    [
        (np.array([1.0, np.nan]), "not finite"),
        (np.array(["a"]), "expected numbers"),
        (np.array([[1.0]]), "expected \\(2\\)"),
        ([1.0, 2.0], "expected an array"),
    ],
)
def test_to_array_checks(value: Any, match: str) -> None:
    with pytest.raises(AssetError, match=match):
        to_array(value, name="weights", shape=(2,))
    with pytest.raises(AssetError, match="fractions"):
        to_array(np.array([0.5]), name="f", dtype=np.int64)


def mutated(data: bytes, rng: random.Random) -> bytes:
    out = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at, kind = rng.randrange(len(out)), rng.randrange(4)
        if kind == 0:
            out[at] = rng.randrange(256)
        elif kind == 1:
            del out[at : at + rng.randint(1, 9)]
        elif kind == 2:
            out[at:at] = out[(start := rng.randrange(len(out))) : start + rng.randint(1, 30)]
        else:
            out[at:at] = bytes([rng.choice(b"Rb\x81coi\x93\x92sue(t0h.\x94}]")])
    return bytes(out)


@pytest.mark.filterwarnings("ignore:.*invalid (octal )?escape")
def test_mutated_files_only_ever_raise_named_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: Any, **__: Any) -> None:
        raise SystemError("a mutated pickle reached something that runs")

    small = {
        "a": np.arange(6.0).reshape(2, 3),
        "o": np.array([None, "x"], dtype=object),
        "s": {1, "k"},
        "f": 1.5,
        "i": 7,
    }
    matrix = scipy.sparse.random(3, 4, 0.5, format="csc", random_state=0)
    seeds = [pickle.dumps({**small, "m": matrix}, protocol) for protocol in PROTOCOLS]
    seeds += [python2_chumpy(0), python2_chumpy(2), pickle.dumps(Canary(Path("/nowhere/canary")), 2)]
    rng = random.Random(20)
    for codec in ("raw-unicode-escape", "unicode-escape", "utf-8", "latin1"):
        "".encode(codec)  # Python runs the code of a codec when it is first asked for
    for module, name in ((os, "system"), (os, "mkdir"), (builtins, "eval"), (builtins, "exec")):
        monkeypatch.setattr(module, name, forbidden)
    slowest = 0.0
    for case in range(6000):
        data = mutated(seeds[case % len(seeds)], rng)
        start = time.perf_counter()
        try:
            found = load_pickle(data)
            for value in found.values() if isinstance(found, dict) else [found]:
                to_array(value, name="value", shape=(3, 4) if getattr(value, "kind", "").startswith("scipy") else None)
        except TraceError:
            pass
        slowest = max(slowest, time.perf_counter() - start)
    assert slowest < 2


def test_a_file_in_pieces_is_the_file_in_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However small the pieces are, in text and binary pickles; and its checksum is compared at the end."""
    monkeypatch.setattr(pickle_pieces, "CHUNK", 3)
    entries = {f"image {i}": {"points": np.arange(6.0) + i, "name": "x" * 50, "big": 1 << 70} for i in range(5)}
    shared = np.array([1.0, 2])
    entries["shared"] = {"a": shared, "b": shared}
    file = tmp_path / "a.npz"
    for protocol in PROTOCOLS:
        with zipfile.ZipFile(file, "w") as archive, archive.open("annots.npy", "w") as stream:
            header = {"descr": "|O", "fortran_order": False, "shape": ()}
            np.lib.format.write_array_header_1_0(stream, header)  # type: ignore[arg-type]
            pickle.dump(np.array(entries, object), stream, protocol=protocol)
        whole = load_npz(file)["annots"].item()
        pieces = load_npz(file, each=lambda key, value: value)["annots"].item()
        assert same(whole, pieces) and pieces["shared"]["a"] is pieces["shared"]["b"]
        dropped = load_npz(file, each=lambda key, value: DROPPED if key == "big" else value)["annots"].item()
        assert dropped["image 3"].keys() == {"points", "name"}
    data = bytearray(file.read_bytes())
    place = data.index(np.arange(6.0).tobytes())
    data[place] ^= 1  # a number that is as good as the other
    file.write_bytes(data)
    with pytest.raises(AssetError, match="Bad CRC-32"):
        load_npz(file, each=lambda key, value: value)


@pytest.mark.parametrize("order", ["<", ">"])
def test_text_of_characters_that_do_not_exist_is_refused(tmp_path: Path, order: str) -> None:
    """numpy would hand it out, and Python fail on it later."""
    text = np.array(["neutral"]).astype(f"{order}U7")
    np.savez(tmp_path / "a.npz", text=text)
    assert load_npz(tmp_path / "a.npz")["text"].tolist() == ["neutral"]
    text.view(f"{order}u4")[2] = 0x110000
    np.savez(tmp_path / "a.npz", text=text)
    for read in (lambda: load_npz(tmp_path / "a.npz"), lambda: load_pickle(pickle.dumps({"a": text}, 2))):
        with pytest.raises(AssetError, match="characters"):
            read()
