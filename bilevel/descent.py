"""One step along the gradient of a weighted sum of losses: the same, whatever number of parts a batch is cut into."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ivif.bilevel.level import Level, training_only
from ivif.bilevel.level_loss import LevelLoss, add, detached, weighted_sum, weighted_sums
from ivif.machine.process_group import divisor, total_count

Backward = Callable[[Tensor], None]
"""Puts gradients into `.grad`: `LightningModule.manual_backward`, or `torch.autograd.backward` outside of a trainer.

Only a trainer's own function synchronises gradients among processes, so solvers take nothing else.
"""

Weighted = tuple[Level, float | Tensor]
"""A level's loss and what multiplies it in a sum."""


@dataclass(frozen=True)
class Objective:
    """A sum to descend, and who descends it.

    Args:
        losses: The sum's. One with a count comes first.
        active: The levels whose variables follow; no other receives a gradient or changes.
        extra: Added to the sum once, such as a regularisation.
    """

    losses: Sequence[Weighted]
    active: Sequence[Level]
    extra: Callable[[], Tensor] | None = None


def step_each(levels: Sequence[Level]) -> None:
    """Steps levels one after the other."""
    for level in levels:
        level.step()


def _whole(batch: Any, _: int) -> list[Any]:
    return [batch]


@dataclass
class Descent:
    """How gradients are gathered and steps are made.

    Cut into parts, a batch gives the gradient of the whole: means weigh parts by their items, and quotients are of sums
    over all parts and processes. The parts' gradients add up, each loss's by itself, so that at any time only one loss
    on one part keeps what its backward pass needs.

    Args:
        levels: Every level there is; those that are not being trained stand still.
        split: (batch, n) -> at most n parts.
        accumulate: Parts that each batch is cut into; a solver sets it as its scheme says.
        step: Steps levels whose gradients came from one backward pass.
        unsynchronised: Under it, backward passes leave gradients to each process.
    """

    levels: Sequence[Level]
    split: Callable[[Any, int], Sequence[Any]] = _whole
    accumulate: int = 1
    step: Callable[[Sequence[Level]], None] = step_each
    unsynchronised: Callable[[], AbstractContextManager[Any]] = nullcontext

    def training(self, *active: Level) -> AbstractContextManager[None]:
        """Only the active levels are trained; see `training_only`."""
        return training_only(active, self.levels)

    def descend(self, objective: Objective, batch: Any, backward: Backward) -> list[Tensor]:
        """One step of the objective's active levels.

        Args:
            objective: What is descended.
            batch: What the levels' losses take.
            backward: See `Backward`.

        Returns:
            The batch's value of each loss, detached.
        """
        try:
            values = self.gather(objective, batch, backward)
            self.step([level for level in objective.active if level.has_gradient()])
        finally:
            self.zero_grad()
        return values

    def gather(self, objective: Objective, batch: Any, backward: Backward, observed: bool = True) -> list[Tensor]:
        """Leaves the gradient of an objective in its active levels' `.grad`; returns what `descend` does.

        Args:
            objective: What is differentiated.
            batch: What the levels' losses take.
            backward: See `Backward`.
            observed: Whether the levels are told their losses.
        """
        self.zero_grad()
        parts = self._parts(batch)
        with self.training(*objective.active):
            run = self._as_one if len(parts) == 1 else self._in_parts
            found = run(objective, parts, backward)
        for (level, _), loss in zip(objective.losses, found, strict=True):
            if observed:
                level.observe(loss)
        return [loss.value for loss in found]

    @torch.no_grad()
    def value(self, level: Level, batch: Any) -> Tensor:
        """A level's loss on a batch, nothing else."""
        parts = self._parts(batch)
        with self.training():
            losses = [level.loss_on(part) for part in parts]
        counts = [loss.count for loss in losses if loss.count is not None]
        weights = (
            [1 / divisor(total_count(torch.stack(counts).sum()))] * len(counts) if counts else _shares(level, parts)
        )
        return weighted_sum([loss.value for loss in losses], weights)

    def zero_grad(self) -> None:
        """Drops every gradient."""
        for level in self.levels:
            level.zero_grad()

    def _parts(self, batch: Any) -> Sequence[Any]:
        return self.split(batch, self.accumulate) if self.accumulate > 1 else [batch]

    def _as_one(self, objective: Objective, parts: Sequence[Any], backward: Backward) -> list[LevelLoss]:
        """One backward pass of the sum, on the only part."""
        losses, extra = objective.losses, objective.extra
        found = [level.loss_on(parts[0]) for level, _ in losses]
        divisors = [None if loss.count is None else divisor(total_count(loss.count)) for loss in found]
        quotients = [loss.value if by is None else loss.value / by for loss, by in zip(found, divisors, strict=True)]
        total = add([_scaled(value, weight) for value, (_, weight) in zip(quotients, losses, strict=True)])
        backward(total if extra is None else total + extra())
        return [detached(loss, by) for loss, by in zip(found, divisors, strict=True)]

    def _in_parts(self, objective: Objective, parts: Sequence[Any], backward: Backward) -> list[LevelLoss]:
        """A backward pass for each loss on each part; processes synchronise in the last one."""
        losses, extra, found = objective.losses, objective.extra, []
        for number, (level, weight) in enumerate(losses):
            final = number == len(losses) - 1
            shares, on_parts = _shares(level, parts), _LossOnParts(objective.active, may_scale=not number)
            for position, part in enumerate(parts, start=1):
                last = position == len(parts)
                with nullcontext() if last and final else self.unsynchronised():
                    loss = level.loss_on(part)
                    scalar = _scaled(loss.value * on_parts.factor(loss, shares[position - 1], last), weight)
                    backward(scalar + extra() if extra is not None and last and final else scalar)
            found.append(on_parts.whole(shares))
        return found


class _LossOnParts:
    """A level's loss on the parts of a batch, as they come."""

    def __init__(self, active: Sequence[Level], may_scale: bool) -> None:
        self.active, self.may_scale = active, may_scale
        self.losses: list[LevelLoss] = []
        self.divisor: Tensor | None = None

    def factor(self, loss: LevelLoss, share: float, last: bool) -> float | Tensor:
        """What multiplies the gradient of this part's value.

        A divisor is known with the last part's forward pass. Until then the first part's own count stands for it, so
        that gradients keep their size, as float16 needs; then those that are there are scaled.

        Args:
            loss: On this part.
            share: Of the batch's items.
            last: Whether no part follows.
        """
        self.losses.append(LevelLoss(loss.value.detach(), loss.count, loss.terms, loss.notes))
        if loss.count is None:
            return share
        if not self.may_scale:
            raise ValueError("A loss with a count must come first: the gradients before its last part are scaled.")
        counts = [known.count for known in self.losses if known.count is not None]
        provisional = counts[0].clamp(min=1)
        if not last:
            return 1 / provisional
        self.divisor = divisor(total_count(torch.stack(counts).sum()))
        gradients = [p.grad for level in self.active for p in level.parameters if p.grad is not None]
        if gradients:
            torch._foreach_mul_(gradients, provisional / self.divisor)
        return 1 / self.divisor

    def whole(self, shares: Sequence[float]) -> LevelLoss:
        """The batch's loss."""
        weights = shares if self.divisor is None else [1 / self.divisor] * len(shares)
        return LevelLoss(
            weighted_sum([loss.value for loss in self.losses], weights),
            terms=weighted_sums([loss.terms for loss in self.losses], weights),
            notes=weighted_sums([loss.notes for loss in self.losses], shares),
        )


def _shares(level: Level, parts: Sequence[Any]) -> list[float]:
    sizes = [level.size(part) for part in parts]
    return [size / sum(sizes) for size in sizes]


def _scaled(value: Tensor, weight: float | Tensor) -> Tensor:
    return value if isinstance(weight, float | int) and weight == 1 else weight * value
