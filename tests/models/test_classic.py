import pytest
import torch

from image_ops.pyramid import laplacian_pyramid
from models.classic import CLASSIC_FUSIONS, average_fusion, laplacian_pyramid_fusion, maximum_fusion


@pytest.mark.parametrize("name", CLASSIC_FUSIONS)
@pytest.mark.parametrize("size", [(1, 1), (5, 3), (123, 77)])
def test_any_size_in_range_and_equal_sources_stay(name: str, size: tuple[int, int]) -> None:
    infrared, visible = torch.rand(2, 2, 1, *size)
    fused = CLASSIC_FUSIONS[name](infrared, visible)
    assert fused.shape == infrared.shape
    assert 0.0 <= fused.min() <= fused.max() <= 1.0
    torch.testing.assert_close(CLASSIC_FUSIONS[name](visible, visible), visible)


def test_values_by_hand() -> None:
    infrared, visible = torch.tensor([0.2, 0.8]).view(1, 1, 1, 2), torch.tensor([0.6, 0.4]).view(1, 1, 1, 2)
    torch.testing.assert_close(average_fusion(infrared, visible).flatten(), torch.tensor([0.4, 0.6]))
    assert torch.equal(maximum_fusion(infrared, visible).flatten(), torch.tensor([0.6, 0.8]))


def test_pyramid_takes_detail_from_one_and_brightness_from_both() -> None:
    texture = 0.5 + 0.2 * torch.sin(torch.arange(64.0) * 1.5).view(1, 1, 1, 64).expand(1, 1, 64, 64)
    flat = torch.full((1, 1, 64, 64), 0.3)
    fused = laplacian_pyramid_fusion(flat, texture)
    details, texture_details = laplacian_pyramid(fused, 4)[0], laplacian_pyramid(texture, 4)[0]
    torch.testing.assert_close(details, texture_details, atol=1e-2, rtol=0)
    assert fused.mean().item() == pytest.approx(0.4, abs=0.01)


def test_sizes_must_agree() -> None:
    for fuse in CLASSIC_FUSIONS.values():
        with pytest.raises(ValueError, match="one size"):
            fuse(torch.zeros(1, 1, 4, 4), torch.zeros(1, 3, 4, 4))
