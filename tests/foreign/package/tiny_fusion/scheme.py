"""A bilevel scheme in a package of its own."""

from typing import Any

from torch import Tensor

from ivif.bilevel import Progress, Solver
from ivif.bilevel.descent import Backward


class EveryOtherSolver(Solver):
    """A step of the lower level on what the upper one has just learnt."""

    upper_reaches_lower = False
    lower_graphs = 0

    def _iterate(self, batch: Any, backward: Backward, progress: Progress) -> dict[str, Tensor]:
        upper_loss = self.descend_alone(self.problem.upper, batch, backward)
        return {"lower_loss": self.descend_alone(self.problem.lower, batch, backward), "upper_loss": upper_loss}
