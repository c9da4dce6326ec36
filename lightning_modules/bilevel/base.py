"""The frame of every bilevel solver: descent of chosen levels, counters, diagnostics, state."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lightning_modules.bilevel.configuration import BilevelConfig
from lightning_modules.bilevel.level import Level, Problem

Backward = Callable[[Tensor], None]
"""Puts gradients into `.grad`: `LightningModule.manual_backward`, or `torch.autograd.backward` outside of a trainer.

Only a trainer's own function synchronises gradients among processes, so solvers take nothing else.
"""

Term = Callable[[Any], Tensor]
"""Part of a batch -> the scalar to descend."""


@dataclass(frozen=True)
class Progress:
    """Where a run stands.

    Args:
        epoch: Epochs finished.
        iteration: Iterations (calls of `Solver.step`) finished.
        fraction: Share of the run that is finished, in [0, 1].
    """

    epoch: int
    iteration: int
    fraction: float


class Solver(ABC):
    """Solves a `Problem` one batch at a time.

    Args:
        problem: The levels and their losses.
        config: The scheme's numbers.
    """

    def __init__(self, problem: Problem, config: BilevelConfig) -> None:
        self.problem = problem
        self.config = config

    def step(self, batch: Any, backward: Backward, progress: Progress) -> dict[str, Tensor]:
        """One iteration of the scheme.

        Args:
            batch: What the levels' losses take.
            backward: See `Backward`.
            progress: Where the run stands.

        Returns:
            Detached scalars by name: what the scheme did and how far the levels agree.
        """
        every = self.config.cosine_every
        angle: dict[str, Tensor] = {}
        if every and progress.iteration % every == 0:
            angle = {"gradient_cosine": self.gradient_cosine(batch, backward)}
        return self._iterate(batch, backward, progress) | angle

    @abstractmethod
    def _iterate(self, batch: Any, backward: Backward, progress: Progress) -> dict[str, Tensor]:
        """The scheme itself."""

    def state_dict(self) -> dict[str, Any]:
        """What the scheme must remember beside the networks: plain values and tensors."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:  # noqa: B027 - most schemes remember nothing
        """Takes over what `state_dict` gave."""

    def count(self, progress: Progress) -> int:
        """Epochs or iterations, as `unit` says."""
        return progress.epoch if self.config.unit == "epoch" else progress.iteration

    def level_fraction(self, level: str, fraction: float) -> float:
        """Share of a level's own part of the run that is finished; its learning-rate schedule follows it."""
        return fraction

    def warming_up(self, progress: Progress) -> bool:
        """Whether each level still trains on its own loss alone."""
        return self.count(progress) < self.config.warmup

    def descend(self, active: tuple[Level, ...], term: Term, batch: Any, backward: Backward) -> Tensor:
        """One step of the active levels along the gradient of one term, accumulated over the batch's parts.

        No other level receives a gradient, and none of theirs changes. Returns the term's detached mean.
        """
        parts = self.problem.split(batch, self.config.accumulate)
        values = []
        for level in self.problem.levels:
            level.zero_grad()
        with self.problem.training(*active):
            for part in parts:
                value = term(part)
                backward(value / len(parts) if len(parts) > 1 else value)
                values.append(value.detach())
        for level in active:
            if level.has_gradient():
                level.step()
        for level in self.problem.levels:
            level.zero_grad()
        return torch.stack(values).mean() if len(values) > 1 else values[0]

    def descend_own(self, level: Level, batch: Any, backward: Backward, steps: int = 1) -> Tensor:
        """Steps of one level on its own loss, every other level fixed; the loss before the last step."""
        value = None
        for _ in range(steps):
            value = self.descend((level,), level.loss, batch, backward)
        return torch.zeros(()) if value is None else value

    def gradients(self, term: Term, batch: Any, backward: Backward, *levels: Level) -> list[Tensor]:
        """The gradient of a term to each of the levels, as vectors; nothing is stepped."""
        for level in self.problem.levels:
            level.zero_grad()
        with self.problem.training(*levels):
            parts = self.problem.split(batch, self.config.accumulate)
            for part in parts:
                backward(term(part) / len(parts))
        found = [level.gradient() for level in levels]
        for level in self.problem.levels:
            level.zero_grad()
        return found

    def gradient_cosine(self, batch: Any, backward: Backward) -> Tensor:
        """Cosine of the angle between grad_y F and grad_y f: below 0, the levels pull against each other."""
        lower = self.problem.lower
        (upper_gradient,) = self.gradients(self.problem.upper.loss, batch, backward, lower)
        (lower_gradient,) = self.gradients(lower.loss, batch, backward, lower)
        return torch.nn.functional.cosine_similarity(upper_gradient, lower_gradient, dim=0)
