"""Both levels in turn."""

from typing import Any

from torch import Tensor

from ivif.bilevel.descent import Backward
from ivif.bilevel.solver import Progress, Solver


class AlternateSolver(Solver):
    """From Text to Pixels, eq 7 to the letter: z* of the lower problem, then the detector on z*, in turn.

    With unit `step` a turn is one iteration, with unit `epoch` it is `lower_steps` epochs and then `upper_steps`. F
    never reaches y.
    """

    upper_reaches_lower = False
    lower_graphs = 0

    def _iterate(self, batch: Any, backward: Backward, progress: Progress) -> dict[str, Tensor]:
        """One iteration, or one iteration of a level's epoch."""
        lower, upper, config = self.problem.lower, self.problem.upper, self.config
        if config.unit == "step":
            lower_loss = self.descend_alone(lower, batch, backward, config.lower_steps)
            upper_loss = self.descend_alone(upper, batch, backward, config.upper_steps)
            return {"lower_loss": lower_loss, "upper_loss": upper_loss}
        if progress.epoch % (config.lower_steps + config.upper_steps) < config.lower_steps:
            return {"lower_loss": self.descend_alone(lower, batch, backward)}
        return {"upper_loss": self.descend_alone(upper, batch, backward)}
