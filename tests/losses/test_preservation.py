"""Terms beside the papers' own: edges, information, similarity, differences."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from ivif.losses.gradient import gradient_max_loss, signed_gradient_max_loss
from ivif.losses.preservation import (
    PreservationWeights,
    difference_correlation_loss,
    edge_preservation_loss,
    information_loss,
    preservation_terms,
    similarity_loss,
)
from ivif.metrics.functional import formula_triplet, ssim, sum_of_correlations_of_differences, vif

LOSSES = [
    *(edge_preservation_loss, information_loss, similarity_loss, difference_correlation_loss),
    signed_gradient_max_loss,
]


def _pictures(fusion: str = "maximum") -> tuple[Tensor, Tensor, Tensor]:
    fused, infrared, visible = (image.float() / 255.0 for image in formula_triplet(fusion))
    return fused, infrared, visible


def _stripes() -> Tensor:
    """Straight edges of full contrast, far apart."""
    columns = (torch.arange(64) // 8 % 2).float()
    return columns.view(1, 1, 1, 64).expand(1, 1, 64, 64)


@pytest.mark.parametrize("loss", LOSSES)
def test_equal_images_lose_nothing(loss: Callable[..., Tensor]) -> None:
    image = _pictures()[1]
    assert loss(image, image, image).item() == pytest.approx(0.0, abs=0.05)


def test_an_edge_counts_by_its_strength() -> None:
    stripes, flat = _stripes(), torch.full((1, 1, 64, 64), 0.5)
    assert edge_preservation_loss(stripes, flat, stripes).item() == pytest.approx(0.0, abs=0.01)
    assert edge_preservation_loss(0.25 * stripes, flat, stripes).item() == pytest.approx(0.75, abs=0.01)
    assert edge_preservation_loss(flat, flat, stripes).item() == pytest.approx(1.0, abs=0.01)


def test_edges_of_the_stronger_source_count_more() -> None:
    strong, weak = _stripes(), 0.25 * _stripes().transpose(-1, -2)
    lost_weak = edge_preservation_loss(strong, strong, weak).item()
    lost_strong = edge_preservation_loss(weak, strong, weak).item()
    assert lost_weak == pytest.approx(0.2, abs=0.02)
    assert lost_strong == pytest.approx(0.8, abs=0.02)


def test_a_negative_keeps_no_edge_though_magnitudes_agree() -> None:
    stripes, flat = _stripes(), torch.full((1, 1, 64, 64), 0.5)
    assert gradient_max_loss(1.0 - stripes, flat, stripes).item() == 0.0
    assert edge_preservation_loss(1.0 - stripes, flat, stripes).item() == pytest.approx(1.0, abs=1e-6)


def test_each_derivative_is_that_of_the_stronger_source() -> None:
    ramp = torch.arange(64.0).view(1, 1, 1, 64).expand(1, 1, 64, 64) / 64
    falling, upright = -2.0 * ramp, 0.5 * ramp.transpose(-1, -2)
    assert signed_gradient_max_loss(falling + upright, ramp + upright, falling).item() == pytest.approx(0.0, abs=1e-6)
    # |Gx| of `ramp` is 8/64, half of it in the two outer columns; its negative is twice as far from it
    expected = 2 * 8 / 64 * 63 / 64
    assert signed_gradient_max_loss(-ramp, ramp, 0 * ramp).item() == pytest.approx(expected)
    assert gradient_max_loss(-ramp, ramp, 0 * ramp).item() == 0.0


@pytest.mark.parametrize("fusion", ["average", "maximum"])
def test_three_terms_are_their_metrics(fusion: str) -> None:
    triplet, images = formula_triplet(fusion), _pictures(fusion)
    assert information_loss(*images).item() == pytest.approx(1 - vif(*triplet, reduction="mean").item(), abs=1e-4)
    expected = sum_of_correlations_of_differences(*triplet).item()
    assert difference_correlation_loss(*images).item() == pytest.approx(1 - expected / 2, abs=1e-4)
    both = ssim(*triplet).item()  # the sum over both sources; borders differ: mirrored here, left out there
    assert similarity_loss(*images).item() == pytest.approx(1 - both / 2, abs=0.01)


@pytest.mark.parametrize("loss", LOSSES)
def test_parts_of_a_batch_give_the_whole(loss: Callable[..., Tensor]) -> None:
    pairs = [_pictures(), _pictures("average"), tuple(0.1 * image for image in _pictures())]
    whole = loss(*(torch.cat(images) for images in zip(*pairs, strict=True)))
    torch.testing.assert_close(whole, torch.stack([loss(*pair) for pair in pairs]).mean())


def test_a_pair_without_a_defined_correlation_adds_nothing() -> None:
    fused, infrared, visible = _pictures()
    flat = torch.full_like(fused, 0.25)
    batch = (torch.cat((fused, flat)), torch.cat((infrared, flat)), torch.cat((visible, flat)))
    alone = difference_correlation_loss(fused, infrared, visible).item()
    assert difference_correlation_loss(*batch).item() == pytest.approx(alone / 2)
    assert difference_correlation_loss(flat, flat, flat).item() == 0.0


@pytest.mark.parametrize("loss", LOSSES)
def test_rgb_repeats_infrared_over_the_channels(loss: Callable[..., Tensor]) -> None:
    fused, infrared, visible = _pictures()
    rgb = [torch.cat([image, image, image], dim=1) for image in (fused, visible)]
    # one channel is convolved otherwise than three: where both sources are equally steep, rounding chooses one
    torch.testing.assert_close(loss(rgb[0], infrared, rgb[1]), loss(fused, infrared, visible), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("level", [0.0, 0.5])
def test_gradients_are_finite_where_nothing_is_to_be_seen(loss: Callable[..., Tensor], level: float) -> None:
    flat = torch.full((2, 1, 48, 48), level)
    for infrared in (flat, torch.rand(2, 1, 48, 48)):
        fused = flat.clone().requires_grad_(True)
        (gradient,) = torch.autograd.grad(loss(fused, infrared, flat), fused)
        assert gradient.isfinite().all()


@pytest.mark.parametrize("loss", LOSSES)
def test_a_step_along_the_gradient_helps(loss: Callable[..., Tensor]) -> None:
    average, infrared, visible = _pictures("average")
    fused = average.clone().requires_grad_(True)
    before = loss(fused, infrared, visible)
    (gradient,) = torch.autograd.grad(before, fused)
    after = loss((fused - 0.01 * gradient / gradient.abs().max()).detach(), infrared, visible)
    assert after < before


@pytest.mark.parametrize("loss", LOSSES)
def test_half_precision_is_computed_in_float32(loss: Callable[..., Tensor]) -> None:
    images = [image.bfloat16() for image in _pictures()]
    with torch.autocast("cpu", torch.bfloat16):
        result = loss(*images)
    assert result.dtype == torch.float32
    torch.testing.assert_close(result, loss(*(image.float() for image in images)))


def test_too_small_a_crop_for_information_names_the_remedy() -> None:
    with pytest.raises(ValueError, match=r"at least 41 pixels.*\(32, 48\).*transforms\.crop"):
        information_loss(*torch.rand(3, 1, 1, 32, 48))


@pytest.mark.parametrize("loss", LOSSES)
def test_other_shapes_are_refused(loss: Callable[..., Tensor]) -> None:
    with pytest.raises(ValueError, match="luma"):
        loss(torch.rand(1, 1, 48, 48), torch.rand(1, 1, 48, 48), torch.rand(1, 3, 48, 48))


def test_only_terms_with_a_weight_are_computed() -> None:
    assert PreservationWeights().chosen() == {}
    chosen = PreservationWeights(edges=0.5, differences=2.0).chosen()
    assert chosen == {"edges": 0.5, "differences": 2.0}
    terms = preservation_terms(*_pictures(), chosen)
    assert list(terms) == ["edges", "differences"]
    assert terms["edges"].item() == edge_preservation_loss(*_pictures()).item()


@pytest.mark.parametrize("weight", [-1.0, math.nan, math.inf])
def test_weights_that_are_none_are_refused(weight: float) -> None:
    with pytest.raises(ValueError, match=r"preservation\.similarity"):
        PreservationWeights(similarity=weight)
