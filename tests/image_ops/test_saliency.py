import pytest
import torch

from ivif.image_ops.saliency import saliency, saliency_pair


def test_equals_the_mean_over_all_pairs_of_pixels() -> None:
    levels = torch.randint(0, 256, (3, 1, 7, 9), generator=torch.Generator().manual_seed(0))
    flat = levels.flatten(1).double()
    expected = (flat[:, :, None] - flat[:, None, :]).abs().mean(dim=2).view(levels.shape) / 255
    result = saliency(levels.float() / 255)
    assert result.dtype == torch.float32
    torch.testing.assert_close(result.double(), expected, atol=1e-6, rtol=0.0)


def test_by_hand() -> None:
    image = torch.tensor([0.0, 0.0, 0.0, 1.0]).view(1, 1, 2, 2)
    assert saliency(image).flatten().tolist() == pytest.approx([0.25, 0.25, 0.25, 0.75])
    assert saliency(torch.full((1, 1, 3, 3), 0.4)).abs().max() == 0.0


def test_half_black_half_white_is_the_extreme_of_a_balanced_image() -> None:
    image = torch.tensor([0.0, 1.0]).repeat(8).view(1, 1, 4, 4)
    assert torch.unique(saliency(image)).tolist() == pytest.approx([0.5])


def test_values_outside_are_clamped_and_rounded_to_eight_bits() -> None:
    image = torch.tensor([-3.0, 0.5001, 0.4999, 7.0]).view(1, 1, 2, 2)
    same = torch.tensor([0.0, 128 / 255, 127 / 255, 1.0]).view(1, 1, 2, 2)
    assert torch.equal(saliency(image), saliency(same))


def test_each_image_has_its_own_histogram() -> None:
    images = torch.rand(2, 1, 8, 8)
    assert torch.equal(saliency(images)[1:], saliency(images[1:]))


def test_pair_and_no_gradient() -> None:
    infrared, visible = torch.rand(2, 2, 1, 8, 8).requires_grad_()
    planes = saliency_pair(infrared, visible)
    assert planes.shape == (2, 2, 8, 8)
    assert not planes.requires_grad
    assert torch.equal(planes[:, 1:], saliency(visible))


def test_autocast_does_not_round() -> None:
    image = torch.rand(1, 1, 16, 16)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = saliency(image)
    assert torch.equal(rounded, saliency(image))


def test_wrong_shapes_are_named() -> None:
    with pytest.raises(ValueError, match=r"\(B, 1, H, W\)"):
        saliency(torch.zeros(1, 3, 4, 4))
    with pytest.raises(ValueError, match=r"\(B, 1, H, W\)"):
        saliency(torch.zeros(1, 1, 0, 4))
    with pytest.raises(ValueError, match="one size"):
        saliency_pair(torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 5))
