"""The intensity, gradient and SSIM terms."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from ivif.image_ops.sobel import sobel_magnitude
from ivif.losses.gradient import gradient_max_loss
from ivif.losses.intensity import intensity_max_loss
from ivif.losses.ssim import ssim_loss

MAX_LOSSES = [intensity_max_loss, gradient_max_loss]


@pytest.mark.parametrize("loss", MAX_LOSSES)
@pytest.mark.parametrize("value", [0.0, 1.0, None])
def test_zero_when_all_three_are_equal(loss: Callable[..., Tensor], value: float | None) -> None:
    image = torch.rand(2, 1, 8, 9) if value is None else torch.full((2, 1, 8, 9), value)
    assert loss(image, image, image).item() == 0.0
    assert ssim_loss(image, image).item() == pytest.approx(0.0, abs=1e-6)


def test_intensity_by_hand() -> None:
    fused = torch.tensor([0.5, 0.5]).view(1, 1, 1, 2)
    infrared = torch.tensor([0.75, 0.0]).view(1, 1, 1, 2)
    visible = torch.tensor([0.25, 0.1]).view(1, 1, 1, 2)
    assert intensity_max_loss(fused, infrared, visible).item() == pytest.approx((0.25 + 0.4) / 2)


def test_gradient_by_hand() -> None:
    ramp = torch.arange(4.0).view(1, 1, 1, 4).expand(1, 1, 4, 4) / 4
    flat = torch.zeros(1, 1, 4, 4)
    # |Gx| of a ramp of 1/4 per pixel: 8/4 inside and half of it at the two replicated borders.
    assert gradient_max_loss(flat, flat, ramp).item() == pytest.approx((2.0 + 2.0 + 1.0 + 1.0) / 4)
    assert gradient_max_loss(flat, ramp, flat).item() == gradient_max_loss(flat, flat, ramp).item()


def test_a_sobel_divided_by_eight_equals_lambda_1_6() -> None:
    fused, infrared, visible = torch.rand(3, 1, 1, 16, 16, dtype=torch.float64, requires_grad=True)

    def normalised_gradient_loss() -> Tensor:
        target = torch.maximum(sobel_magnitude(infrared) / 8, sobel_magnitude(visible) / 8)
        return (sobel_magnitude(fused) / 8 - target).abs().mean()

    intensity = intensity_max_loss(fused, infrared, visible)
    with_normalised = normalised_gradient_loss() + 0.2 * intensity
    with_ours = gradient_max_loss(fused, infrared, visible) + 1.6 * intensity
    assert with_ours.item() == pytest.approx(8 * with_normalised.item())


@pytest.mark.parametrize("loss", MAX_LOSSES)
def test_rgb_repeats_infrared_over_the_channels(loss: Callable[..., Tensor]) -> None:
    fused, visible = torch.rand(2, 2, 3, 8, 8)
    infrared = torch.rand(2, 1, 8, 8)
    expected = sum(loss(fused[:, c : c + 1], infrared, visible[:, c : c + 1]) for c in range(3)) / 3
    torch.testing.assert_close(loss(fused, infrared, visible), expected)


@pytest.mark.parametrize("loss", MAX_LOSSES)
def test_half_precision_is_averaged_in_float32(loss: Callable[..., Tensor]) -> None:
    fused, infrared, visible = torch.rand(3, 1, 1, 8, 8).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        result = loss(fused, infrared, visible)
    assert result.dtype == torch.float32
    torch.testing.assert_close(result, loss(fused.float(), infrared.float(), visible.float()))


@pytest.mark.parametrize("loss", MAX_LOSSES)
def test_finite_gradients(loss: Callable[..., Tensor]) -> None:
    fused = torch.zeros(1, 1, 6, 6, requires_grad=True)
    (gradient,) = torch.autograd.grad(loss(fused, torch.ones(1, 1, 6, 6), torch.rand(1, 1, 6, 6)), fused)
    assert gradient.isfinite().all()
    (gradient,) = torch.autograd.grad(ssim_loss(fused, torch.rand(1, 1, 6, 6)), fused)
    assert gradient.isfinite().all()
    assert gradient.abs().sum() > 0


@pytest.mark.parametrize("loss", MAX_LOSSES)
def test_rgb_is_not_compared_with_luma(loss: Callable[..., Tensor]) -> None:
    with pytest.raises(ValueError, match="luma"):
        loss(torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 8, 8), torch.zeros(1, 3, 8, 8))


def test_ssim_loss_is_one_minus_ssim() -> None:
    image = torch.rand(1, 1, 16, 16)
    assert 1.0 < ssim_loss(image, 1.0 - image).item() <= 2.0
