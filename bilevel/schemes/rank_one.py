"""Upper steps with a rank-one Gauss-Newton correction through the lower level (BDLFusion, TIMFusion)."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ivif.bilevel.descent import Backward
from ivif.bilevel.solver import Progress, Solver, SolverConfig


@dataclass(frozen=True, kw_only=True)
class RankOneConfig(SolverConfig):
    """Numbers of `rank1`.

    Args:
        correction: eta of `rank1`.
    """

    correction: float = 1.0


class RankOneSolver(Solver):
    """g_x = F_x - eta (<F_y, f_y> / <f_y, f_y>) f_x, after lower steps on f.

    The lower problem's Hessians are replaced by outer products of its gradient, which makes the correction first-order.
    It presumes one fixed lower solution. Where f does not depend on x, f_x is zero and this is `alternate` by steps.
    """

    config_class = RankOneConfig
    lower_graphs = 0
    config: RankOneConfig

    def _iterate(self, batch: Any, backward: Backward, progress: Progress) -> dict[str, Tensor]:
        """Lower steps, then upper steps with the correction."""
        lower, upper, config = self.problem.lower, self.problem.upper, self.config
        lower_loss = self.descend_alone(lower, batch, backward, config.lower_steps)
        if not self.problem.lower_sees_upper:
            upper_loss = self.descend_alone(upper, batch, backward, config.upper_steps)
            return {"lower_loss": lower_loss, "upper_loss": upper_loss}
        ratio = torch.zeros(())
        for _ in range(config.upper_steps):
            upper_y, direct = self.gradients(upper, batch, backward, lower, upper)
            lower_y, through = self.gradients(lower, batch, backward, lower, upper)
            ratio = (upper_y @ lower_y) / (lower_y @ lower_y).clamp_min(torch.finfo(lower_y.dtype).tiny)
            self._step_along(direct - config.correction * ratio * through)
        return {"lower_loss": lower_loss, "correction": ratio}

    def _step_along(self, gradient: Tensor) -> None:
        upper = self.problem.upper
        sizes = [parameter.numel() for parameter in upper.parameters]
        for parameter, piece in zip(upper.parameters, torch.split(gradient, sizes), strict=True):
            parameter.grad = piece.view_as(parameter).clone()
        self.problem.descent.step([upper])
        upper.zero_grad()
