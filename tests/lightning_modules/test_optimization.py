"""Learning-rate schedule and optimiser of the tasks."""

import pytest
import torch
from torch import nn

from ivif.lightning_modules.optimization import AdamConfig, WarmupDecayConfig


@pytest.mark.parametrize(("epoch", "expected"), [(0, 1e-4), (10, 5.5e-4), (20, 1e-3), (60, 5.5e-4), (100, 1e-4)])
def test_the_papers_rates_at_the_papers_epochs(epoch: int, expected: float) -> None:
    assert WarmupDecayConfig().learning_rate(epoch / 100) == pytest.approx(expected)


def test_linear_decay_differs_in_between() -> None:
    linear = WarmupDecayConfig(decay="linear")
    assert linear.learning_rate(0.6) == pytest.approx(5.5e-4)
    assert linear.learning_rate(0.4) == pytest.approx(7.75e-4)
    assert WarmupDecayConfig().learning_rate(0.4) == pytest.approx(1e-4 + 4.5e-4 * (1 + 2**-0.5))


def test_the_scheduler_sets_the_rate_per_step() -> None:
    config = WarmupDecayConfig()
    optimizer = AdamConfig().build([nn.Parameter(torch.zeros(1))], config.peak)
    scheduler = config.build(optimizer, total_steps=lambda: 10)
    rates = []
    for _ in range(11):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert rates[0] == pytest.approx(1e-4)
    assert rates[2] == pytest.approx(1e-3)
    assert rates[10] == pytest.approx(1e-4)


def test_frozen_parameters_are_left_out() -> None:
    free, frozen = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1), requires_grad=False)
    assert AdamConfig().build([free, frozen], 1e-3).param_groups[0]["params"] == [free]


def test_weight_decay_chooses_adamw() -> None:
    parameter = nn.Parameter(torch.zeros(1))
    assert type(AdamConfig().build([parameter], 1e-3)) is torch.optim.Adam
    assert type(AdamConfig(weight_decay=0.1).build([parameter], 1e-3)) is torch.optim.AdamW


@pytest.mark.parametrize("settings", [{"peak": 0.0}, {"start": -1.0}, {"warmup_fraction": 1.0}])
def test_impossible_numbers_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="schedule"):
        WarmupDecayConfig(**settings)  # type: ignore[arg-type]
