"""Levels: what a bilevel solver knows of a network, which is its parameters, its loss and how to step them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from ivif.bilevel.level_loss import LevelLoss


@dataclass
class Level:
    """One player of a bilevel problem.

    Args:
        name: How diagnostics call it.
        parameters: The variables that it owns.
        loss: Batch, or part of one -> its loss; a plain scalar is a mean. May depend on the variables of other levels.
        step: Updates the variables from their gradients (clipping included).
        zero_grad: Drops the gradients, and whatever else a forward pass in training mode left for the step to use.
        module: The network that holds the variables. It is in evaluation mode wherever its level is not being trained,
            so that neither BatchNorm statistics nor anything else of it changes then.
        size: How many items of a part the loss is a mean over; parts weigh by it.
        observe: Told the whole batch's loss before each step.
    """

    name: str
    parameters: Sequence[nn.Parameter]
    loss: Callable[[Any], Tensor | LevelLoss]
    step: Callable[[], None]
    zero_grad: Callable[[], None]
    module: nn.Module | None = None
    size: Callable[[Any], float] = field(default=lambda _: 1.0)
    observe: Callable[[LevelLoss], None] = field(default=lambda _: None)

    def loss_on(self, part: Any) -> LevelLoss:
        """The loss on a part of a batch."""
        found = self.loss(part)
        return LevelLoss(found) if isinstance(found, Tensor) else found

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
