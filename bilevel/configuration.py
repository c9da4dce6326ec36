"""What a user can set about a bilevel scheme, as frozen dataclasses that YAML shows."""

from dataclasses import dataclass
from typing import Literal, get_args

Scheme = Literal["separate", "joint", "alternate", "value_function", "rank1"]
Penalty = Literal["hinge", "linear", "barrier"]
Unit = Literal["step", "epoch"]


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


@dataclass(frozen=True)
class BilevelConfig:
    """Which scheme trains the two levels, and its numbers.

    Args:
        scheme: `separate`: all lower steps first, then the upper level on what is then frozen. `joint`: one weighted
            sum of both losses. `alternate`: lower steps and upper steps in turn (From Text to Pixels, eq 7).
            `value_function`: the upper level chooses among good lower solutions (BVFSM, arXiv 2110.04974).
            `rank1`: upper steps with a rank-one Gauss-Newton correction through the lower level.
        lower_steps: Lower steps per iteration (or epochs per turn, for `alternate` with unit `epoch`).
        upper_steps: Upper steps per iteration (or epochs per turn).
        value_steps: Steps of the value function's own variables per iteration.
        unit: Whether `alternate` takes turns within an iteration or by epochs, and what the penalty's schedule counts.
        warmup: Epochs (or iterations, as `unit` says) in which each level trains on its own loss alone: a detector
            that has learnt nothing has nothing to teach.
        lower_share: Share of the run that `separate` spends on the lower level.
        lower_weight: Weight of f in `joint`.
        upper_weight: Weight of F in `joint`.
        penalty: Of `value_function`.
        regularization: mu_0 = theta_0 of the terms mu_k/2 |z|^2 and theta_k/2 |y|^2, which fall as (k + 1)^-power.
        regularization_power: That power.
        synchronise_every: Epochs (or iterations) between two checks that set z to y where f(y) < f*; 0 never does.
        share_backward: Let the last lower step and the upper step use one backward pass.
        correction: eta of `rank1`.
        accumulate: Parts that each batch is cut into, whose gradients are summed: less memory, the same
            step but for batch normalisation.
        cosine_every: Iterations between two measurements of the angle between the levels' gradients; 0 never measures.

    Raises:
        ValueError: If a number is out of range.
    """

    scheme: Scheme = "value_function"
    lower_steps: int = 2
    upper_steps: int = 1
    value_steps: int = 2
    unit: Unit = "epoch"
    warmup: int = 3
    lower_share: float = 0.5
    lower_weight: float = 0.5
    upper_weight: float = 0.5
    penalty: PenaltyConfig = PenaltyConfig()
    regularization: float = 1e-5
    regularization_power: float = 1.0
    synchronise_every: int = 10
    share_backward: bool = True
    correction: float = 1.0
    accumulate: int = 1
    cosine_every: int = 0

    def __post_init__(self) -> None:
        if self.scheme not in get_args(Scheme):
            raise ValueError(f"bilevel.scheme is '{self.scheme}'; known: {', '.join(get_args(Scheme))}.")
        if self.unit not in get_args(Unit):
            raise ValueError(f"bilevel.unit is '{self.unit}'; known: {', '.join(get_args(Unit))}.")
        for name in ("lower_steps", "upper_steps", "value_steps", "accumulate"):
            if getattr(self, name) < 1:
                raise ValueError(f"bilevel.{name} is {getattr(self, name)}; it must be at least 1.")
        for name in ("warmup", "synchronise_every", "cosine_every", "regularization", "lower_weight", "upper_weight"):
            if getattr(self, name) < 0:
                raise ValueError(f"bilevel.{name} is {getattr(self, name)}; it must not be negative.")
        if self.share_backward and self.penalty.damping:
            raise ValueError(
                "penalty.damping scales the lower step alone: set bilevel.share_backward to false with it."
            )
        if not 0 < self.lower_share < 1:
            raise ValueError(f"bilevel.lower_share is {self.lower_share}; it must lie between 0 and 1.")
