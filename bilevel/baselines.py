"""What bilevel schemes are compared with: separate and joint training, and turns."""

from typing import Any

from torch import Tensor

from ivif.bilevel.base import Progress, Solver
from ivif.bilevel.descent import Backward, Objective


class SeparateSolver(Solver):
    """The lower level alone, then the upper level on its frozen result: no gradient of F ever reaches y."""

    def _iterate(self, batch: Any, backward: Backward, progress: Progress) -> dict[str, Tensor]:
        """Lower steps in the first `lower_share` of the run, upper steps in the rest."""
        if progress.fraction < self.config.lower_share:
            return {"lower_loss": self.descend_own(self.problem.lower, batch, backward, self.config.lower_steps)}
        return {"upper_loss": self.descend_own(self.problem.upper, batch, backward, self.config.upper_steps)}

    def level_fraction(self, level: str, fraction: float) -> float:
        """Each level's own part of the run, from 0 to 1."""
        share = self.config.lower_share
        return fraction / share if level == "lower" else (fraction - share) / (1 - share)


class AlternateSolver(Solver):
    """From Text to Pixels, eq 7 to the letter: z* of the lower problem, then the detector on z*, in turn.

    With unit `step` a turn is one iteration, with unit `epoch` it is `lower_steps` epochs and then `upper_steps`. F
    never reaches y.
    """

    def _iterate(self, batch: Any, backward: Backward, progress: Progress) -> dict[str, Tensor]:
        """One iteration, or one iteration of a level's epoch."""
        lower, upper, config = self.problem.lower, self.problem.upper, self.config
        if config.unit == "step":
            lower_loss = self.descend_own(lower, batch, backward, config.lower_steps)
            upper_loss = self.descend_own(upper, batch, backward, config.upper_steps)
            return {"lower_loss": lower_loss, "upper_loss": upper_loss}
        if progress.epoch % (config.lower_steps + config.upper_steps) < config.lower_steps:
            return {"lower_loss": self.descend_own(lower, batch, backward)}
        return {"upper_loss": self.descend_own(upper, batch, backward)}


class JointSolver(Solver):
    """One descent of lower_weight f + upper_weight F over both levels, one backward pass.

    F's gradient does reach y. (TarDAL's released joint training feeds its detector an image made without gradient.)
    """

    def _iterate(self, batch: Any, backward: Backward, progress: Progress) -> dict[str, Tensor]:
        """One joint step; while warming up, each level on its own loss."""
        lower, upper, config = self.problem.lower, self.problem.upper, self.config
        if self.warming_up(progress):
            lower_loss = self.descend_own(lower, batch, backward)
            return {"lower_loss": lower_loss, "upper_loss": self.descend_own(upper, batch, backward)}

        objective = Objective([(upper, config.upper_weight), (lower, config.lower_weight)], [lower, upper])
        values = self.problem.descent.descend(objective, batch, backward)
        return {"joint_loss": config.upper_weight * values[0] + config.lower_weight * values[1]}
