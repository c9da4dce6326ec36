import pytest
import torch
from torch import Tensor

from ivif.image_ops.sobel import sobel_magnitude
from ivif.models.mgfusion.config import MGFusionConfig
from ivif.models.mgfusion.fusion import GuidedFusion, Merge

CONFIG = MGFusionConfig(channels=8, heads=2)


def _plain_merge(merge: Merge, infrared: Tensor, visible: Tensor, gains: tuple[Tensor, Tensor]) -> Tensor:
    weighted = [gain[:, :, None, None] * features for gain, features in zip(gains, (infrared, visible), strict=True)]
    result: Tensor = merge.convolution(torch.cat(weighted, dim=1))
    return result


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_folded_merge_equals_concatenation_in_values_and_gradients(memory_format: torch.memory_format) -> None:
    merge = Merge(8).double()
    infrared, visible = (
        torch.randn(2, 8, 5, 7, dtype=torch.float64).contiguous(memory_format=memory_format).requires_grad_()
        for _ in range(2)
    )
    gains = torch.randn(2, 8, dtype=torch.float64, requires_grad=True), torch.randn(2, 8, dtype=torch.float64)
    inputs = (infrared, visible, gains[0], merge.convolution.weight)
    folded, plain = merge(infrared, visible, gains), _plain_merge(merge, infrared, visible, gains)
    torch.testing.assert_close(folded, plain)
    ones = torch.ones_like(gains[0])
    torch.testing.assert_close(merge(infrared, visible), _plain_merge(merge, infrared, visible, (ones, ones)))
    weights = torch.randn_like(plain)
    for first, second in zip(
        torch.autograd.grad((folded * weights).sum(), inputs),
        torch.autograd.grad((plain * weights).sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(first, second)


@pytest.mark.parametrize("gate", ["linear", "sigmoid"])
@pytest.mark.parametrize("sawp_channels", [1, 8])
def test_equations_3_to_5(gate: str, sawp_channels: int) -> None:
    block = GuidedFusion(MGFusionConfig(channels=8, heads=2, gate=gate, sawp_channels=sawp_channels), 16)  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.normal_(std=0.5)
    infrared, visible = torch.randn(2, 2, 8, 6, 5)
    clip_infrared, clip_visible = torch.randn(2, 2, 16)
    gains = block.infrared_adapter(clip_infrared), block.visible_adapter(clip_visible)
    if gate == "sigmoid":
        gains = torch.sigmoid(gains[0]), torch.sigmoid(gains[1])
    merged = _plain_merge(block.merge, infrared, visible, gains)
    weights = torch.sigmoid(block.spatial_attention(sobel_magnitude(merged)))
    assert weights.shape[1] == sawp_channels
    result = block(infrared, visible, clip_infrared, clip_visible)
    torch.testing.assert_close(result, merged + weights * merged, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("sawp_channels", [1, 32])
def test_starts_as_one_and_a_half_times_the_merge(sawp_channels: int) -> None:
    torch.manual_seed(0)
    block = GuidedFusion(MGFusionConfig(sawp_channels=sawp_channels), 512)
    infrared, visible = 0.3 * torch.randn(2, 1, 32, 16, 16)
    clip_infrared, clip_visible = 0.5 * torch.randn(2, 1, 512)  # about the length of CLIP's image vectors
    fused, merged = block(infrared, visible, clip_infrared, clip_visible), block.merge(infrared, visible)
    assert merged.abs().max() > 0.3
    torch.testing.assert_close(fused, 1.5 * merged, atol=1e-2, rtol=0.0)


def test_each_vector_guides_its_own_image() -> None:
    block = GuidedFusion(CONFIG, 16)
    features, nothing = torch.randn(1, 8, 4, 4), torch.zeros(1, 8, 4, 4)
    one, other = torch.randn(2, 1, 16)
    with torch.no_grad():
        for adapter in (block.infrared_adapter, block.visible_adapter):
            for parameter in adapter.parameters():
                parameter.normal_()
    assert torch.equal(block(features, nothing, one, one), block(features, nothing, one, other))
    assert not torch.allclose(block(features, nothing, one, one), block(features, nothing, other, one))
