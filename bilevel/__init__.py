"""Bilevel solvers: schemes that train a lower level (fusion) and an upper level (detection) together.

A solver knows levels (parameters, loss, step), never networks, and nothing of Lightning: the toy problems with known
optima (`toy`) run through the very code that trains networks.
"""

from collections.abc import Mapping
from typing import Final

from ivif.bilevel.base import Progress, Solver
from ivif.bilevel.baselines import AlternateSolver, JointSolver, SeparateSolver
from ivif.bilevel.configuration import BilevelConfig, PenaltyConfig
from ivif.bilevel.descent import Backward, Descent, Objective
from ivif.bilevel.level import Level
from ivif.bilevel.level_loss import LevelLoss
from ivif.bilevel.problem import Problem
from ivif.bilevel.rank_one import RankOneSolver
from ivif.bilevel.value_function import ValueFunctionSolver

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
