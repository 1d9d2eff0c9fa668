"""Reading what torch.save wrote: torch's own values for harmless files, a named error for every other one."""

from __future__ import annotations

import collections
import io
import os
import pickle
import random
import zipfile
from typing import Any

import numpy as np
import pytest
import torch

from trace_data.errors import AssetError, TraceError, UnsafePickleError
from trace_data.unpickle.torch_file import read_state

FORMS = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "row"])


def saved(value: Any, *, zipped: bool = True) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


def harmless() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    base = torch.randn(4, 6)
    kinds = (
        torch.float64,
        torch.float16,
        torch.bfloat16,
        torch.int64,
        torch.int32,
        torch.int16,
        torch.int8,
        torch.uint8,
    )
    state = {str(kind): (10 * base).to(kind) for kind in kinds}
    return state | {
        "plain": base,
        "same": base,
        "transposed": base.T,
        "part": base[1:3, ::2],
        "one number": torch.tensor(7),
        "nothing": torch.zeros(0, 3),
        "stretched": base[:1].expand(4, 6),
        "truth": base > 0,
    }


@FORMS
def test_reads_what_torch_wrote(zipped: bool) -> None:
    state = harmless()
    found = read_state(saved(state, zipped=zipped), where="x.pth")
    assert found.wrapper is None and list(found.tensors) == list(state)
    for name, value in state.items():
        expected = value.float() if value.dtype == torch.bfloat16 else value
        assert found.tensors[name].dtype == expected.numpy().dtype, name
        assert np.array_equal(found.tensors[name], expected.numpy()), name
        assert found.tensors[name].flags.writeable and found.tensors[name].flags.c_contiguous


@FORMS
def test_reads_a_module_and_looks_under_a_wrapper(zipped: bool) -> None:
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    state = module.state_dict()
    assert isinstance(state, collections.OrderedDict)
    for value, wrapper in ((state, None), ({"epoch": 3, "model_state_dict": state}, "model_state_dict")):
        found = read_state(saved(value, zipped=zipped), where="x.pth")
        assert found.wrapper == wrapper
        assert all(np.array_equal(found.tensors[name], tensor.numpy()) for name, tensor in state.items())


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch /tmp/never",)


@FORMS
@pytest.mark.parametrize(
    ("hostile", "name"),
    [
        (Evil(), "system"),
        (torch.nn.Linear(2, 2), "torch.nn.modules.linear.Linear"),
        (torch.nn.Parameter(torch.zeros(2)), "torch._utils._rebuild_parameter"),
        (np.float64(1.0), "scalar"),
        (collections.Counter("ab"), "collections.Counter"),
    ],
)
def test_names_what_it_refuses_and_the_byte(zipped: bool, hostile: object, name: str) -> None:
    data = saved({"weight": torch.zeros(2), "more": hostile}, zipped=zipped)
    with pytest.raises(UnsafePickleError) as caught:
        read_state(data, where="x.pth")
    assert name in caught.value.message and "checkpoint of weights" in caught.value.message
    stream = zipfile.ZipFile(io.BytesIO(data)).read("archive/data.pkl") if zipped else data
    at = int(caught.value.message.split("at byte ")[1].split(",")[0].replace(",", ""))
    assert stream[at : at + 1] in (b"c", b"\x93") and name.rpartition(".")[2].encode() in stream[at : at + 80]


@pytest.mark.parametrize(
    ("data", "finding"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1", "Git LFS"),
        (b"\x40\0\0\0\0\0\0\0" + b'{"a":', "safetensors"),
        (b"\0" * 257 + b"ustar", "tar archive"),
        (pickle.dumps({"a": 1}), "none that torch.save wrote"),
        (b"nonsense", "at byte"),
    ],
)
def test_other_files_are_called_what_they_are(data: bytes, finding: str) -> None:
    with pytest.raises(AssetError, match=finding):
        read_state(data, where="x.pth")


@FORMS
@pytest.mark.parametrize(
    "value", [torch.zeros(2), [torch.zeros(2)], {}, {"a": 3}, {"a": {"b": torch.zeros(2)}}, {1: torch.zeros(2)}]
)
def test_what_is_no_state_dict_is_refused(zipped: bool, value: object) -> None:
    with pytest.raises(AssetError, match="expected a state dict"):
        read_state(saved(value, zipped=zipped), where="x.pth")


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # the archive that nobody should write any more
def test_other_archives_are_refused() -> None:
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), buffer)
    with pytest.raises(AssetError, match="TorchScript"):
        read_state(buffer.getvalue(), where="x.pt")
    with zipfile.ZipFile(buffer := io.BytesIO(), "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(1000))
    with pytest.raises(AssetError, match="compressed"):
        read_state(buffer.getvalue(), where="x.pt")
    with zipfile.ZipFile(buffer := io.BytesIO(), "w") as archive:
        archive.writestr("weights.bin", bytes(10))
    with pytest.raises(AssetError, match="without the pickle"):
        read_state(buffer.getvalue(), where="x.zip")


@FORMS
def test_a_file_cut_anywhere_is_an_error(zipped: bool) -> None:
    data = saved(harmless(), zipped=zipped)
    for end in sorted({*range(1, len(data), 97), len(data) - 1}):
        with pytest.raises(TraceError):
            read_state(data[:end], where="x.pth")


@FORMS
def test_changed_bytes_are_an_error_or_change_values_only(zipped: bool) -> None:
    data = saved({"weight": torch.arange(6.0), "bias": torch.zeros(3, dtype=torch.int64)}, zipped=zipped)
    draw = random.Random(1)
    refused = 0
    for _ in range(400):
        changed = bytearray(data)
        for _ in range(draw.randint(1, 3)):
            changed[draw.randrange(len(data))] = draw.randrange(256)
        try:
            read_state(bytes(changed), where="x.pth")
        except TraceError:
            refused += 1
    assert refused > 100


def test_a_tensor_may_not_reach_beyond_its_content_nor_grow_without_end() -> None:
    storage = torch.zeros(4)
    data = saved({"w": storage[:2]}, zipped=False)
    wide = data.replace(b"K\x00K\x02\x85", b"K\x03K\x02\x85")  # offset 3, two numbers, four there
    assert wide != data
    with pytest.raises(AssetError, match="beyond its content"):
        read_state(wide, where="x.pth")
    with pytest.raises(AssetError, match="again and again"):
        read_state(saved({"w": torch.zeros(1).expand(10_000, 1_000)}), where="x.pth")


class Old(pickle.Pickler):
    """Writes tensors as torch 0.2 and 0.3 did, whose storages could be parts of others."""

    def __init__(self, stream: io.BytesIO) -> None:
        super().__init__(stream, protocol=2)
        self.storages: dict[str, torch.Tensor] = {}

    def persistent_id(self, obj: Any) -> Any:
        if not isinstance(obj, torch.UntypedStorage):
            return None
        name = str(obj.data_ptr())
        flat = torch.empty(0).set_(obj, 0, (obj.nbytes() // 4,))  # type: ignore[call-overload]
        self.storages[name] = flat
        return "storage", torch.FloatStorage, name, "cpu", len(flat), (name + "v", 2, len(flat) - 2)

    def reducer_override(self, obj: Any) -> Any:
        if not isinstance(obj, torch.Tensor):
            return NotImplemented
        arguments = obj.untyped_storage(), obj.storage_offset() - 2, tuple(obj.shape), obj.stride()
        return torch._utils._rebuild_tensor, arguments


def saved_by_old_torch(value: Any) -> bytes:
    stream = io.BytesIO()
    facts = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    for part in (0x1950A86A20F9469CFC6C, 1001, facts):
        pickle.dump(part, stream, protocol=2)
    pickler = Old(stream)
    pickler.dump(value)
    pickle.dump(sorted(pickler.storages), stream, protocol=2)
    for name in sorted(pickler.storages):
        flat = pickler.storages[name]
        stream.write(len(flat).to_bytes(8, "little") + flat.numpy().tobytes())
    return stream.getvalue()


def test_state_dicts_of_torch_before_0_4_are_read() -> None:
    base = torch.arange(26.0)
    state = collections.OrderedDict([("a", base[2:8].reshape(2, 3)), ("b", base[6:18].reshape(3, 4).T)])
    found = read_state(saved_by_old_torch({"state_dict": state, "epoch": 1}), where="old.pth")
    assert found.wrapper == "state_dict"
    for name, tensor in state.items():
        assert np.array_equal(found.tensors[name], tensor.numpy()), name
    wide = saved_by_old_torch({"a": base[2:26]}).replace(b"K\x18\x85", b"K\x19\x85")
    with pytest.raises(AssetError, match="beyond its content"):
        read_state(wide, where="old.pth")


@FORMS
def test_a_bare_tensor_a_module_and_harmless_company_have_words_of_their_own(zipped: bool) -> None:
    with pytest.raises(AssetError, match="tensor alone"):
        read_state(saved(torch.zeros(2), zipped=zipped), where="x.pth")
    with pytest.raises(UnsafePickleError) as caught:
        read_state(saved(torch.nn.Linear(2, 2), zipped=zipped), where="x.pth")
    assert "state_dict()" in str(caught.value.hint) and "whole model" in str(caught.value.hint)
    for other in (torch.nn.Parameter(torch.ones(2)), torch.eye(2).to_sparse(), torch.ones(2, dtype=torch.complex64)):
        with pytest.raises(UnsafePickleError) as caught:
            read_state(saved({"weight": other}, zipped=zipped), where="x.pth")
        assert "dense" in str(caught.value.hint) and "whole model" not in str(caught.value.hint)
    more = collections.defaultdict(list, {"loss": [0.5]})
    found = read_state(saved({"state_dict": {"w": torch.ones(2)}, "log": more}, zipped=zipped), where="x.pth")
    assert list(found.tensors) == ["w"]
    with pytest.raises(AssetError, match="copied as text"):
        read_state(saved({"w": torch.zeros(2)}, zipped=zipped).replace(b"\n", b"\r\n"), where="x.pth")


@FORMS
def test_which_tensors_were_bfloat16_is_told(zipped: bool) -> None:
    state = {"half": torch.ones(2, dtype=torch.bfloat16), "whole": torch.ones(2)}
    assert read_state(saved(state, zipped=zipped), where="x.pth").widened == ("half",)


def test_parts_that_lie_upon_each_other_are_refused() -> None:
    data = saved({"w": torch.zeros(1 << 16)})
    entries = data.rindex(b"PK\x01\x02", 0, data.rindex(b"archive/data/0"))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        start = archive.start_dir
        last = next(item for item in archive.infolist() if item.filename.endswith("data/0"))
    length = 46 + len(last.filename) + len(last.extra)
    again = b"".join(
        data[entries : entries + length].replace(b"archive/data/0", b"archive/data/%d" % number)
        for number in range(1, 8)
    )
    size = len(data) - start + len(again)
    tail = data[start : data.rindex(b"PK\x06\x06") if b"PK\x06\x06" in data else data.rindex(b"PK\x05\x06")]
    count = tail.count(b"PK\x01\x02") + 7
    end = b"PK\x05\x06" + b"\0" * 4 + count.to_bytes(2, "little") * 2
    end += (len(tail) + len(again)).to_bytes(4, "little") + start.to_bytes(4, "little") + b"\0\0"
    assert size > 0
    with pytest.raises(AssetError, match="upon each other"):
        read_state(data[:start] + tail + again + end, where="x.pth")


PAIRS = b"N" + b"2\x86" * 200


def with_pickle(content: bytes) -> bytes:
    with zipfile.ZipFile(buffer := io.BytesIO(), "w") as archive:
        archive.writestr("archive/data.pkl", content)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        PAIRS + b"Q.",
        b"}" + b"X\x01\0\0\0w" + PAIRS + b"s.",
        b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\0aX\x03\0\0\0cpu" + PAIRS + b"tQ.",
        b"ctorch._utils\n_rebuild_tensor\n(" + PAIRS + b"K\0))tR.",
        PAIRS + b"2\x93.",
        b"\x8f" * 1_000_000 + b".",
        b"(" * 1_000_000 + b".",
    ],
)
def test_what_costs_far_more_than_the_file_is_long_is_refused(content: bytes) -> None:
    row = b"".join(pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}))
    for data in (with_pickle(content), row + content, row + pickle.dumps({}, 2) + b"(" + PAIRS + b"l."):
        with pytest.raises(AssetError) as caught:
            read_state(data, where="x.pth")
        assert caught.value.where and len(caught.value.message) < 300
