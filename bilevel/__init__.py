"""Bilevel solvers: schemes that train a lower level (fusion) and an upper level (detection) together.

A solver knows levels (parameters, loss, step), never networks, and nothing of Lightning: the toy problems with known
optima (`toy`) run through the very code that trains networks.
"""

from ivif.bilevel.configuration import BilevelConfig
from ivif.bilevel.descent import Backward, Descent, Objective
from ivif.bilevel.level import Level
from ivif.bilevel.level_loss import LevelLoss
from ivif.bilevel.problem import Problem
from ivif.bilevel.schemes import SCHEMES
from ivif.bilevel.schemes.value_function import PenaltyConfig
from ivif.bilevel.solver import Progress, Solver, SolverConfig

__all__ = [
    "SCHEMES",
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
    "SolverConfig",
    "build_solver",
]


def build_solver(problem: Problem, config: BilevelConfig) -> Solver:
    """The solver that a configuration names."""
    return config.solver_class(problem, config.settings())
