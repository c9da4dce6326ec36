import numpy as np
import pytest
import torch
from scipy import ndimage

from ivif.image_ops.sobel import sobel_components, sobel_magnitude


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(1, 1), (2, 5), (31, 17)])
def test_agrees_with_scipy(channels: int, size: tuple[int, int]) -> None:
    image = torch.rand(2, channels, *size, dtype=torch.float64)
    horizontal, vertical = sobel_components(image)
    for plane in np.ndindex(2, channels):
        pixels = image[plane].numpy()
        np.testing.assert_allclose(horizontal[plane].numpy(), ndimage.sobel(pixels, axis=1, mode="nearest"), atol=1e-12)
        np.testing.assert_allclose(vertical[plane].numpy(), ndimage.sobel(pixels, axis=0, mode="nearest"), atol=1e-12)


def test_range_is_eight_and_constant_images_have_no_edge_frame() -> None:
    corner = torch.zeros(1, 1, 8, 8)
    corner[..., :4, :4] = 1.0
    assert 4.0 <= sobel_magnitude(corner).max() <= 8.0
    checker = torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.5, 1.0], [1.0, 1.0, 1.0]]).view(1, 1, 3, 3)
    assert sobel_magnitude(checker)[0, 0, 1, 1] == 6.0
    for channels in (1, 4):
        assert sobel_magnitude(torch.full((1, channels, 5, 5), 0.7)).abs().max() < 1e-6


def test_one_and_many_channels_agree_in_value_and_gradient() -> None:
    image = torch.rand(2, 1, 13, 9, dtype=torch.float64, requires_grad=True)
    single, several = sobel_magnitude(image), sobel_magnitude(image.expand(2, 4, 13, 9))
    torch.testing.assert_close(several, single.expand_as(several))
    weights = torch.rand_like(single)
    (by_shifts,) = torch.autograd.grad((single * weights).sum(), image)
    (by_convolution,) = torch.autograd.grad((several * weights).sum() / 4, image)
    torch.testing.assert_close(by_shifts, by_convolution)


@pytest.mark.parametrize("channels", [1, 2])
def test_keeps_the_precision_under_autocast(channels: int) -> None:
    image = torch.rand(1, channels, 8, 8)
    with torch.autocast("cpu", torch.bfloat16):
        assert sobel_magnitude(image).dtype == torch.float32
        assert sobel_magnitude(image.bfloat16()).dtype == torch.bfloat16
