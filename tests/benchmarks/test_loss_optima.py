"""What a loss asks for, by minimising it over the picture itself."""

import pandas as pd
import pytest
import torch

from benchmarks.loss_optima import LOSSES, SCORES, minimise, rows_of, score, weighted
from ivif.metrics.functional import formula_triplet


def _pair() -> tuple[torch.Tensor, torch.Tensor]:
    _, infrared, visible = formula_triplet(height=64, width=80)
    return infrared.float() / 255, visible.float() / 255


def test_the_intensity_term_alone_asks_for_the_maximum() -> None:
    infrared, visible = _pair()
    found = minimise(infrared, visible, {"intensity": 1.0}, 80)
    assert (found - torch.maximum(infrared, visible)).abs().max() < 1 / 255


@pytest.mark.parametrize("name", LOSSES)
def test_steps_lower_each_loss(name: str) -> None:
    infrared, visible = _pair()
    begun, ended = (minimise(infrared, visible, LOSSES[name], steps) for steps in (0, 20))
    losses = [weighted(fused, infrared, visible, LOSSES[name]).item() for fused in (begun, ended)]
    assert losses[1] < 0.99 * losses[0]
    assert 0 <= ended.min() <= ended.max() <= 1


def test_rows_are_ranked_with_a_lower_qcv_in_front() -> None:
    infrared, visible = _pair()
    found = {"a": score(infrared, infrared, visible), "b": score(visible, infrared, visible)}
    means = pd.DataFrame(found).T
    means.loc["a", list(SCORES)] = 1.0
    means.loc["b", list(SCORES)] = [2.0] * 8 + [0.5]
    rows = rows_of(means)
    assert [(row["row"], row["mean rank"]) for row in rows] == [("b", "1.00"), ("a", "2.00")]
    assert rows[0]["Qcv"] == "0.5 (1)"
