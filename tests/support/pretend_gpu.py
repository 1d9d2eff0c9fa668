"""A GPU that is not there: tensors that say `cuda:0` and compute with real numbers on the CPU.

An operation between both devices raises, as on a GPU, and what would let the CPU wait for a GPU is counted: reading
numbers, operations whose result has a size that depends on numbers, and copies from pageable memory. Autocast follows
the rules of CUDA. It has no kernels, streams or memory of its own, and does not compile.

A small library in C++ must be loaded before torch is imported, so a script uses it in a process of its own
(`run_script`), which begins with `start()`.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import traceback
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

LIBRARY = "PRETEND_GPU_LIBRARY"
SOURCE = Path(__file__).with_suffix(".cpp")
READS = {"_local_scalar_dense", "is_nonzero", "equal", "_linalg_check_errors", "_linalg_svd", "_linalg_eigh"}
SIZES = {"nonzero", "masked_select", "bincount", "unique_consecutive", "unique_dim", "_unique2", "repeat_interleave"}
INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index", "_unsafe_index_put"}
COPIES = {"_to_copy", "copy_"}


def build_library(folder: Path) -> Path:
    """Compile the library; skips the test where that is impossible or a real GPU would be in the way."""
    import torch

    if torch.version.cuda is not None:
        pytest.skip("this torch has CUDA of its own: benchmarks/gpu.py checks a real GPU")
    compiler = shutil.which("g++") or shutil.which("clang++")
    if compiler is None or sys.platform != "linux":
        pytest.skip("needs a C++ compiler on Linux")
    found = importlib.util.find_spec("torch")
    assert found is not None and found.submodule_search_locations
    torch_folder, out = Path(found.submodule_search_locations[0]), folder / "pretend_gpu.so"
    paths = [f"-I{torch_folder / 'include'}", f"-L{torch_folder / 'lib'}", f"-Wl,-rpath,{torch_folder / 'lib'}"]
    flags = ["-O0", "-shared", "-fPIC", "-std=c++20", "-lc10", "-ltorch_cpu"]
    subprocess.run([compiler, str(SOURCE), "-o", str(out), *paths, *flags], check=True)
    return out


def run_script(script: Path, arguments: Sequence[str | Path], folder: Path) -> dict[str, Any]:
    """Run a script that calls `start()`, in a process of its own; returns the JSON object it prints last."""
    environment = {**os.environ, LIBRARY: str(build_library(folder)), "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join([str(SOURCE.parent), *sys.path])
    done = subprocess.run(
        [sys.executable, str(script), *map(str, arguments)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-6000:]}"
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def start() -> Any:
    """Load the library and make torch believe that it has a GPU; returns `PretendGpu`, a context manager.

    Called before torch is imported by anybody else: functions decorated with `inference_mode` are changed too.
    """
    assert "torch" not in sys.modules
    ctypes.CDLL(os.environ[LIBRARY], mode=ctypes.RTLD_GLOBAL)
    import torch
    import torch.cuda.amp.common
    from torch import Tensor
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves, tree_map

    gpu, cpu = torch.device("cuda", 0), torch.device("cpu")
    pinned: dict[int, Tensor] = {}
    counted: list[Counter[str]] = [Counter()]

    def note(what: str) -> None:
        """Count a wait, named by the innermost function of this project that asked for it."""
        ours = [f for f in traceback.extract_stack() if "/trace_train/" in f.filename or "/trace_data/" in f.filename]
        place = f"{Path(ours[-1].filename).name}:{ours[-1].name}" if ours else "elsewhere"
        counted[0][f"{place} {what}"] += 1

    def locked(memory: Tensor) -> Tensor:
        """Page-locked from now on. It is kept, so that its address is not used again by other memory."""
        pinned[memory.untyped_storage().data_ptr()] = memory
        return memory

    class GpuTensor(Tensor):
        """Says cuda:0; its numbers are in a tensor of the CPU."""

        inner: Tensor  # type: ignore[assignment]
        __torch_function__ = torch._C._disabled_torch_function_impl

        @staticmethod
        def __new__(cls: type, inner: Tensor, requires_grad: bool = False) -> Any:
            return Tensor._make_wrapper_subclass(
                cls,
                inner.size(),
                strides=inner.stride(),
                storage_offset=inner.storage_offset(),
                dtype=inner.dtype,
                layout=inner.layout,
                device=gpu,
                requires_grad=requires_grad,
            )

        def __init__(self, inner: Tensor, requires_grad: bool = False) -> None:
            self.inner = inner

        @classmethod
        def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # type: ignore[override]
            return call(func, args, kwargs or {})

        def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
            return f"GpuTensor({self.inner})"

        def __deepcopy__(self, memo: Any) -> Any:
            copy = GpuTensor(self.inner.clone(), self.requires_grad)
            copy._is_param = getattr(self, "_is_param", False)
            memo[id(self)] = copy
            return copy

        def __reduce_ex__(self, protocol: Any) -> Any:
            return self.inner.detach().__reduce_ex__(protocol)

        def tolist(self) -> Any:
            note("tolist")
            return self.inner.tolist()

        def numpy(self, **kwargs: Any) -> Any:
            raise TypeError("can't convert cuda:0 device type tensor to numpy")

        def __array__(self, *args: Any, **kwargs: Any) -> Any:
            return self.numpy()

        def new_tensor(self, data: Any, *, dtype: Any = None, device: Any = None) -> Tensor:  # type: ignore[override]
            return torch.tensor(data, dtype=dtype or self.dtype, device=device or self.device)

        def data_ptr(self) -> int:
            return self.inner.data_ptr()

        def untyped_storage(self) -> Any:
            return self.inner.untyped_storage()

        def __getitem__(self, index: Any) -> Any:
            return super().__getitem__(uploaded(index))

        def __setitem__(self, index: Any, value: Any) -> None:
            super().__setitem__(uploaded(index), value)

    def uploaded(index: Any) -> Any:
        """Lists and arrays as indices are copied to the GPU."""
        if isinstance(index, tuple):
            return tuple(map(uploaded, index))
        known = isinstance(index, int | slice | Tensor) or index is None or index is Ellipsis
        return index if known else torch.tensor(index, device=gpu)

    def call(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Any operation: checks devices, counts waits, computes on the CPU."""
        name = func.overloadpacket.__name__
        given = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        ours = [x for x in given if isinstance(x, GpuTensor)]
        target = kwargs.get("device")
        on_gpu = bool(ours) if target is None else torch.device(target).type == "cuda"
        if name in COPIES:
            source = args[0] if name == "_to_copy" else args[1]
            if name == "copy_":
                on_gpu = isinstance(args[0], GpuTensor)
            if isinstance(source, GpuTensor) and not on_gpu:
                note("copy to the CPU")
            elif on_gpu and not isinstance(source, GpuTensor) and source.dim():
                if source.untyped_storage().data_ptr() not in pinned:
                    note("copy from pageable memory")
                elif not kwargs.get("non_blocking", name == "copy_" and len(args) > 2 and args[2]):
                    note("blocking copy")
        elif ours:
            refuse_mixes(func, name, args, given)
            masks = name in INDEXING and any(x is not None and x.dtype == torch.bool for x in args[1])
            filled = masks and name.endswith("_") and args[2].dim() == 0 and not isinstance(args[2], GpuTensor)
            if name in READS or name in SIZES or (masks and not filled):
                note(name)
        plain_args, plain = tree_map(lambda x: x.inner if isinstance(x, GpuTensor) else x, (args, dict(kwargs)))
        if target is not None:
            plain["device"] = cpu
        pin = plain.pop("pin_memory", None)
        out = func(*plain_args, **plain)
        if pin:
            locked(out)
        if not on_gpu:
            return out
        out = tree_map(lambda x: GpuTensor(x) if isinstance(x, Tensor) and not isinstance(x, GpuTensor) else x, out)
        return written(func, args, kwargs, out)

    def refuse_mixes(func: Any, name: str, args: Any, given: Sequence[Tensor]) -> None:
        """As a GPU does: numbers without dimensions may come from the CPU, and indices, which are copied."""
        others = [x for x in given if not isinstance(x, GpuTensor) and x.dim()]
        if others and name in INDEXING and isinstance(args[0], GpuTensor):
            note("index on the CPU")
            others = [x for x in args[2:3] if isinstance(x, Tensor) and x.dim() and not isinstance(x, GpuTensor)]
        if others:
            raise RuntimeError(f"Expected all tensors to be on the same device: {func} mixes cuda:0 and cpu")

    def written(func: Any, args: Any, kwargs: dict[str, Any], out: Any) -> Any:
        """Operations that write into an argument return it, not a copy."""
        returns = func._schema.returns
        if not returns and func._schema.name.endswith("_"):
            return None
        if len(returns) != 1 or returns[0].alias_info is None or not returns[0].alias_info.is_write:
            return out
        for place, argument in enumerate(func._schema.arguments):
            if argument.alias_info is not None and argument.alias_info.is_write:
                return kwargs[argument.name] if argument.name in kwargs else args[place]
        return out

    class PretendGpu(TorchDispatchMode):
        """While it is entered, `cuda:0` can be used; `waits` counts what lets the CPU wait, by place."""

        @property
        def waits(self) -> Counter[str]:
            return counted[0]

        def counted(self) -> dict[str, int]:
            """The waits since the last call."""
            found, counted[0] = dict(sorted(counted[0].items())), Counter()
            return found

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            return call(func, args, kwargs or {})

    # a GPU's optimiser works on many tensors at once
    importlib.import_module("torch.optim.optimizer")._foreach_supported_types.append(GpuTensor)
    plain_tensor = torch.tensor

    def tensor(data: Any, *, dtype: Any = None, device: Any = None, pin_memory: bool = False, **kwargs: Any) -> Tensor:
        """`torch.tensor`, whose copy to the device no dispatch mode sees."""
        made = plain_tensor(data, dtype=dtype, **kwargs)
        return made if device is None else made.to(device)

    def pin(self: Tensor, device: Any = None) -> Tensor:
        return self if self.is_pinned() else locked(self.clone())

    changed: Any = torch
    changed.tensor = tensor
    changed.inference_mode = lambda mode=True: torch.no_grad() if mode else nullcontext()
    changed.Tensor.pin_memory = pin
    changed.Tensor.is_pinned = lambda self, device=None: self.untyped_storage().data_ptr() in pinned
    torch.autograd.set_multithreading_enabled(False)
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    torch.cuda.amp.common.amp_definitely_not_available = lambda: False
    properties = SimpleNamespace(name="pretend", total_memory=139 << 30, major=9, minor=0, multi_processor_count=132)
    answers: dict[str, Any] = {
        "is_available": True,
        "is_initialized": True,
        "is_bf16_supported": True,
        "_lazy_init": None,
        "_is_in_bad_fork": False,
        "device_count": 1,
        "current_device": 0,
        "set_device": None,
        "synchronize": None,
        "empty_cache": None,
        "get_device_name": properties.name,
        "get_device_properties": properties,
        "get_device_capability": (9, 0),
        "mem_get_info": (130 << 30, 139 << 30),
        "reset_peak_memory_stats": None,
        "memory_allocated": 1 << 30,
        "max_memory_allocated": 1 << 30,
        "memory_reserved": 1 << 30,
        "max_memory_reserved": 1 << 30,
        "manual_seed": None,
        "manual_seed_all": None,
        "set_rng_state": None,
        "get_rng_state": torch.get_rng_state(),
    }
    for name, answer in answers.items():
        setattr(torch.cuda, name, lambda *args, _answer=answer, **kwargs: _answer)
    return PretendGpu
