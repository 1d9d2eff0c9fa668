"""Multi-process training as launched by torchrun or Slurm. In a single process every call is a no-op.

Rank and world size come from the environment (RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT). CPU tensors use
gloo, CUDA tensors NCCL. If a process is lost, the errors of the others name it.
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
"""How long processes wait while rank 0 evaluates or draws; a process that has ended is noticed at once."""
CONNECTION = ("gloo", "nccl", "connection", "timed out", "timeout", "pair closure", "socket", "broken pipe", "store")
"""Words that identify a communication error: torch has no exception type for most of them."""


class Processes:
    """This process's view of the process group, and its collective operations."""

    def __init__(self, rank: int = 0, world_size: int = 1, local_rank: int = 0) -> None:
        self.rank, self.world_size, self.local_rank = rank, world_size, local_rank
        self.first = rank == 0
        """Whether this is rank 0, which writes files and prints."""
        self.together = world_size > 1
        self._patient: dist.ProcessGroup | None = None
        self.exchanging: Callable[[], AbstractContextManager[None]] = nullcontext
        """Context manager around a step, where a lost process could block this one for ever (`liveness.py`)."""

    def connect(self, timeout: timedelta) -> PeerLiveness:
        """Initialise the process group. Raises ConfigError if the rendezvous address is missing, LostProcess if some
        processes do not join."""
        try:
            store, _, _ = next(rendezvous("env://", self.rank, self.world_size, timeout=timeout))
            backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
            dist.init_process_group(backend, store=store, rank=self.rank, world_size=self.world_size, timeout=timeout)
            self._patient = cast(dist.ProcessGroup, dist.new_group(backend="gloo", timeout=PATIENCE))
        except ValueError as error:
            raise ConfigError(
                f"WORLD_SIZE asks for {self.world_size} processes, but their rendezvous is not set: {error}",
                hint="torchrun --nproc-per-node N -m trace_cli train …  sets it; for one process, unset WORLD_SIZE",
            ) from error
        except RuntimeError as error:
            raise LostProcess(
                f"the rendezvous of {self.world_size} processes at {os.environ.get('MASTER_ADDR')} failed:"
                f" {str(error).splitlines()[0]}",
                hint="start all of them, and make sure that they can reach MASTER_ADDR:MASTER_PORT",
            ) from error
        return PeerLiveness(store, self.rank, self.world_size)

    def sum(self, values: Tensor) -> Tensor:
        """Sum over all processes, on the device of `values`."""
        if not self.together:
            return values
        total = values.clone()
        dist.all_reduce(total)
        return total

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """For each flag, whether it is set in any process; the same result in all of them."""
        return tuple(bool(count) for count in self.sum(torch.tensor(flags, dtype=torch.int32)).tolist())

    def share(self, value: T) -> T:
        """Broadcast the value of rank 0; the others wait for it without a time limit."""
        if not self.together:
            return value
        held = [value]
        dist.broadcast_object_list(held, src=0, group=self._patient, device=torch.device("cpu"))
        return held[0]

    def gather(self, value: T) -> list[T]:
        """The values of all processes, in rank order."""
        if not self.together:
            return [value]
        values: list[T | None] = [None] * self.world_size
        dist.all_gather_object(values, value, group=self._patient)
        return cast("list[T]", values)

    def broadcast_parameters(self, module: nn.Module) -> None:
        """Copy the parameters and buffers of rank 0 to all processes."""
        if self.together:
            for value in module.state_dict().values():
                dist.broadcast(value, src=0)

    def average_gradients(self, parameters: Sequence[nn.Parameter]) -> bool:
        """Average the gradients over all processes in place. Returns whether some parameter has no gradient.

        Where only some processes have a gradient for a parameter, it counts as zero in the others.
        """
        device = parameters[0].device
        counts = self.sum(torch.tensor([p.grad is not None for p in parameters], dtype=torch.int32, device=device))
        for parameter, count in zip(parameters, counts.tolist()):
            if count:
                own = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
                parameter.grad = self.sum(own / self.world_size)
        return bool((counts < self.world_size).any())

    def replicate(
        self, loss_module: LossModule, device: torch.device, *, has_unused_parameters: bool
    ) -> DistributedDataParallel:
        """Wrap the module so that its backward pass averages gradients over all processes.

        `has_unused_parameters`: whether some parameters get no gradient. Buffers are not synchronised: those of rank 0
        are saved (`distributed.sync_batchnorm` keeps them equal everywhere).
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
    """Join the process group described by the environment.

    When one process fails, the others end with an error that names it; an error common to all is printed by rank 0
    only. Raises ConfigError if the environment is incomplete, LostProcess.
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
            liveness.announce(f"{type(error).__name__}: {str(error).splitlines()[0]}")
            raise
        missing = liveness.lost(error)
        _end(processes, liveness, missing)
        raise missing from error
    except Exception as error:
        liveness.announce(f"{type(error).__name__}: {error}")
        raise
    dist.destroy_process_group()


def _end(processes: Processes, liveness: PeerLiveness, error: TraceError) -> None:
    """Announce the error to the others; end silently if rank 0 reports the same error, or reports any when this process
    only knows that another one is lost."""
    _outlive_the_others()
    liveness.announce(str(error))
    if not processes.first and liveness.first_announced(None if isinstance(error, LostProcess) else str(error)):
        raise SystemExit(error.exit_code)


def _outlive_the_others() -> None:
    """Ignore the signal by which torchrun stops the remaining processes until this one has printed its error."""
    with suppress(ValueError):  # signal handlers can only be set in the main thread
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


def from_environment() -> Processes:
    """Rank and world size from the environment. Raises ConfigError for values that are not numbers or inconsistent."""
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
    """Synchronise batch normalisation over all processes if `distributed.sync_batchnorm` asks for it.

    Raises ConfigError if it is required on the CPU.
    """
    if mode == "always" and device.type != "cuda":
        raise ConfigError(
            "distributed.sync_batchnorm needs CUDA, and this run uses the CPU",
            hint="--set distributed.sync_batchnorm=auto",
        )
    if processes.together and mode != "never" and device.type == "cuda":
        nn.SyncBatchNorm.convert_sync_batchnorm(network)
