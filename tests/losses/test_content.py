from typing import get_args

import pytest
import torch
from torch import Tensor

from ivif.image_ops.saliency import saliency_pair
from ivif.losses.content import ContentForm, SaliencyWeighting, content_loss, saliency_weights
from ivif.losses.structure import comparison_maps, fidelity

WEIGHTINGS, FORMS = get_args(SaliencyWeighting), get_args(ContentForm)


def _batch() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    fused, infrared, visible = torch.rand(3, 2, 1, 16, 20, generator=generator)
    return fused, infrared, visible, torch.rand(2, 1, 16, 20, generator=generator)


def _weight(infrared: float, visible: float, weighting: SaliencyWeighting) -> float:
    planes = torch.tensor([[infrared, 1.0], [visible, 1.0]]).view(1, 2, 1, 2)
    return saliency_weights(planes, weighting)[0, 0, 0, 0].item()


def test_weights_by_hand() -> None:
    assert _weight(0.3, 0.1, "ratio") == pytest.approx(0.75, abs=1e-5)
    assert _weight(0.3, 0.1, "softmax5") == pytest.approx(1 / (1 + 2.718281828**-1.0), abs=1e-5)
    assert _weight(0.1, 0.3, "printed") == pytest.approx(0.5)
    assert _weight(0.1, 0.6, "printed") == pytest.approx(0.2)
    assert _weight(0.3, 0.1, "printed") == 1.0  # 1.5 as printed
    assert _weight(0.2, 0.2, "printed") == 1.0  # infinite as printed


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_weights_stay_in_range_and_carry_no_gradient(weighting: SaliencyWeighting) -> None:
    planes = saliency_pair(*torch.rand(2, 3, 1, 12, 12)).requires_grad_()
    weights = saliency_weights(planes, weighting)
    assert weights.shape == (3, 1, 12, 12)
    assert not weights.requires_grad
    assert 0.0 <= weights.min() <= weights.max() <= 1.0
    nothing = saliency_weights(torch.zeros(1, 2, 4, 4), weighting)
    assert torch.unique(nothing).tolist() == [0.5]


@pytest.mark.parametrize("weighting", ["ratio", "softmax5"])
def test_weights_of_exchanged_sources_add_up_to_one(weighting: SaliencyWeighting) -> None:
    planes = saliency_pair(*torch.rand(2, 2, 1, 12, 12))
    both = saliency_weights(planes, weighting) + saliency_weights(planes.flip(1), weighting)
    torch.testing.assert_close(both, torch.ones_like(both))


def test_weighted_loss_weighs_the_differences() -> None:
    fused, infrared, visible, weights = _batch()
    loss = content_loss(fused, infrared, visible, weights)
    for name in ("ssim", "pixel", "gradient"):
        to_infrared = getattr(comparison_maps(fused, infrared), name)
        to_visible = getattr(comparison_maps(fused, visible), name)
        expected = (weights * to_infrared + (1 - weights) * to_visible).mean(dim=(1, 2, 3))
        torch.testing.assert_close(getattr(loss.terms, name), expected)


def test_composite_compares_with_one_image() -> None:
    fused, infrared, visible, weights = _batch()
    mixed = weights * infrared + (1 - weights) * visible
    terms = content_loss(fused, infrared, visible, weights, "composite").terms
    torch.testing.assert_close(terms.total, comparison_maps(fused, mixed).per_sample().total)
    assert content_loss(mixed, infrared, visible, weights, "composite").terms.total.abs().max() < 1e-5


def test_literal_prefers_half_the_brightness_of_equal_sources() -> None:
    source, half = torch.full((1, 1, 8, 8), 0.6), torch.full((1, 1, 8, 8), 0.5)

    def pixel(brightness: float, form: ContentForm) -> float:
        return content_loss(torch.full_like(source, brightness), source, source, half, form).terms.pixel.item()

    assert pixel(0.3, "literal") == pytest.approx(0.0)
    assert pixel(0.6, "literal") == pytest.approx(0.6)
    assert pixel(0.6, "weighted_loss") == pytest.approx(0.0)
    assert pixel(0.6, "composite") == pytest.approx(0.0)


@pytest.mark.parametrize("form", FORMS)
def test_fidelity_comes_along_without_gradient(form: ContentForm) -> None:
    fused, infrared, visible, weights = _batch()
    loss = content_loss(fused.requires_grad_(), infrared, visible, weights, form)
    assert not loss.fidelity.requires_grad
    torch.testing.assert_close(loss.fidelity, fidelity(fused, infrared, visible), atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("form", FORMS)
def test_gradient_reaches_the_fused_image_but_not_the_weights(form: ContentForm) -> None:
    fused, infrared, visible, weights = (tensor.requires_grad_() for tensor in _batch())
    terms = content_loss(fused, infrared, visible, weights, form).terms
    for term in terms:
        gradient, none = torch.autograd.grad(term.sum(), (fused, weights), allow_unused=True, retain_graph=True)
        assert gradient.abs().sum() > 0
        assert none is None


def test_wrong_input_is_named() -> None:
    fused, infrared, visible, weights = _batch()
    with pytest.raises(ValueError, match="one plane each"):
        content_loss(fused, infrared, visible, weights[..., 1:])
    with pytest.raises(ValueError, match="A loss compares"):
        content_loss(fused, infrared, visible[..., 1:], weights)
    with pytest.raises(ValueError, match="form='other'"):
        content_loss(fused, infrared, visible, weights, "other")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="weighting='other'"):
        saliency_weights(torch.zeros(1, 2, 4, 4), "other")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"\(B, 2, H, W\)"):
        saliency_weights(torch.zeros(1, 1, 4, 4))
