"""Sorts the network's parameters into optimiser groups by rules, and prints them as a table.

A frozen module runs in evaluation mode without gradients, and its parameters are not given to the optimiser.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from torch import nn

from trace_data.errors import ConfigError, nearest
from trace_train.config import Config, OptimConfig, at_stage, stage_name

REST = "the rest"
UNDECAYED = " (biases, norms)"


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterGroup:
    """Parameters with the same optimiser settings."""

    name: str
    """The pattern that selected them."""
    parameters: Mapping[str, nn.Parameter]
    lr_factor: float
    """Their learning rate as a multiple of the stage's."""
    weight_decay: float
    frozen: bool = False

    @property
    def numbers(self) -> int:
        """Total number of elements."""
        return sum(parameter.numel() for parameter in self.parameters.values())


class NetworkParameters:
    """A network's parameters, regrouped for each stage."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self.parameters = {name: p for name, p in network.named_parameters() if p.requires_grad}
        """The trainable parameters."""

    def groups(self, optim: OptimConfig) -> list[ParameterGroup]:
        """All parameters in groups, trained ones first. Raises ConfigError for a pattern that matches nothing.

        Each rule gives two groups: biases and normalisation parameters (at most one dimension) have no weight decay.
        """
        frozen = optim.frozen or ()
        rules = [(rule.pattern, rule.lr_factor, rule.weight_decay) for rule in optim.groups]
        self._check("optim.frozen", frozen)
        self._check("optim.groups", [pattern for pattern, _, _ in rules])
        left = {n: p for n, p in self.parameters.items() if not any(fits(n, pattern) for pattern in frozen)}
        groups = []
        for pattern, factor, decay in [*rules, ("*", 1.0, None)]:
            chosen = {n: left.pop(n) for n in list(left) if fits(n, pattern)}
            name = REST if pattern == "*" else pattern
            decay = optim.weight_decay if decay is None else decay
            flat = {n: p for n, p in chosen.items() if p.dim() <= 1}
            deep = {n: p for n, p in chosen.items() if p.dim() > 1}
            groups.append(ParameterGroup(name=name, parameters=deep, lr_factor=factor, weight_decay=decay))
            groups.append(ParameterGroup(name=name + UNDECAYED, parameters=flat, lr_factor=factor, weight_decay=0.0))
        still = {n: p for n, p in self.parameters.items() if any(fits(n, pattern) for pattern in frozen)}
        for pattern in frozen:
            chosen = {n: still.pop(n) for n in list(still) if fits(n, pattern)}
            groups.append(ParameterGroup(name=pattern, parameters=chosen, lr_factor=0.0, weight_decay=0.0, frozen=True))
        return [group for group in groups if group.parameters]

    def apply(self, groups: Sequence[ParameterGroup]) -> None:
        """Enable gradients for trained parameters only, and set modules to training or evaluation mode."""
        for group in groups:
            for parameter in group.parameters.values():
                parameter.requires_grad_(not group.frozen)
                if group.frozen:
                    parameter.grad = None
        frozen = {name for group in groups if group.frozen for name in group.parameters}
        patterns = [group.name for group in groups if group.frozen]
        for name, module in self.network.named_modules():
            own = {f"{name}.{key}" if name else key for key, _ in module.named_parameters(recurse=False)}
            still = any(fits(name, pattern) for pattern in patterns) or (bool(own) and own <= frozen)
            module.training = not still

    def _check(self, key: str, patterns: Sequence[str]) -> None:
        names = [name for name, _ in self.network.named_parameters()]
        for pattern in patterns:
            if not any(fits(name, pattern) for name in names):
                known = [*(name for name, _ in self.network.named_modules() if name), *names]
                near = nearest(pattern.removesuffix(".*"), known)
                meant = f", did you mean {near!r}?" if near else ""
                raise ConfigError(
                    f"{key}: no part of the network is called {pattern!r}{meant}",
                    hint="a module with all it holds, such as backbone, a parameter, or a pattern such as *_head",
                )


def fits(name: str, pattern: str) -> bool:
    """Whether the pattern matches this module or parameter, or a module that contains it."""
    return fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}.*")


def stages_table(parts: NetworkParameters, config: Config) -> list[str]:
    """Table of the parameters trained in each stage. Raises ConfigError for a pattern that matches nothing."""
    lines: list[str] = []
    before: list[str] = []
    for number in range(len(config.stages)):
        optim = at_stage(config, number).optim
        rows = table(parts.groups(optim), optim.lr)
        if len(config.stages) > 1:
            lines.append(f"stage {stage_name(config, number)}" + (": as before" if rows == before else ""))
        lines += [] if rows == before else rows
        before = rows
    return lines


def table(groups: Sequence[ParameterGroup], lr: float) -> list[str]:
    """The groups as lines of text; `lr`: peak learning rate of the stage."""
    width = max(len(group.name) for group in groups)
    lines = []
    for group in groups:
        facts = f"lr {lr * group.lr_factor:.3g}   decay {group.weight_decay:g}" if not group.frozen else ""
        kind = "frozen" if group.frozen else "trains"
        size = f"{len(group.parameters):>5,} tensors {group.numbers:>12,} numbers"
        lines.append(f"{kind}   {group.name:<{width}} {size}   {facts}".rstrip())
    return lines
