"""The processes that train together, as torchrun or a cluster's scheduler starts them; alone, all of this is nothing.

Rank and number come from the environment (RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT). CPU tensors are
exchanged by gloo, CUDA tensors by NCCL. A process that ends before the others is named by those that miss it.
"""

from __future__ import annotations

import inspect
import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel

from trace_data.errors import ConfigError, LostProcess, TraceError

if TYPE_CHECKING:
    from torch._C._distributed_c10d import Store

    from trace_train.step import Learner

T = TypeVar("T")
PATIENCE = timedelta(hours=24)
"""How long processes wait for the first while it evaluates or draws; one that has ended is noticed at once."""
MISSING_SECONDS = 3.0
"""How long the others have to say that they live, before they are taken for lost; torchrun ends all after 30."""
CONNECTION = ("gloo", "nccl", "connection", "timed out", "timeout", "pair closure", "socket", "broken pipe", "store")
"""Words by which an error of an exchange is known: torch has no type of its own for most of them."""


class Processes:
    """The processes that train together, seen from one of them."""

    def __init__(self, rank: int = 0, world_size: int = 1, local_rank: int = 0) -> None:
        self.rank, self.world_size, self.local_rank = rank, world_size, local_rank
        self.first = rank == 0
        """Whether this one writes and speaks for all."""
        self.together = world_size > 1
        self._first_is_gone = False
        self._store: Store | None = None
        self._patient: dist.ProcessGroup | None = None

    def connect(self, timeout: timedelta) -> None:
        """Meet the others. Raises ConfigError, or the LostProcess of those who do not come."""
        try:
            self._store, _, _ = next(rendezvous("env://", self.rank, self.world_size, timeout=timeout))
        except ValueError as error:
            raise ConfigError(
                f"{self.world_size} processes are said to train together (WORLD_SIZE), and it is not said where they"
                f" meet: {error}",
                hint="torchrun --nproc-per-node N -m trace_cli train …  sets all of it; alone, unset WORLD_SIZE",
            ) from error
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        dist.init_process_group(backend, store=self._store, rank=self.rank, world_size=self.world_size, timeout=timeout)
        self._patient = cast(dist.ProcessGroup, dist.new_group(backend="gloo", timeout=PATIENCE))

    def sum(self, values: Tensor) -> Tensor:
        """Sum over all processes, on the device the values are on."""
        if not self.together:
            return values
        total = values.clone()
        dist.all_reduce(total)
        return total

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """Each flag, whether any process has raised it; the same answer for all."""
        return tuple(bool(count) for count in self.sum(torch.tensor(flags, dtype=torch.int32)).tolist())

    def share(self, value: T) -> T:
        """The first process's value, for all; they wait for it as long as it takes."""
        if not self.together:
            return value
        held = [value]
        dist.broadcast_object_list(held, src=0, group=self._patient, device=torch.device("cpu"))
        return held[0]

    def gather(self, value: T) -> list[T]:
        """Every process's value, in the order of their ranks."""
        if not self.together:
            return [value]
        values: list[T | None] = [None] * self.world_size
        dist.all_gather_object(values, value, group=self._patient)
        return cast("list[T]", values)

    def equalise(self, module: nn.Module) -> None:
        """Give all processes the first one's parameters and buffers."""
        if self.together:
            for value in module.state_dict().values():
                dist.broadcast(value, src=0)

    def average_gradients(self, parameters: Sequence[nn.Parameter]) -> bool:
        """Leave the mean gradient of all processes in each of them. Returns whether some parameter lacks one.

        A parameter that has one in some processes only counts as zero in the others.
        """
        device = parameters[0].device
        found = self.sum(torch.tensor([p.grad is not None for p in parameters], dtype=torch.int32, device=device))
        for parameter, count in zip(parameters, found.tolist()):
            if count:
                own = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
                parameter.grad = self.sum(own / self.world_size)
        return bool((found < self.world_size).any())

    def replicate(self, learner: Learner, device: torch.device, *, lacking: bool) -> DistributedDataParallel:
        """The learner, so that its backward pass leaves the mean gradient of all processes in each of them.

        `lacking`: whether some parameters get no gradient; they keep none. Buffers are not exchanged: those of the
        first process count (`distributed.sync_batchnorm` makes all of them alike).
        """
        known = inspect.signature(DistributedDataParallel.__init__).parameters  # renamed in torch 2.13
        buffers: dict[str, Any] = {
            "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers": False
        }
        return DistributedDataParallel(
            learner,
            device_ids=[device.index] if device.type == "cuda" else None,
            find_unused_parameters=lacking,
            gradient_as_bucket_view=True,
            **buffers,
        )

    def tell(self, text: str) -> None:
        """Leave word of why this process ends."""
        if self._store is not None:
            with suppress(RuntimeError):
                self._store.set(f"ended/{self.rank}", text)

    def lost(self, error: RuntimeError) -> LostProcess:
        """Find out who is missing, after an exchange has failed."""
        ended, silent = self._roll_call()
        self._first_is_gone = 0 in silent
        parts = [f"process {rank} of {self.world_size} has ended: {text}" for rank, text in sorted(ended.items())]
        if silent:
            named = ", ".join(map(str, sorted(silent)))
            parts.append(
                f"process{'es' if len(silent) > 1 else ''} {named} of {self.world_size} (counted from 0) ended or hangs"
                " without a word: killed, out of memory, or its machine is gone"
            )
        return LostProcess(
            "; ".join(parts) or f"the processes lost each other: {str(error).splitlines()[0]}",
            hint="the same command with  train --resume RUN  goes on from the last checkpoint",
        )

    def first_told(self, text: str | None) -> bool:
        """Whether the first process says by itself why it ends: just this, or, with None, anything."""
        deadline = time.monotonic() + MISSING_SECONDS
        with suppress(RuntimeError):
            while self._store is not None and not self._first_is_gone and time.monotonic() < deadline:
                if self._store.check(["ended/0"]):
                    time.sleep(1)  # whoever started us ends all when the first one ends: let it speak first
                    said: bytes = self._store.get("ended/0")
                    return text is None or said.decode() == text
                time.sleep(0.05)
        return False

    def _roll_call(self) -> tuple[dict[int, str], set[int]]:
        """Who has said why it ended, and who says nothing at all."""
        assert self._store is not None
        ended: dict[int, str] = {}
        silent = set(range(self.world_size)) - {self.rank}
        deadline = time.monotonic() + MISSING_SECONDS
        try:
            self._store.set(f"lives/{self.rank}", "yes")
            while silent and time.monotonic() < deadline:
                for rank in sorted(silent):
                    if self._store.check([f"ended/{rank}"]):
                        ended[rank] = self._store.get(f"ended/{rank}").decode()
                    if rank in ended or self._store.check([f"lives/{rank}"]):
                        silent.discard(rank)
                time.sleep(0.05)
        except RuntimeError:  # the store is gone, and with it the process or machine that held it
            return ended, {0} - {self.rank}
        return ended, silent


@contextmanager
def joined(timeout_minutes: float) -> Iterator[Processes]:
    """The processes of this run, from the environment.

    When one ends with an error the others end too, with one that names it; what all have to say alike, only the first
    says. Raises ConfigError when the environment is incomplete, LostProcess.
    """
    processes = from_environment()
    if not processes.together:
        yield processes
        return
    try:
        processes.connect(timedelta(minutes=timeout_minutes))
        yield processes
    except TraceError as error:
        _end(processes, error)
        raise
    except RuntimeError as error:
        _outlive_the_others()
        if not any(word in str(error).lower() for word in CONNECTION):
            processes.tell(f"{type(error).__name__}: {str(error).splitlines()[0]}")
            raise
        missing = processes.lost(error)
        _end(processes, missing)
        raise missing from error
    except Exception as error:
        processes.tell(f"{type(error).__name__}: {error}")
        raise
    dist.destroy_process_group()


def _end(processes: Processes, error: TraceError) -> None:
    """Leave word; a process that could only repeat what the first says, or that it is gone, ends silently."""
    _outlive_the_others()
    processes.tell(str(error))
    if not processes.first and processes.first_told(None if isinstance(error, LostProcess) else str(error)):
        raise SystemExit(error.exit_code)


def _outlive_the_others() -> None:
    """Ignore the signal by which torchrun ends all when one has ended, for the moment it takes to say why."""
    with suppress(ValueError):  # outside the main thread nothing is changed
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


def from_environment() -> Processes:
    """Which process this is. Raises ConfigError for values that are no numbers or do not fit."""
    values = {}
    for name, default in (("WORLD_SIZE", "1"), ("RANK", "0"), ("LOCAL_RANK", "0")):
        text = os.environ.get(name, default)
        if not text.isdecimal():
            raise ConfigError(f"{name} is {text!r} in the environment, expected a number", hint=f"unset {name}")
        values[name] = int(text)
    size, rank = values["WORLD_SIZE"], values["RANK"]
    if not rank < max(size, 1):
        raise ConfigError(f"process {rank} of {size} (RANK, WORLD_SIZE)", hint="ranks are counted from 0")
    return Processes(rank, max(size, 1), values["LOCAL_RANK"])


def synchronise_normalisation(network: nn.Module, mode: str, processes: Processes, device: torch.device) -> None:
    """Let batch normalisation see the clips of all processes, where `distributed.sync_batchnorm` asks for it.

    Raises ConfigError when it asks for it on a CPU.
    """
    if mode == "always" and device.type != "cuda":
        raise ConfigError(
            "distributed.sync_batchnorm works on CUDA alone, and this run computes on the CPU",
            hint="--set distributed.sync_batchnorm=auto",
        )
    if processes.together and mode != "never" and device.type == "cuda":
        nn.SyncBatchNorm.convert_sync_batchnorm(network)
