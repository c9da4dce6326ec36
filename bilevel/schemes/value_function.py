"""The value-function scheme (BVFSM, Liu et al., arXiv 2110.04974; BVFIM, ICML 2021).

min over x, y of F(x, y) with y in argmin f(x, .) becomes, for k = 1, 2, ..., the unconstrained problems

    phi_k(x) = min_y F(x, y) + P_k(f(x, y) - f*_k(x)) + theta_k/2 |y|^2,   f*_k(x) = min_z f(x, z) + mu_k/2 |z|^2,

with a penalty that grows and regularisation that vanishes. It needs first derivatives only, and no unique lower
solution: among lower solutions that are equally good, F decides.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

import torch
from torch import Tensor

from ivif.bilevel.descent import Backward, Objective, Weighted
from ivif.bilevel.level import Level
from ivif.bilevel.problem import Problem
from ivif.bilevel.solver import Progress, Solver, SolverConfig
from ivif.machine.process_group import mean_over_processes

Penalty = Literal["hinge", "linear", "barrier"]


@dataclass(frozen=True)
class PenaltyConfig:
    """How strongly the value-function scheme holds f(y) down to f* = min f.

    At the k-th iteration or epoch (counted from 0 after the warm-up) the strength is s_k = min(start + growth k,
    maximum).

    Args:
        kind: `hinge`: s/2 max(w, 0)^2 of the gap w = f(y) - f*. `linear`: s w; f* then drops out of every gradient
            where f does not depend on the upper variables. `barrier`: -1/s ln(slack - w), for a strictly feasible y.
        start: s_0. Starting high with several lower solutions may end in the wrong one.
        growth: Added each iteration or epoch.
        maximum: Where the growth ends.
        smoothing: Decay of the moving averages of f(y) and f* that the gap is taken of; 0 uses the present values.
        weight_range: Bounds of the weight P'(w) that multiplies grad f, for `hinge` and `barrier`.
        slack: Constant that `barrier` adds to f*.
        damping: Divides the lower objective by 1 + damping s, so that plain gradient descent stays stable as s grows;
            optimisers that normalise gradients need none.

    Raises:
        ValueError: If a number is out of range.
    """

    kind: Penalty = "hinge"
    start: float = 10.0
    growth: float = 10.0
    maximum: float = 200.0
    smoothing: float = 0.9
    weight_range: tuple[float, float] = (0.1, 50.0)
    slack: float = 0.1
    damping: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in get_args(Penalty):
            raise ValueError(f"penalty.kind is '{self.kind}'; known: {', '.join(get_args(Penalty))}.")
        if self.start <= 0 or self.growth < 0 or self.maximum < self.start or self.slack <= 0 or self.damping < 0:
            raise ValueError(f"penalty: start and slack must be positive, growth and damping not negative, {self}.")
        if not 0 <= self.smoothing < 1:
            raise ValueError(f"penalty.smoothing is {self.smoothing}; it must lie in [0, 1).")
        if not 0 <= self.weight_range[0] <= self.weight_range[1]:
            raise ValueError(f"penalty.weight_range is {self.weight_range}; it must rise from 0 or more.")


@dataclass(frozen=True, kw_only=True)
class ValueFunctionConfig(SolverConfig):
    """Numbers of `value_function`.

    Args:
        value_steps: Steps of the value function's own variables per iteration.
        penalty: Of `value_function`.
        regularization: mu_0 = theta_0 of the terms mu_k/2 |z|^2 and theta_k/2 |y|^2, which fall as (k + 1)^-power.
        regularization_power: That power.
        synchronise_every: Epochs (or iterations) between two checks that set z to y where f(y) < f*; 0 never does.
        share_backward: Let the last lower step and the upper step use one backward pass.

    Raises:
        ValueError: If a number is out of range.
    """

    value_steps: int = 2
    penalty: PenaltyConfig = PenaltyConfig()
    regularization: float = 1e-5
    regularization_power: float = 1.0
    synchronise_every: int = 10
    share_backward: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_least(1, "value_steps")
        self.at_least(0, "synchronise_every", "regularization")
        if self.share_backward and self.penalty.damping:
            raise ValueError(
                "penalty.damping scales the lower step alone: set bilevel.share_backward to false with it."
            )


class ValueFunctionSolver(Solver):
    """z-steps on f, y-steps on F + P(f(y) - f*), x-steps on F (and on P'(w) (f(x, y) - f(x, z)) where f sees x).

    The released code of BVFIM takes the barrier's logarithm of a detached value, which leaves a linear penalty of a
    small constant weight; here the weight P'(w) follows the gap. With networks the gap is one of moving averages,
    because f(y) and f* of single batches differ by noise, and the weight is bounded (`penalty.weight_range`).

    Args:
        problem: The levels; `problem.value` is required.
        config: The scheme's numbers.
    """

    config_class = ValueFunctionConfig
    needs_value = True
    config: ValueFunctionConfig

    def __init__(self, problem: Problem, config: ValueFunctionConfig) -> None:
        super().__init__(problem, config)
        self.value = cast("Level", problem.value)
        self.lower_average: Tensor | None = None
        self.value_average: Tensor | None = None
        self.started_at: int | None = None
        self.checked_at: int | None = None

    def state_dict(self) -> dict[str, Any]:
        """The moving averages, when the warm-up ended and when z was last compared with y."""
        return {
            "lower_average": self.lower_average,
            "value_average": self.value_average,
            "started_at": self.started_at,
            "checked_at": self.checked_at,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continues with another solver's averages and schedule."""
        self.lower_average = state["lower_average"]
        self.value_average = state["value_average"]
        self.started_at = state["started_at"]
        self.checked_at = state["checked_at"]

    @property
    def value_is_trained(self) -> bool:
        """Since the warm-up."""
        return self.started_at is not None

    def strength(self, elapsed: int) -> float:
        """s_k of the penalty, `elapsed` epochs or iterations after the warm-up."""
        penalty = self.config.penalty
        return min(penalty.start + penalty.growth * elapsed, penalty.maximum)

    def regularization(self, elapsed: int) -> float:
        """mu_k = theta_k."""
        return float(self.config.regularization / (elapsed + 1) ** self.config.regularization_power)

    def penalty_weight(self, gap: Tensor, strength: float) -> Tensor:
        """P'(w): what multiplies grad f. Bounded for the penalties that follow the gap.

        Args:
            gap: w = f(y) - f*, a scalar.
            strength: s_k.
        """
        penalty = self.config.penalty
        if penalty.kind == "linear":
            return torch.full_like(gap, strength)
        if penalty.kind == "hinge":
            return (strength * gap).clamp(*penalty.weight_range)
        feasible = (penalty.slack - gap).clamp_min(torch.finfo(gap.dtype).eps)
        return (1 / (strength * feasible)).clamp(*penalty.weight_range)

    def _iterate(self, batch: Any, backward: Backward, progress: Progress) -> dict[str, Tensor]:
        """One iteration of all three players; while warming up, y and x each on their own loss."""
        if self.warming_up(progress):
            lower_loss = self.descend_alone(self.problem.lower, batch, backward)
            return {"lower_loss": lower_loss, "upper_loss": self.descend_alone(self.problem.upper, batch, backward)}
        elapsed = self._elapsed(progress)
        strength, vanishing = self.strength(elapsed), self.regularization(elapsed)
        value_loss = self._value_steps(batch, backward, vanishing)
        gap = self._gap(batch, value_loss, vanishing)
        weight = self.penalty_weight(gap, strength)
        lower_loss = self._lower_and_upper_steps(batch, backward, weight, strength, vanishing)
        self.lower_average = self._averaged(self.lower_average, lower_loss)
        self.value_average = self._averaged(self.value_average, value_loss)
        return {
            "lower_loss": lower_loss,
            "value_loss": value_loss,
            "gap": gap,
            "penalty_weight": weight,
            "strength": torch.tensor(strength),
        }

    def _elapsed(self, progress: Progress) -> int:
        """Epochs or iterations since the warm-up; z starts as y, and again when it has fallen behind."""
        now = self.count(progress)
        if self.started_at is None:
            self.started_at = self.checked_at = now
            self.problem.synchronise()
        elapsed, every = now - self.started_at, self.config.synchronise_every
        if every and elapsed and elapsed % every == 0 and now != self.checked_at:
            self.checked_at = now
            if self._value_is_behind():
                self.problem.synchronise()
                self.value_average = self.lower_average
        return elapsed

    def _value_is_behind(self) -> bool:
        """f* is the smallest value of f that is known: it must not lie above f(y)."""
        if self.lower_average is None or self.value_average is None:
            return False
        return bool(self.lower_average < self.value_average)

    def _value_steps(self, batch: Any, backward: Backward, vanishing: float) -> Tensor:
        """The z-steps; f(z) before the last of them, so that it costs no pass of its own."""
        objective = Objective([(self.value, 1)], [self.value], self._regularisation(self.value, vanishing))
        found = [self.problem.descent.descend(objective, batch, backward) for _ in range(self.config.value_steps)]
        return found[-1][0]

    def _gap(self, batch: Any, value_loss: Tensor, vanishing: float) -> Tensor:
        """w: of the moving averages, or exactly, with f* as the regularised value at the present z."""
        if self.config.penalty.smoothing:
            if self.lower_average is None or self.value_average is None:
                return torch.zeros_like(value_loss)  # z is a fresh copy of y
            return (self.lower_average - self.value_average).to(value_loss)
        descent = self.problem.descent
        gap = descent.value(self.problem.lower, batch) - descent.value(self.value, batch)
        return mean_over_processes(gap) - 0.5 * vanishing * self.value.squared_norm().detach()

    def _averaged(self, average: Tensor | None, loss: Tensor) -> Tensor:
        loss = mean_over_processes(loss)
        if average is None:
            return loss
        return average.to(loss).lerp(loss, 1 - self.config.penalty.smoothing)

    def _lower_and_upper_steps(
        self, batch: Any, backward: Backward, weight: Tensor, strength: float, vanishing: float
    ) -> Tensor:
        """The y-steps on F + P'(w) f + theta/2 |y|^2, then the x-steps; f(y) before the last y-step."""
        lower, upper, config = self.problem.lower, self.problem.upper, self.config
        descent = self.problem.descent
        damped = 1 / (1 + config.penalty.damping * strength)
        penalised: list[Weighted] = [(upper, damped), (lower, damped * weight)]
        extra = self._regularisation(lower, damped * vanishing)
        through: list[Weighted] = [(self.value, -weight)] if self.problem.lower_sees_upper else []
        found: list[Tensor] = []
        for _ in range(config.lower_steps - config.share_backward):
            found = descent.descend(Objective(penalised, [lower], extra), batch, backward)
        if config.share_backward:
            found = descent.descend(Objective([*penalised, *through], [lower, upper], extra), batch, backward)
        upper_only: list[Weighted] = [(upper, 1), *([(lower, weight), *through] if through else [])]
        for _ in range(config.upper_steps - config.share_backward):
            descent.descend(Objective(upper_only, [upper]), batch, backward)
        return found[1]

    @staticmethod
    def _regularisation(level: Level, vanishing: float) -> Callable[[], Tensor] | None:
        return (lambda: 0.5 * vanishing * level.squared_norm()) if vanishing else None
