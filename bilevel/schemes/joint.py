"""Joint training of both levels along one weighted sum."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ivif.bilevel.descent import Backward, Objective
from ivif.bilevel.solver import Progress, Solver, SolverConfig


@dataclass(frozen=True, kw_only=True)
class JointConfig(SolverConfig):
    """Numbers of `joint`.

    Args:
        lower_weight: Weight of f in `joint`.
        upper_weight: Weight of F in `joint`.

    Raises:
        ValueError: If a number is out of range.
    """

    lower_weight: float = 0.5
    upper_weight: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_least(0, "lower_weight", "upper_weight")


class JointSolver(Solver):
    """One descent of lower_weight f + upper_weight F over both levels, one backward pass.

    F's gradient does reach y. (TarDAL's released joint training feeds its detector an image made without gradient.)
    """

    config_class = JointConfig
    config: JointConfig

    def _iterate(self, batch: Any, backward: Backward, progress: Progress) -> dict[str, Tensor]:
        """One joint step; while warming up, each level on its own loss."""
        lower, upper, config = self.problem.lower, self.problem.upper, self.config
        if self.warming_up(progress):
            lower_loss = self.descend_alone(lower, batch, backward)
            return {"lower_loss": lower_loss, "upper_loss": self.descend_alone(upper, batch, backward)}

        objective = Objective([(upper, config.upper_weight), (lower, config.lower_weight)], [lower, upper])
        values = self.problem.descent.descend(objective, batch, backward)
        return {"joint_loss": config.upper_weight * values[0] + config.lower_weight * values[1]}
