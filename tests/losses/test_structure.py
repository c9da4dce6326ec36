import pytest
import torch
from torch import Tensor

from ivif.image_ops.sobel import sobel_magnitude
from ivif.image_ops.ssim import ssim_map
from ivif.losses.structure import ComparisonTerms, fidelity, structure_loss


def _images(count: int, batch: int = 2) -> Tensor:
    return torch.rand(count, batch, 1, 16, 20, generator=torch.Generator().manual_seed(0))


def test_three_terms_per_sample() -> None:
    fused, previous = _images(2)
    terms = structure_loss(fused, previous)
    assert all(term.shape == (2,) for term in terms)
    expected = (1 - ssim_map(fused, previous)).mean(dim=(1, 2, 3))
    torch.testing.assert_close(terms.ssim, expected)
    torch.testing.assert_close(terms.pixel, (fused - previous).abs().mean(dim=(1, 2, 3)))
    gradient = (sobel_magnitude(fused) - sobel_magnitude(previous)).abs().mean(dim=(1, 2, 3))
    torch.testing.assert_close(terms.gradient, gradient)
    torch.testing.assert_close(terms.total, terms.ssim + terms.pixel + terms.gradient)
    torch.testing.assert_close(terms.means().pixel, terms.pixel.mean())
    assert terms.means().total.shape == ()


def test_zero_at_equality_and_nowhere_else() -> None:
    (image,) = _images(1)
    assert structure_loss(image, image).total.abs().max() < 1e-5
    assert min(structure_loss(image, 1 - image).total.tolist()) > 1.0


def test_no_gradient_through_the_previous_result() -> None:
    fused, previous = _images(2).requires_grad_().unbind()
    total = structure_loss(fused, previous).total.sum()
    to_fused, to_previous = torch.autograd.grad(total, (fused, previous), allow_unused=True)
    assert to_fused.abs().sum() > 0
    assert to_previous is None


def test_half_precision_is_compared_in_float32() -> None:
    fused, previous = _images(2).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        terms = structure_loss(fused, previous)
    assert all(term.dtype == torch.float32 for term in terms)
    torch.testing.assert_close(terms.total, structure_loss(fused.float(), previous.float()).total)


def test_fidelity_is_the_detached_mean_similarity_per_sample() -> None:
    image, infrared, visible = _images(3).requires_grad_().unbind()
    result = fidelity(image, infrared, visible)
    assert not result.requires_grad
    both = (ssim_map(image, infrared) + ssim_map(image, visible)).mean(dim=(1, 2, 3)) / 2
    torch.testing.assert_close(result, both.detach().clamp(0, 1))


def test_fidelity_is_one_for_equal_images_and_never_negative() -> None:
    checkers = (torch.arange(16)[:, None] + torch.arange(16)).remainder(2).float().expand(1, 1, 16, 16)
    assert fidelity(checkers, checkers, checkers).item() == pytest.approx(1.0, abs=1e-5)
    assert ssim_map(checkers, 1 - checkers).mean() < -0.5
    assert fidelity(checkers, 1 - checkers, 1 - checkers).item() == 0.0


def test_terms_reduce_over_channels_too() -> None:
    maps = ComparisonTerms(*torch.rand(3, 2, 3, 4, 5).unbind())
    torch.testing.assert_close(maps.per_sample().pixel, maps.pixel.mean(dim=(1, 2, 3)))


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match="one shape"):
        structure_loss(torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 8, 9))
