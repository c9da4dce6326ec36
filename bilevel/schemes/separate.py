"""The lower level first, then the upper level on its result."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ivif.bilevel.descent import Backward
from ivif.bilevel.solver import Progress, Solver, SolverConfig


@dataclass(frozen=True, kw_only=True)
class SeparateConfig(SolverConfig):
    """Numbers of `separate`.

    Args:
        lower_share: Share of the run that `separate` spends on the lower level.

    Raises:
        ValueError: If a number is out of range.
    """

    lower_share: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.lower_share < 1:
            raise ValueError(f"bilevel.lower_share is {self.lower_share}; it must lie between 0 and 1.")


class SeparateSolver(Solver):
    """The lower level alone, then the upper level on its frozen result: no gradient of F ever reaches y."""

    config_class = SeparateConfig
    upper_reaches_lower = False
    lower_graphs = 0
    config: SeparateConfig

    def _iterate(self, batch: Any, backward: Backward, progress: Progress) -> dict[str, Tensor]:
        """Lower steps in the first `lower_share` of the run, upper steps in the rest."""
        if progress.fraction < self.config.lower_share:
            return {"lower_loss": self.descend_alone(self.problem.lower, batch, backward, self.config.lower_steps)}
        return {"upper_loss": self.descend_alone(self.problem.upper, batch, backward, self.config.upper_steps)}

    def level_fraction(self, level: str, fraction: float) -> float:
        """Each level's own part of the run, from 0 to 1."""
        share = self.config.lower_share
        return fraction / share if level == "lower" else (fraction - share) / (1 - share)
