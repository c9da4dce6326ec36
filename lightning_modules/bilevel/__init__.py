"""Bilevel solvers: schemes that train a lower level (fusion) and an upper level (detection) together.

A solver knows levels (parameters, loss, step), never networks, and nothing of Lightning: the toy problems with known
optima (`toy`) run through the very code that trains networks.
"""

from collections.abc import Mapping
from typing import Final

from ivif.lightning_modules.bilevel.base import Progress, Solver
from ivif.lightning_modules.bilevel.baselines import AlternateSolver, JointSolver, SeparateSolver
from ivif.lightning_modules.bilevel.configuration import BilevelConfig, PenaltyConfig
from ivif.lightning_modules.bilevel.descent import Backward, Descent, Objective
from ivif.lightning_modules.bilevel.level import Level
from ivif.lightning_modules.bilevel.level_loss import LevelLoss
from ivif.lightning_modules.bilevel.problem import Problem
from ivif.lightning_modules.bilevel.rank_one import RankOneSolver
from ivif.lightning_modules.bilevel.value_function import ValueFunctionSolver

__all__ = [
    "SOLVERS",
    "Backward",
    "BilevelConfig",
    "Descent",
    "Level",
    "LevelLoss",
    "Objective",
    "PenaltyConfig",
    "Problem",
    "Progress",
    "Solver",
    "build_solver",
]

SOLVERS: Final[Mapping[str, type[Solver]]] = {
    "separate": SeparateSolver,
    "joint": JointSolver,
    "alternate": AlternateSolver,
    "value_function": ValueFunctionSolver,
    "rank1": RankOneSolver,
}
"""Solver of each `BilevelConfig.scheme`."""


def build_solver(problem: Problem, config: BilevelConfig) -> Solver:
    """The solver that a configuration names."""
    return SOLVERS[config.scheme](problem, config)
