"""What would let the CPU wait for a GPU, found on torch's meta device, whose tensors have a shape and no numbers.

Operations between that device and the CPU fail as they would on a GPU, and so does everything that must read numbers
(`item`, `nonzero`, masks as indices). What does not fail is noted.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

DEVICE = torch.device("meta")
CHECKED = {"_linalg_svd", "_linalg_eigh", "linalg_cholesky_ex", "linalg_eig"}
"""Operations after which a GPU is asked whether they went well."""


class Waits(TorchDispatchMode):
    """Notes copies between devices and checked operations, with their place."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(
        self, function: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        name = function.overloadpacket.__name__
        result = function(*args, **dict(kwargs or {}))
        devices = {t.device.type for t in tree_leaves((args, kwargs, result)) if isinstance(t, Tensor)}
        if name in CHECKED or (name in ("_to_copy", "copy_") and len(devices) > 1):
            self._note(name)
        return result

    def __enter__(self) -> Waits:
        super().__enter__()
        # what makes a tensor of Python's numbers copies out of sight of a dispatch mode
        self._patches = [
            patch.object(owner, name, self._noting(name, getattr(owner, name)))
            for owner, name in ((torch, "tensor"), (Tensor, "new_tensor"))
        ]
        for one in self._patches:
            one.start()
        return self

    def __exit__(self, *error: object) -> None:
        for one in self._patches:
            one.stop()
        super().__exit__(*error)  # type: ignore[arg-type]

    def _noting(self, name: str, real: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def make(*args: Any, **kwargs: Any) -> Tensor:
            result = real(*args, **kwargs)
            if result.device == DEVICE:
                self._note(name)
            return result

        return make

    def _note(self, name: str) -> None:
        ours = [f for f in traceback.extract_stack() if "/trace_train/" in f.filename]
        place = ", ".join(f"{f.filename.rpartition('/')[2]}:{f.lineno}" for f in ours[-2:])
        self.found.append(f"{name} at {place}")
