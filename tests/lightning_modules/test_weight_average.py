"""The running average of weights: its numbers, its buffers, its mode."""

import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from ivif.lightning_modules.detector_training import DetectorTrainingConfig
from ivif.lightning_modules.weight_average import AverageConfig, WeightAverage, kept_share


def _parts() -> tuple[nn.Linear, nn.BatchNorm1d, nn.Sequential]:
    torch.manual_seed(0)
    linear, norm = nn.Linear(2, 2), nn.BatchNorm1d(2)
    return linear, norm, nn.Sequential(linear, norm)


def test_weights_and_statistics_follow_the_formula_and_counters_are_copied() -> None:
    linear, norm, module = _parts()
    average = WeightAverage(module, decay=0.9, ramp=3.0)
    weight, mean = torch.zeros(()), torch.zeros(2)
    for step in range(4):
        with torch.no_grad():
            linear.weight.fill_(float(step + 1))
        norm(torch.full((4, 2), float(step)) + torch.arange(4.0)[:, None])
        average.update_parameters(module)
        kept = 0.9 * (1 - math.exp(-step / 3.0))
        assert norm.running_mean is not None
        weight = kept * weight + (1 - kept) * (step + 1)
        mean = kept * mean + (1 - kept) * norm.running_mean
    averaged = average.state_dict()
    assert torch.allclose(averaged["module.0.weight"], weight.expand(2, 2), atol=1e-6)
    assert torch.allclose(averaged["module.1.running_mean"], mean, atol=1e-6)
    assert averaged["module.1.num_batches_tracked"] == 4
    assert averaged["n_averaged"] == 4


def test_the_share_grows_to_the_decay() -> None:
    assert kept_share(0.0, 0.9, 3.0) == 0.0
    assert kept_share(3.0, 0.9, 3.0) == pytest.approx(0.9 * (1 - math.exp(-1)))
    assert kept_share(1e6, 0.9, 3.0) == pytest.approx(0.9)


def test_it_stays_in_eval_mode_without_gradients_and_apart() -> None:
    linear, _, module = _parts()
    average = WeightAverage(module, decay=0.9, ramp=3.0)
    owner = nn.ModuleList([module, average]).train()
    assert not any(part.training for part in average.modules())
    assert all(part.training for part in module.modules())
    assert not any(parameter.requires_grad for parameter in average.parameters())
    assert all(parameter.requires_grad for parameter in module.parameters())
    with torch.no_grad():
        linear.weight.zero_()
    assert average.state_dict()["module.0.weight"].abs().sum() > 0
    assert "1.module.0.weight" in owner.state_dict()


def _average_or_copy(averaged: Sequence[Tensor], current: Sequence[Tensor], updates: Tensor | int) -> None:
    kept = kept_share(float(updates), 0.9, 3.0) if averaged[0].is_floating_point() else 0.0
    for own, now in zip(averaged, current, strict=True):
        own.copy_(torch.lerp(own, now, 1 - kept) if own.is_floating_point() else now)


def test_it_is_torchs_own_average_in_numbers_and_in_its_files() -> None:
    """Checkpoints of either load into the other."""
    linear, norm, module = _parts()
    average = WeightAverage(module, decay=0.9, ramp=3.0)
    reference = AveragedModel(module, multi_avg_fn=_average_or_copy, use_buffers=True)
    for step in range(3):
        with torch.no_grad():
            linear.weight.add_(float(step + 1))
        norm(torch.full((4, 2), float(step)) + torch.arange(4.0)[:, None])
        average.update_parameters(module)
        reference.update_parameters(module)
    ours, theirs = average.state_dict(), reference.state_dict()
    assert ours.keys() == theirs.keys()
    for key, value in theirs.items():
        assert torch.equal(ours[key], value), key
        assert ours[key].dtype == value.dtype
    fresh = WeightAverage(module, decay=0.9, ramp=3.0)
    fresh.load_state_dict(theirs)
    assert fresh.n_averaged == 3
    reference.load_state_dict(ours)


def test_a_count_is_part_of_the_state_and_missed_there() -> None:
    _, _, module = _parts()
    average = WeightAverage(module, decay=0.9, ramp=3.0)
    state = average.state_dict() | {"n_averaged": torch.tensor(5)}
    owner = nn.ModuleDict({"average": average})
    owner.load_state_dict({f"average.{key}": value for key, value in state.items()})
    assert average.n_averaged == 5
    assert owner.state_dict()["average.n_averaged"].dtype == torch.int64
    del state["n_averaged"]
    with pytest.raises(RuntimeError, match=r'Missing key\(s\) in state_dict: "n_averaged"'):
        average.load_state_dict(state)
    with pytest.raises(RuntimeError, match=r'Unexpected key\(s\) in state_dict: "n_average"'):
        average.load_state_dict(average.state_dict() | {"n_average": torch.tensor(5)})


@pytest.mark.parametrize(("decay", "ramp", "field"), [(1.0, 1.0, "decay"), (0.5, 0.0, "ramp"), (0.5, math.inf, "ramp")])
def test_shares_that_make_no_average_are_refused_by_the_option_s_name(decay: float, ramp: float, field: str) -> None:
    with pytest.raises(ValueError, match=rf"^average\.{field} is "):
        AverageConfig(decay, ramp)
    with pytest.raises(ValueError, match=rf"^training\.average_{field} is "):
        DetectorTrainingConfig(average_decay=decay, average_ramp=ramp)
