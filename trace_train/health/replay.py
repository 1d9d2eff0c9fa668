"""Replays a saved batch to locate the first non-finite value: module, clip, forward or backward pass."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from trace_data.errors import CheckpointError
from trace_train.body.layer import BodyLayer
from trace_train.build import body_layers, build_network, choose_device
from trace_train.health.not_finite import SavedBatch, load_batch
from trace_train.losses.objective import LossReport
from trace_train.streaming.batch import Batch
from trace_train.training.loss_module import LossModule
from trace_train.weights.checkpoint import finished, open_checkpoint
from trace_train.weights.flow import build_flow

LARGE = 1e6
"""Larger than any valid annotation in metres, pixels or radians."""
WORST = 10
"""Number of rows in the table of terms and clips."""


class NotFinite(FloatingPointError):
    """Raised in the first module that outputs a non-finite value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """The value of one term for a single clip."""

    term: str
    clip: str
    value: float
    count: int
    """Valid entries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """Result of a replay."""

    file: Path
    step: int
    total: float
    terms: Mapping[str, float]
    found: str
    """Description of the first non-finite value; empty if everything is finite."""
    module: str
    """The first module whose output, or output gradient, is not finite; empty if there is none."""
    weights: tuple[str, ...]
    """Weights that are not finite."""
    annotations: tuple[str, ...]
    """Annotations that are not finite or impossibly large, with their clips."""
    worst: tuple[Entry, ...]
    """Terms of single clips: non-finite ones first, then the largest relative to the term's mean."""
    weights_from: str
    """Source of the weights."""


def replay(file: Path, *, packs: Path, raise_there: bool = False) -> Replay:
    """Replay the batch: forward, losses and backward with anomaly detection.

    `raise_there`: raise NotFinite inside the module concerned, for a debugger, instead of reporting. Raises
    CheckpointError, AssetError, ConfigError.
    """
    saved = load_batch(file)
    device = choose_device(saved.config)
    loss_module, weights_from = _learner(saved, body_layers(packs)["neutral"], device)
    loss_module = loss_module.to(device).train()
    for name in saved.evaluating:
        loss_module.get_submodule(name).training = False
    for name in saved.still:
        loss_module.get_parameter(name).requires_grad_(False)
    batch = saved.batch.to(device)
    broken = tuple(name for name, value in loss_module.network.named_parameters() if not _finite(value))
    watch = _Watch(loss_module, raise_there=raise_there)
    with watch.watching(), torch.autograd.set_detect_anomaly(raise_there):
        report: LossReport = loss_module(batch)
        terms = {name: value.item() for name, value in report.values.items()}
        if not watch.module and not _finite(report.total):
            watch.found = f"in the losses: {', '.join(name for name, value in terms.items() if not abs(value) < _INF)}"
            if raise_there:
                raise NotFinite(watch.found)
        if _finite(report.total):
            report.total.backward()
            watch.look_at_gradients()
    if watch.backward:
        watch.found += _operation(loss_module, batch)
    return Replay(
        file=file,
        step=saved.step,
        total=report.total.item(),
        terms=terms,
        found=watch.found,
        module=watch.module,
        weights=broken,
        annotations=tuple(_odd_annotations(saved)),
        worst=tuple(_worst(loss_module, batch, saved.clips, report)),
        weights_from=weights_from,
    )


_INF = float("inf")


def _learner(saved: SavedBatch, layer: BodyLayer, device: torch.device) -> tuple[LossModule, str]:
    """Network and losses with the weights saved with the batch, else those of the last checkpoint before it."""
    network, run = build_network(saved.config.network).to(device), saved.file.parent
    flow = build_flow(saved.config, run, device)
    if saved.weights is not None:
        try:
            network.load_state_dict(dict(saved.weights))
        except RuntimeError as error:
            raise CheckpointError(
                f"is of another architecture: {str(error).splitlines()[1].strip()}",
                where=saved.file.with_suffix(".safetensors"),
            ) from error
        return LossModule(network, layer, saved.config, flow), "saved with the batch"
    if not finished(run):
        raise CheckpointError("holds neither the weights of this batch nor a checkpoint", where=run)
    checkpoint = open_checkpoint(run)
    checkpoint.load_into(network, averaged=False)
    return LossModule(
        network, layer, saved.config, flow
    ), f"{checkpoint.folder.name}, of which step {saved.step} may differ"


def _operation(loss_module: LossModule, batch: Batch) -> str:
    """Description of the operation whose backward pass gives the first NaN; empty if none does."""
    loss_module.zero_grad()
    with warnings.catch_warnings(), torch.autograd.set_detect_anomaly(True):
        warnings.simplefilter("ignore")  # torch prints the call stack of the operation as a warning
        try:
            loss_module(batch).total.backward()
        except RuntimeError as error:
            if "returned nan values" not in str(error):
                raise
            return f"; {str(error).rstrip('.')}"
    return ""


class _Watch:
    """Checks the output of every module and the gradient with respect to it."""

    def __init__(self, loss_module: LossModule, *, raise_there: bool) -> None:
        self._learner, self._raise = loss_module, raise_there
        self._ran: dict[str, nn.Module] = {}
        """Leaf modules in order of execution."""
        self._reached: dict[str, Tensor] = {}
        """Non-finite gradients by the module to whose output they belong."""
        self.module, self.found = "", ""
        self.backward = False

    @contextmanager
    def watching(self) -> Iterator[None]:
        handles = [
            module.register_forward_hook(partial(self._forward, name))
            for name, module in self._learner.named_modules()
            if not list(module.children()) or list(module.parameters(recurse=False))
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _forward(self, name: str, module: nn.Module, inputs: Any, output: Any) -> None:
        self._ran[name] = module
        for value in _tensors(output):
            if not self.module and not _finite(value):
                whole = "are finite" if all(map(_finite, _tensors(inputs))) else "are not finite either"
                self._first(name, f"{_counted(value)} of the output of {name}; its inputs {whole}")
            if value.requires_grad:
                value.register_hook(partial(self._backward, name))

    def _backward(self, name: str, gradient: Tensor | None) -> None:
        if gradient is not None and not _finite(gradient):
            self._reached[name] = gradient

    def look_at_gradients(self) -> None:
        """After the backward pass, find the module closest to the losses with a non-finite gradient."""
        for name, module in reversed(self._ran.items()):
            if name in self._reached:
                self.backward = True
                self._first(name, f"{_counted(self._reached[name])} of the gradient that comes to {name}")
                return
            for key, weight in module.named_parameters(recurse=False):
                if weight.grad is not None and not _finite(weight.grad):
                    self.backward = True
                    what = f"{_counted(weight.grad)} of the gradient of {name}.{key}; what came to it was finite"
                    self._first(name, what)
                    return

    def _first(self, name: str, what: str) -> None:
        self.module, self.found = name, what
        if self._raise:
            raise NotFinite(what)


def _worst(loss_module: LossModule, batch: Batch, clips: tuple[str, ...], report: LossReport) -> list[Entry]:
    """Terms of each clip alone: all other clips are masked, but normalisation sees the same batch."""
    entries = []
    for row, clip in enumerate(clips):
        with torch.no_grad():
            alone: LossReport = loss_module(_only(batch, row))
        entries += [
            Entry(term=name, clip=clip, value=value.item(), count=int(alone.counts[name]))
            for name, value in alone.values.items()
            if int(alone.counts[name])
        ]
    means = {name: abs(value.item()) for name, value in report.values.items()}

    def badness(entry: Entry) -> float:
        share = abs(entry.value) / means[entry.term] if means[entry.term] > 0 else 0.0
        return share if abs(entry.value) < _INF and share == share else _INF

    return sorted(entries, key=badness, reverse=True)[:WORST]


def _only(batch: Batch, row: int) -> Batch:
    """The batch with the annotations of a single clip."""

    def keep(mask: Tensor) -> Tensor:
        kept = torch.zeros_like(mask)
        kept[row] = mask[row]
        return kept

    return replace(batch, present=keep(batch.present), masks={name: keep(mask) for name, mask in batch.masks.items()})


def _odd_annotations(saved: SavedBatch) -> Iterator[str]:
    for item in fields(saved.batch):
        value = getattr(saved.batch, item.name)
        if isinstance(value, Tensor) and value.is_floating_point() and len(value) == len(saved.clips):
            odd = ~(value.abs() < LARGE)
            for row in odd.flatten(1).any(dim=1).nonzero()[:, 0].tolist():
                at = odd[row].nonzero()[0].tolist()
                yield f"{item.name}{at} is {float(value[row][tuple(at)]):.4g} in {saved.clips[row]}"


def _finite(value: Tensor) -> bool:
    return not value.is_floating_point() or bool(value.isfinite().all())


def _counted(value: Tensor) -> str:
    nan, infinite = int(value.isnan().sum()), int(value.isinf().sum())
    parts = [f"{count:,} {name}" for count, name in ((nan, "NaN"), (infinite, "infinite")) if count]
    return f"{' and '.join(parts)} of {value.numel():,} numbers"


def _tensors(value: Any) -> Iterator[Tensor]:
    """All tensors in a module's inputs or outputs."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _tensors(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)
    elif is_dataclass(value):
        for field in fields(value):
            yield from _tensors(getattr(value, field.name))
