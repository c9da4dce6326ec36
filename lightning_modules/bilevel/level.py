"""Levels: what a bilevel solver knows of a network, which is its parameters, its loss and how to step them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn


@dataclass
class Level:
    """One player of a bilevel problem.

    Args:
        name: How diagnostics call it.
        parameters: The variables that it owns.
        loss: Batch -> scalar; may depend on the variables of other levels.
        step: Updates the variables from their gradients (clipping included).
        zero_grad: Drops the gradients.
        module: The network that holds the variables. It is in evaluation mode wherever its level is not being trained,
            so that neither BatchNorm statistics nor anything else of it changes then.
    """

    name: str
    parameters: Sequence[nn.Parameter]
    loss: Callable[[Any], Tensor]
    step: Callable[[], None]
    zero_grad: Callable[[], None]
    module: nn.Module | None = None

    @cached_property
    def modules(self) -> list[nn.Module]:
        """The network's parts, looked up once: walking a detector takes a millisecond."""
        return [] if self.module is None else list(self.module.modules())

    def squared_norm(self) -> Tensor:
        """|w|^2 of the variables, with gradient."""
        return torch.stack([parameter.square().sum() for parameter in self.parameters]).sum()

    def gradient(self) -> Tensor:
        """The gradients as one detached vector; zeros where a parameter received none."""
        return torch.cat(
            [torch.zeros_like(p).flatten() if p.grad is None else p.grad.detach().flatten() for p in self.parameters]
        )

    def has_gradient(self) -> bool:
        """Whether any variable received a gradient."""
        return any(parameter.grad is not None for parameter in self.parameters)


@dataclass
class Problem:
    """min over x and y of F(x, y), where y minimises f(x, .).

    Args:
        upper: x and F.
        lower: y and f(x, y).
        value: z, a second copy of y, and f(x, z); only the value-function scheme needs it.
        lower_sees_upper: Whether f depends on x. A fusion loss does not depend on the detector.
        synchronise: Makes z equal y.
        split: (batch, n) -> n parts, for accumulation.
        reduce: Mean of a scalar over processes.
    """

    upper: Level
    lower: Level
    value: Level | None = None
    lower_sees_upper: bool = False
    synchronise: Callable[[], None] = field(default=lambda: None)
    split: Callable[[Any, int], Sequence[Any]] = field(default=lambda batch, parts: [batch] * parts)
    reduce: Callable[[Tensor], Tensor] = field(default=lambda value: value)

    @property
    def levels(self) -> list[Level]:
        """Every level there is, in the order of the optimisers: lower, upper, value."""
        return [self.lower, self.upper, *([self.value] if self.value else [])]

    def training(self, *active: Level) -> AbstractContextManager[None]:
        """Only the active levels are trained; see `training_only`."""
        return training_only(active, self.levels)


@contextmanager
def training_only(active: Sequence[Level], levels: Iterable[Level]) -> Iterator[None]:
    """Only the active of the levels require gradients and are in their training mode; all is restored afterwards.

    Restored, not set: some parameters never require a gradient (the detector's integral layer).
    """
    idle = [level for level in levels if all(level is not chosen for chosen in active)]
    flags = [(p, p.requires_grad) for level in idle for p in level.parameters]
    modes = [(m, m.training) for level in idle for m in level.modules]
    try:
        for parameter, _ in flags:
            parameter.requires_grad_(False)
        for module, _ in modes:
            vars(module)["training"] = False  # a module's own setter looks for parameters: a millisecond for a detector
        yield
    finally:
        for parameter, flag in flags:
            parameter.requires_grad_(flag)
        for module, mode in modes:
            vars(module)["training"] = mode


@torch.no_grad()
def copy_values(source: Iterable[Tensor], target: Iterable[Tensor]) -> None:
    """Makes tensors (a level's variables, a network's buffers) equal to others, in place."""
    for origin, copy in zip(source, target, strict=True):
        copy.copy_(origin)


def drop_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Leaves parameters without gradients."""
    for parameter in parameters:
        parameter.grad = None
