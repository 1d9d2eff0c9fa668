"""Multi-process training as launched by torchrun or Slurm. In a single process every call is a no-op.

Rank and number come from the environment (RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT). CPU tensors are
exchanged by gloo, CUDA tensors by NCCL. A process that ends before the others is named by those that miss it.
"""

from __future__ import annotations

import inspect
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from datetime import timedelta
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel

from trace_data.errors import ConfigError, LostProcess, TraceError
from trace_train.training.liveness import PeerLiveness
from trace_train.training.loss_module import LossModule

T = TypeVar("T")
PATIENCE = timedelta(hours=24)
"""How long processes wait for the first while it evaluates or draws; one that has ended is noticed at once."""
CONNECTION = ("gloo", "nccl", "connection", "timed out", "timeout", "pair closure", "socket", "broken pipe", "store")
"""Words by which an error of an exchange is known: torch has no type of its own for most of them."""


class Processes:
    """The processes that train together, seen from one of them."""

    def __init__(self, rank: int = 0, world_size: int = 1, local_rank: int = 0) -> None:
        self.rank, self.world_size, self.local_rank = rank, world_size, local_rank
        self.first = rank == 0
        """Whether this one writes and speaks for all."""
        self.together = world_size > 1
        self._patient: dist.ProcessGroup | None = None
        self.exchanging: Callable[[], AbstractContextManager[None]] = nullcontext
        """Around a step, in which a process that is lost may leave this one waiting for ever (`liveness.py`)."""

    def connect(self, timeout: timedelta) -> PeerLiveness:
        """Meet the others. Raises ConfigError when it is not said where, LostProcess when they do not all come."""
        try:
            store, _, _ = next(rendezvous("env://", self.rank, self.world_size, timeout=timeout))
            backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
            dist.init_process_group(backend, store=store, rank=self.rank, world_size=self.world_size, timeout=timeout)
            self._patient = cast(dist.ProcessGroup, dist.new_group(backend="gloo", timeout=PATIENCE))
        except ValueError as error:
            raise ConfigError(
                f"{self.world_size} processes are said to train together (WORLD_SIZE), and it is not said where they"
                f" meet: {error}",
                hint="torchrun --nproc-per-node N -m trace_cli train …  sets all of it; alone, unset WORLD_SIZE",
            ) from error
        except RuntimeError as error:
            raise LostProcess(
                f"{self.world_size} processes were to meet at {os.environ.get('MASTER_ADDR')} and did not:"
                f" {str(error).splitlines()[0]}",
                hint="start them all, and let them reach MASTER_ADDR at MASTER_PORT",
            ) from error
        return PeerLiveness(store, self.rank, self.world_size)

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

    def broadcast_parameters(self, module: nn.Module) -> None:
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

    def replicate(
        self, loss_module: LossModule, device: torch.device, *, has_unused_parameters: bool
    ) -> DistributedDataParallel:
        """The module in a wrapper whose backward pass averages gradients over all processes.

        `has_unused_parameters`: whether some parameters get no gradient; they keep none. Buffers are not exchanged:
        those of the first process count (`distributed.sync_batchnorm` makes all of them alike).
        """
        known = inspect.signature(DistributedDataParallel.__init__).parameters  # renamed in torch 2.13
        buffers: dict[str, Any] = {
            "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers": False
        }
        return DistributedDataParallel(
            loss_module,
            device_ids=[device.index] if device.type == "cuda" else None,
            find_unused_parameters=has_unused_parameters,
            gradient_as_bucket_view=True,
            **buffers,
        )


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
    liveness = processes.connect(timedelta(minutes=timeout_minutes))
    processes.exchanging = liveness.exchanging
    try:
        with liveness.watched():
            yield processes
    except TraceError as error:
        _end(processes, liveness, error)
        raise
    except RuntimeError as error:
        _outlive_the_others()
        if not any(word in str(error).lower() for word in CONNECTION):
            liveness.tell(f"{type(error).__name__}: {str(error).splitlines()[0]}")
            raise
        missing = liveness.lost(error)
        _end(processes, liveness, missing)
        raise missing from error
    except Exception as error:
        liveness.tell(f"{type(error).__name__}: {error}")
        raise
    dist.destroy_process_group()


def _end(processes: Processes, liveness: PeerLiveness, error: TraceError) -> None:
    """Leave word; a process that could only repeat what the first says, or that it is gone, ends silently."""
    _outlive_the_others()
    liveness.tell(str(error))
    if not processes.first and liveness.first_told(None if isinstance(error, LostProcess) else str(error)):
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
