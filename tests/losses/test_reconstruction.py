import pytest
import torch

from ivif.image_ops.sobel import sobel_components
from ivif.losses.reconstruction import reconstruction_terms
from ivif.losses.ssim import ssim_loss


def test_zero_where_images_are_equal() -> None:
    image = torch.rand(2, 1, 16, 16)
    assert [term.item() for term in reconstruction_terms(image, image)] == pytest.approx([0.0, 0.0, 0.0], abs=1e-6)


def test_terms_by_hand() -> None:
    ramp = (torch.arange(4.0) / 4).expand(1, 1, 4, 4)
    flat = torch.zeros(1, 1, 4, 4)
    terms = reconstruction_terms(flat, ramp)
    assert terms.squared.item() == pytest.approx((0 + 1 + 4 + 9) / 16 / 4)
    # Gx / 8 of a ramp of 1/4 per pixel: 1/4 inside and half of it at the borders; Gy is 0 and counts in the mean.
    assert terms.gradient.item() == pytest.approx((0.25 + 0.25 + 0.125 + 0.125) / 4 / 2)
    assert terms.ssim.item() == pytest.approx(ssim_loss(flat, ramp).item() / 2)


def test_gradients_are_compared_with_their_signs() -> None:
    ramp = (torch.arange(8.0) / 8).expand(1, 1, 8, 8)
    horizontal, _ = sobel_components(ramp)
    mirrored = reconstruction_terms(ramp.flip(-1), ramp).gradient
    assert mirrored.item() == pytest.approx(horizontal.abs().mean().item() / 8)


def test_a_sixteenth_of_the_sum_of_both_derivatives() -> None:
    drawn, image = torch.rand(2, 2, 1, 12, 12)
    differences = sum((a - b).abs() for a, b in zip(sobel_components(drawn), sobel_components(image), strict=True))
    assert isinstance(differences, torch.Tensor)
    torch.testing.assert_close(reconstruction_terms(drawn, image).gradient, differences.mean() / 16)


def test_half_precision_is_averaged_in_float32() -> None:
    drawn, image = torch.rand(2, 1, 1, 16, 16).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        terms = reconstruction_terms(drawn, image)
    for term, exact in zip(terms, reconstruction_terms(drawn.float(), image.float()), strict=True):
        assert term.dtype == torch.float32
        torch.testing.assert_close(term, exact)


def test_finite_gradients_at_the_optimum_and_elsewhere() -> None:
    image = torch.rand(1, 1, 12, 12)
    for start in (image.clone(), torch.zeros_like(image)):
        drawn = start.requires_grad_()
        (gradient,) = torch.autograd.grad(torch.stack(reconstruction_terms(drawn, image)).sum(), drawn)
        assert gradient.isfinite().all()


def test_wrong_shapes_are_named() -> None:
    with pytest.raises(ValueError, match="one shape"):
        reconstruction_terms(torch.rand(1, 1, 4, 4), torch.rand(1, 1, 4, 5))
