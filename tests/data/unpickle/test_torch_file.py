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
