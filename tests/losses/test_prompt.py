import math

import pytest
import torch
from torch import Tensor

from ivif.losses.prompt import PromptForm, margin_ranking_loss, prompt_cross_entropy, prompt_loss


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("ce", (math.log(1 + math.exp(-2)) + math.log(1 + math.exp(1))) / 2),
        ("prob", (1 / (1 + math.exp(2)) + 1 / (1 + math.exp(-1))) / 2),
        ("ratio", (math.exp(-2) + math.exp(1)) / 2),
    ],
)
def test_forms_by_hand(form: PromptForm, expected: float) -> None:
    scores = torch.tensor([[3.0, 1.0], [0.5, 1.5]], dtype=torch.float64)
    assert prompt_loss(scores, form).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("form", ["ce", "prob", "ratio"])
def test_every_form_falls_towards_the_positive_prompt_and_swapping_turns_its_gradient(form: PromptForm) -> None:
    scores = torch.tensor([[20.0, 20.0]], requires_grad=True)
    (gradient,) = torch.autograd.grad(prompt_loss(scores, form), scores)
    (swapped,) = torch.autograd.grad(prompt_loss(scores.flip(1), form), scores)
    assert gradient[0, 0] < 0 < gradient[0, 1]
    torch.testing.assert_close(swapped, -gradient)


def test_the_positive_form_does_not_see_the_negative_prompt() -> None:
    scores = torch.tensor([[20.0, 90.0], [40.0, -5.0]], requires_grad=True)
    loss = prompt_loss(scores, "positive", scale=50.0)
    assert loss.item() == pytest.approx(50 - 30)
    (gradient,) = torch.autograd.grad(loss, scores)
    assert gradient.tolist() == [[-0.5, 0.0], [-0.5, 0.0]]


def test_ratio_is_bounded_where_the_exponent_is_not() -> None:
    scores = torch.tensor([[0.0, 90.0], [90.0, 0.0]], requires_grad=True)
    loss = prompt_loss(scores, "ratio")
    assert loss.item() == pytest.approx((math.exp(5) + math.exp(-5)) / 2, rel=1e-6)
    assert prompt_loss(scores, "ratio", largest_exponent=2.0).item() == pytest.approx(math.cosh(2), rel=1e-6)
    assert float(torch.autograd.grad(loss, scores)[0].abs().max()) == 0.0


def test_extreme_scores_stay_finite() -> None:
    scores = torch.tensor([[-300.0, 300.0]], requires_grad=True)
    (gradient,) = torch.autograd.grad(prompt_loss(scores, "ce"), scores)
    torch.testing.assert_close(gradient, torch.tensor([[-1.0, 1.0]]))
    assert prompt_cross_entropy(scores, torch.tensor([True])).item() == pytest.approx(600.0)


def test_half_precision_is_summed_in_float32() -> None:
    assert prompt_loss(torch.zeros(4, 2, dtype=torch.bfloat16)).dtype == torch.float32


def test_cross_entropy_is_that_of_the_softmax() -> None:
    scores, labels = torch.randn(6, 2), torch.tensor([1, 0, 1, 1, 0, 0])
    p = scores.softmax(dim=1)[:, 0]
    expected = -(labels * p.log() + (1 - labels) * (1 - p).log()).mean()
    torch.testing.assert_close(prompt_cross_entropy(scores, labels), expected)
    assert prompt_cross_entropy(torch.ones(3, 2), torch.tensor([True, False, True])).item() == pytest.approx(
        math.log(2)
    )


def test_ranking_by_hand_counts_every_pair_once() -> None:
    chain = [torch.tensor(value) for value in ([0.2, 0.0], [0.5, 0.95], [0.4, 0.9], [1.0, 1.0])]
    to_negative = [max(0.0, 0.2 - b + 0.9) for b in (0.5, 0.4, 1.0)], [max(0.0, 0.0 - b + 0.9) for b in (0.95, 0.9, 1)]
    between = (0.3 + 0.0), (0.25 + 0.1)
    expected = sum(sum(values) for values in to_negative) / 2 + sum(between) / 2
    assert margin_ranking_loss(chain).item() == pytest.approx(expected, rel=1e-6)


def test_ranking_is_zero_on_an_ordered_chain_and_pulls_the_others_apart() -> None:
    assert margin_ranking_loss([torch.tensor([p]) for p in (0.0, 0.91, 1.0)], margin_between=0.05).item() == 0.0
    chain = [torch.tensor([0.5], requires_grad=True) for _ in range(4)]
    gradients = torch.autograd.grad(margin_ranking_loss(chain), chain)
    assert [float(gradient) for gradient in gradients] == [3.0, 0.0, -1.0, -2.0]


@pytest.mark.parametrize("scores", [torch.zeros(4), torch.zeros(4, 3)])
def test_scores_of_another_shape_are_refused(scores: Tensor) -> None:
    with pytest.raises(ValueError, match=r"\(B, 2\)"):
        prompt_loss(scores)


def test_misuse_is_named() -> None:
    with pytest.raises(ValueError, match="no form 'hinge'; known: ce, prob, ratio"):
        prompt_loss(torch.zeros(1, 2), "hinge")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="labels of shape"):
        prompt_cross_entropy(torch.zeros(3, 2), torch.zeros(2))
    with pytest.raises(ValueError, match="two or more"):
        margin_ranking_loss([torch.zeros(3)])
    with pytest.raises(ValueError, match="one shape"):
        margin_ranking_loss([torch.zeros(3), torch.zeros(2)])
