import numpy as np
import pytest
import torch
from scipy import ndimage

from ivif.image_ops.ssim import gaussian_blur, gaussian_window, ssim_map


def _reference(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    def blur(x: np.ndarray) -> np.ndarray:
        return np.asarray(ndimage.gaussian_filter(x, 1.5, radius=5, mode="mirror"))

    mean_a, mean_b = blur(a), blur(b)
    variance_a, variance_b = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2
    covariance = blur(a * b) - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + 1e-4) / (mean_a**2 + mean_b**2 + 1e-4)
    return np.asarray(luminance * (2 * covariance + 9e-4) / (variance_a + variance_b + 9e-4))


@pytest.mark.parametrize("size", [(24, 31), (3, 4), (1, 1)])
def test_agrees_with_scipy(size: tuple[int, int]) -> None:
    a, b = torch.rand(2, 3, *size, dtype=torch.float64), torch.rand(2, 3, *size, dtype=torch.float64)
    result = ssim_map(a, b)
    for plane in np.ndindex(2, 3):
        np.testing.assert_allclose(result[plane].numpy(), _reference(a[plane].numpy(), b[plane].numpy()), atol=1e-6)


def test_equal_images_score_one() -> None:
    image = torch.rand(1, 1, 16, 16)
    torch.testing.assert_close(ssim_map(image, image), torch.ones_like(image))
    assert ssim_map(image, 1.0 - image).mean() < 0.0


def test_data_range_scales() -> None:
    a, b = torch.rand(1, 1, 16, 16), torch.rand(1, 1, 16, 16)
    torch.testing.assert_close(ssim_map(255.0 * a, 255.0 * b, data_range=255.0), ssim_map(a, b), atol=1e-5, rtol=1e-4)


def test_float32_under_autocast() -> None:
    a, b = torch.rand(1, 1, 16, 16), torch.rand(1, 1, 16, 16)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(
            ssim_map(a.bfloat16(), b.bfloat16()), ssim_map(a.bfloat16().float(), b.bfloat16().float())
        )


def test_blur_keeps_constants_and_window_sums_to_one() -> None:
    assert gaussian_window(11, 1.5, torch.float32, torch.device("cpu")).sum().item() == pytest.approx(1.0)
    torch.testing.assert_close(gaussian_blur(torch.full((1, 2, 7, 3), 0.3)), torch.full((1, 2, 7, 3), 0.3))


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match="one shape"):
        ssim_map(torch.zeros(1, 1, 4, 4), torch.zeros(1, 3, 4, 4))
