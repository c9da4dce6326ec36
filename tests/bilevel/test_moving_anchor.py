"""A lower loss that is held near to an earlier result keeps one minimum, wherever the upper level moves y."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from ivif.bilevel import BilevelConfig, Level, PenaltyConfig, Problem, Progress, build_solver

SOURCE, WANTED, PULL = 1.0, 3.0, 4.0
"""Where f has its minimum, where F has its own, and how strongly f holds on to the earlier result."""


def _number(name: str, parameter: nn.Parameter, loss: Callable[[], Tensor]) -> Level:
    optimizer = torch.optim.SGD([parameter], 0.05)
    return Level(name, [parameter], lambda _: loss(), optimizer.step, optimizer.zero_grad)


@pytest.mark.parametrize("held_to", ["undisturbed", "moved"])
def test_the_gap_is_that_of_one_function_only_if_no_detector_moves_what_holds_it(held_to: str) -> None:
    """f(y) = 1/2 (y - source)^2 + pull/2 (y - earlier)^2, F(y) = 1/2 (y - wanted)^2, and `earlier` follows y or z."""
    x, y, z = (nn.Parameter(torch.zeros(())) for _ in range(3))
    earlier = torch.zeros(())

    def lower_loss(variable: Tensor) -> Tensor:
        return 0.5 * (variable - SOURCE) ** 2 + 0.5 * PULL * (variable - earlier) ** 2

    problem = Problem(
        _number("upper", x, lambda: 0.5 * (y - WANTED) ** 2 + 0.5 * x**2),
        _number("lower", y, lambda: lower_loss(y)),
        _number("value", z, lambda: lower_loss(z)),
    )
    penalty = PenaltyConfig(kind="linear", start=1.0, growth=0.0, maximum=1.0, smoothing=0.0)
    config = BilevelConfig(unit="step", warmup=0, regularization=0.0, penalty=penalty)
    solver = build_solver(problem, config)
    for epoch in range(60):
        for step in range(20):
            report = solver.step(None, torch.autograd.backward, Progress(epoch, 20 * epoch + step, epoch / 60))
        earlier = (z if solver.value_is_trained and held_to == "undisturbed" else y).detach().clone()
    gap = float(report["gap"])
    if held_to == "undisturbed":  # z is at the source, and y where both pulls are equal
        assert z.item() == pytest.approx(SOURCE, abs=1e-3)
        assert y.item() == pytest.approx((WANTED + (1 + PULL) * SOURCE) / (2 + PULL), abs=1e-3)
        assert gap == pytest.approx((1 + PULL) / 2 * (y.item() - SOURCE) ** 2, rel=1e-2)
    else:  # z is drawn after y, so that the very same distance from the source counts for less than 1/2 (y - source)^2
        assert z.item() > SOURCE + 0.5
        assert gap == pytest.approx(0.5 * (y.item() - SOURCE) ** 2 / (1 + PULL), rel=1e-2)
