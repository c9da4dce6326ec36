"""The frame of every bilevel solver: descent of chosen levels, counters, diagnostics, state."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ivif.bilevel.configuration import BilevelConfig
from ivif.bilevel.descent import Backward, Objective
from ivif.bilevel.kept_state import kept
from ivif.bilevel.level import Level
from ivif.bilevel.problem import Problem


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
        problem.descent.accumulate = config.accumulate

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

    def descend_own(self, level: Level, batch: Any, backward: Backward, steps: int = 1) -> Tensor:
        """Steps of one level on its own loss, every other level fixed; the loss before the last step."""
        objective = Objective([(level, 1)], [level])
        return [self.problem.descent.descend(objective, batch, backward)[0] for _ in range(steps)][-1]

    def gradients(
        self, loss: Level, batch: Any, backward: Backward, *levels: Level, observed: bool = True
    ) -> list[Tensor]:
        """The gradient of a level's loss to each of the levels, as vectors; nothing is stepped."""
        self.problem.descent.gather(Objective([(loss, 1)], levels), batch, backward, observed)
        found = [level.gradient() for level in levels]
        self.problem.descent.zero_grad()
        return found

    def gradient_cosine(self, batch: Any, backward: Backward) -> Tensor:
        """Cosine of the angle between grad_y F and grad_y f: below 0, the levels pull against each other.

        Measures only: weights, statistics and the random numbers to come are as without it.
        """
        lower, found = self.problem.lower, []
        modules = [level.module for level in self.problem.descent.levels if level.module is not None]
        for level in (self.problem.upper, lower):
            with kept(buffer for module in modules for buffer in module.buffers()):
                found += self.gradients(level, batch, backward, lower, observed=False)
        return torch.nn.functional.cosine_similarity(found[0], found[1], dim=0)
