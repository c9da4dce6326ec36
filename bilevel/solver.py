"""The frame of every bilevel solver: its settings, descent of chosen levels, counters, diagnostics, state."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor

from ivif.bilevel.descent import Backward, Objective
from ivif.bilevel.level import Level
from ivif.bilevel.problem import Problem
from ivif.bilevel.unchanged import unchanged

Unit = Literal["step", "epoch"]


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


@dataclass(frozen=True, kw_only=True)
class SolverConfig:
    """What every scheme can be told; a scheme adds its numbers in a subclass.

    Args:
        scheme: The name that chose the solver.
        lower_steps: Lower steps per iteration (or epochs per turn, for `alternate` with unit `epoch`).
        upper_steps: Upper steps per iteration (or epochs per turn).
        unit: Whether `alternate` takes turns within an iteration or by epochs, and what the penalty's schedule counts.
        warmup: Epochs (or iterations, as `unit` says) in which each level trains on its own loss alone: a detector
            that has learnt nothing has nothing to teach.
        accumulate: Parts that each batch is cut into, whose gradients are summed: less memory, the same
            step but for batch normalisation.
        cosine_every: Iterations between two measurements of the angle between the levels' gradients; 0 never measures.

    Raises:
        ValueError: If a number is out of range.
    """

    scheme: str = ""
    lower_steps: int = 2
    upper_steps: int = 1
    unit: Unit = "epoch"
    warmup: int = 3
    accumulate: int = 1
    cosine_every: int = 0

    def __post_init__(self) -> None:
        if self.unit not in get_args(Unit):
            raise ValueError(f"bilevel.unit is '{self.unit}'; known: {', '.join(get_args(Unit))}.")
        self.at_least(1, "lower_steps", "upper_steps", "accumulate")
        self.at_least(0, "warmup", "cosine_every")

    def at_least(self, least: int, *names: str) -> None:
        """Refuses numbers that are too small.

        Args:
            least: 0 or 1.
            names: Of the fields.

        Raises:
            ValueError: Names the first of them.
        """
        for name in names:
            if getattr(self, name) < least:
                bound = f"be at least {least}" if least else "not be negative"
                raise ValueError(f"bilevel.{name} is {getattr(self, name)}; it must {bound}.")


class Solver(ABC):
    """Solves a `Problem` one batch at a time: a scheme.

    Args:
        problem: The levels and their losses.
        config: The scheme's numbers, of `config_class`.

    Raises:
        ValueError: If the scheme needs a second copy of the lower level and there is none.
    """

    config_class: ClassVar[type[SolverConfig]] = SolverConfig
    """What the scheme can be told. Fields that `BilevelConfig` has are set there, others as `bilevel.options`."""

    needs_value: ClassVar[bool] = False
    """Whether it needs z, a second copy of the lower level's network."""

    upper_reaches_lower: ClassVar[bool] = True
    """Whether F is ever differentiated by y. If not, nothing of fusion is kept for the detector's backward pass."""

    lower_graphs: ClassVar[int] = 1
    """How many graphs of f are held together with that of F at a step's peak, where batches are not cut into parts:
    1 where one backward pass goes through both losses, 0 where each has a pass by itself."""

    config: SolverConfig

    def __init__(self, problem: Problem, config: SolverConfig) -> None:
        if self.needs_value and problem.value is None:
            raise ValueError(f"{type(self).__name__} needs a second copy of the lower level: problem.value is None.")
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

    @property
    def value_is_trained(self) -> bool:
        """Whether z has begun to follow f, apart from y."""
        return False

    def count(self, progress: Progress) -> int:
        """Epochs or iterations, as `unit` says."""
        return progress.epoch if self.config.unit == "epoch" else progress.iteration

    def level_fraction(self, level: str, fraction: float) -> float:
        """Share of a level's own part of the run that is finished; its learning-rate schedule follows it."""
        return fraction

    def warming_up(self, progress: Progress) -> bool:
        """Whether each level still trains on its own loss alone."""
        return self.count(progress) < self.config.warmup

    def descend_alone(self, level: Level, batch: Any, backward: Backward, steps: int = 1) -> Tensor:
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
            with unchanged(buffer for module in modules for buffer in module.buffers()):
                found += self.gradients(level, batch, backward, lower, observed=False)
        return torch.nn.functional.cosine_similarity(found[0], found[1], dim=0)
