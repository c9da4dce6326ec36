import pytest
import torch

from ivif.image_ops.contourlet import contourlet
from ivif.image_ops.pyramid import laplacian_pyramid
from ivif.models.classic import (
    CLASSIC_FUSIONS,
    average_fusion,
    contourlet_fusion,
    laplacian_pyramid_fusion,
    maximum_fusion,
)


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


def _flat_and_texture() -> tuple[torch.Tensor, torch.Tensor]:
    place = torch.arange(96.0)
    texture = 0.5 + 0.2 * torch.sin(0.9 * place[:, None] + 1.5 * place).view(1, 1, 96, 96)
    return torch.full((1, 1, 96, 96), 0.3), texture


@pytest.mark.parametrize("decimate", [False, True])
def test_contourlet_takes_every_direction_from_the_source_that_has_it(decimate: bool) -> None:
    flat, texture = _flat_and_texture()
    wanted = contourlet(texture, margin=16).directional
    for fused in (contourlet_fusion(flat, texture, decimate), contourlet_fusion(texture, flat, decimate)):
        for pair, expected in zip(contourlet(fused, margin=16).directional, wanted, strict=True):
            torch.testing.assert_close(pair[0], expected[0], atol=0.01, rtol=0.02)
            torch.testing.assert_close(pair[1], expected[1], atol=0.01, rtol=0.02)


def test_contourlet_brightness_follows_saliency() -> None:
    flat, texture = _flat_and_texture()
    assert contourlet_fusion(flat, texture).mean().item() == pytest.approx(texture.mean().item(), abs=0.01)
    assert contourlet_fusion(flat, 0.9 * torch.ones_like(flat)).mean().item() == pytest.approx(0.6, abs=1e-4)
    target = flat.clone()
    target[..., 40:56, 40:56] = 0.9
    fused = contourlet_fusion(target, torch.full_like(flat, 0.6))
    assert fused[..., 44:52, 44:52].mean() > 0.8


def test_contourlet_keeps_one_border_out_of_the_other() -> None:
    infrared = (0.4 + 0.02 * torch.sin(1.8 * torch.arange(64.0))).expand(1, 1, 64, 64)
    visible = torch.full((1, 1, 64, 64), 0.4)
    visible[..., 61:] = 1.0
    left = contourlet_fusion(infrared, visible)[..., :8]
    torch.testing.assert_close(left.diff(dim=-1), infrared[..., :8].diff(dim=-1), atol=2e-3, rtol=0)


def test_contourlet_nonsubsampled_follows_a_shift() -> None:
    infrared, visible = torch.rand(2, 1, 1, 80, 80)
    whole = contourlet_fusion(infrared, visible)
    shifted = contourlet_fusion(infrared.roll((3, 5), (-2, -1)), visible.roll((3, 5), (-2, -1)))
    inner = (..., slice(37, 43), slice(37, 43))
    torch.testing.assert_close(shifted.roll((-3, -5), (-2, -1))[inner], whole[inner], atol=0.02, rtol=0)


def test_sizes_must_agree() -> None:
    for fuse in CLASSIC_FUSIONS.values():
        with pytest.raises(ValueError, match="one size"):
            fuse(torch.zeros(1, 1, 4, 4), torch.zeros(1, 3, 4, 4))
