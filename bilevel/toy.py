"""Two small bilevel problems whose optima are known, and what each scheme makes of them.

Both start at zero. (A) has many lower solutions per x, of which a scheme must choose the one that serves the upper
level (the counter-example of BDA, Liu et al., ICML 2020). (B) has a lower level that is not convex, with infinitely
many solutions (BVFIM, Liu et al., ICML 2021).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import torch
from torch import Tensor, nn

from ivif.bilevel import BilevelConfig, Level, PenaltyConfig, Problem, Progress, build_solver
from ivif.bilevel.level import copy_values

Function = Callable[[Tensor, Tensor], Tensor]
"""(x (1,), y (n,)) -> scalar."""


@dataclass(frozen=True)
class ToyProblem:
    """min F(x, y) over x and y, where y minimises f(x, .).

    Args:
        name: For tables.
        upper: F.
        lower: f.
        optimum_x: x at the bilevel optimum.
        optimum_y: y there.
    """

    name: str
    upper: Function
    lower: Function
    optimum_x: float
    optimum_y: tuple[float, ...]

    @property
    def optimum(self) -> float:
        """F at the bilevel optimum."""
        return float(self.upper(torch.tensor([self.optimum_x]), torch.tensor(self.optimum_y)))


def many_solutions() -> ToyProblem:
    """(A): F = (x - y2)^2 / 2 + (y1 - 1)^2 / 2, f = y1^2 / 2 - x y1. Lower solutions: y1 = x, any y2."""
    return ToyProblem(
        "A: many lower solutions",
        lambda x, y: 0.5 * (x[0] - y[1]) ** 2 + 0.5 * (y[0] - 1) ** 2,
        lambda x, y: 0.5 * y[0] ** 2 - x[0] * y[0],
        1.0,
        (1.0, 1.0),
    )


def sine(size: int, a: float = 2.0, c: float = 2.0) -> ToyProblem:
    """(B): F = |x - a|^2 + |y - a - c|^2, f = sum_i sin(x + y_i - c)."""
    # The lower level is minimal where x + y_i - c = -pi/2 + 2 m pi =: C; the nearest such C to 2a gives the optimum.
    branch = min((-math.pi / 2 + 2 * m * math.pi for m in range(-5, 6)), key=lambda value: abs(value - 2 * a))
    x = ((1 - size) * a + size * branch) / (1 + size)
    return ToyProblem(
        f"B: sine, n = {size}",
        lambda x, y: (x - a).square().sum() + (y - a - c).square().sum(),
        lambda x, y: torch.sin(x + y - c).sum(),
        x,
        (branch + c - x,) * size,
    )


VALUE_FUNCTION: Final = BilevelConfig(
    scheme="value_function",
    lower_steps=20,
    upper_steps=1,
    value_steps=20,
    unit="step",
    warmup=0,
    penalty=PenaltyConfig(kind="linear", start=0.1, growth=0.1, maximum=50.0, smoothing=0.0, damping=0.05),
    regularization=0.1,
    regularization_power=1.1,
    synchronise_every=0,
    share_backward=False,
)
"""Numbers that solve both. A penalty that starts high ends (B) on another branch; one that grows for ever diverges."""


def as_methods_set_it(start: float = PenaltyConfig().start) -> BilevelConfig:
    """The value function with the numbers that methods use, 50 iterations taken for an epoch.

    Args:
        start: s_0 of the penalty.
    """
    penalty = replace(PenaltyConfig(), start=start, growth=PenaltyConfig().growth / 50)
    return replace(BilevelConfig(scheme="value_function"), unit="step", warmup=0, penalty=penalty)


def toy_config(scheme: str) -> BilevelConfig:
    """The scheme's numbers for the toy problems."""
    return replace(VALUE_FUNCTION, scheme=scheme)


@dataclass(frozen=True)
class ToyResult:
    """Where a scheme ended.

    Args:
        problem: What was solved.
        x: The upper variable.
        y: The lower variables.
        path: x and y of every iteration, (iterations + 1, 1 + n).
    """

    problem: ToyProblem
    x: Tensor
    y: Tensor
    path: Tensor

    @property
    def upper(self) -> float:
        """The upper objective F at the end."""
        return float(self.problem.upper(self.x, self.y))

    @property
    def lower(self) -> float:
        """The lower objective f at the end."""
        return float(self.problem.lower(self.x, self.y))

    @property
    def distance(self) -> float:
        """Largest distance of a variable from its value at the optimum."""
        optimum = torch.tensor([self.problem.optimum_x, *self.problem.optimum_y])
        return float((torch.cat([self.x, self.y]) - optimum).abs().max())


def solve(problem: ToyProblem, config: BilevelConfig, iterations: int = 1000) -> ToyResult:
    """Runs a solver on a toy problem with plain gradient descent, from zero.

    Args:
        problem: What to solve.
        config: The scheme.
        iterations: Calls of `Solver.step`.
    """
    size = len(problem.optimum_y)
    x, y, z = (nn.Parameter(torch.zeros(n)) for n in (1, size, size))
    levels = Problem(
        upper=_level("upper", x, lambda _: problem.upper(x, y), 0.02),
        lower=_level("lower", y, lambda _: problem.lower(x, y), 0.05),
        value=_level("value", z, lambda _: problem.lower(x, z), 0.1),
        lower_sees_upper=True,
        synchronise=lambda: copy_values([y], [z]),
    )
    solver = build_solver(levels, config)
    path = [torch.cat([x.detach(), y.detach()])]
    for iteration in range(iterations):
        solver.step(None, torch.autograd.backward, Progress(0, iteration, iteration / iterations))
        path.append(torch.cat([x.detach(), y.detach()]))
    return ToyResult(problem, x.detach(), y.detach(), torch.stack(path))


def solve_as_singleton(problem: ToyProblem, iterations: int = 1000, unroll: int = 20) -> ToyResult:
    """What goes wrong without the value function: differentiates through unrolled lower steps from y = 0.

    The scheme takes the lower solution that gradient descent reaches for the only one, so that F never chooses.
    """
    x = torch.zeros(1)
    path = []
    for _ in range(iterations):
        x.requires_grad_(True)
        y = torch.zeros(len(problem.optimum_y), requires_grad=True)
        for _ in range(unroll):
            (slope,) = torch.autograd.grad(problem.lower(x, y), y, create_graph=True)
            y = y - 0.2 * slope
        (gradient,) = torch.autograd.grad(problem.upper(x, y), x)
        path.append(torch.cat([x.detach(), y.detach()]))
        x = x.detach() - 0.02 * gradient
    return ToyResult(problem, x, y.detach(), torch.stack(path))


def _level(name: str, variable: nn.Parameter, loss: Callable[[None], Tensor], rate: float) -> Level:
    optimizer = torch.optim.SGD([variable], rate)
    return Level(name, [variable], loss, optimizer.step, optimizer.zero_grad)
