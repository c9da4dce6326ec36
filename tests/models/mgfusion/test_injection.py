import torch
from torch.nn import functional as F

from ivif.models.mgfusion.config import MGFusionConfig
from ivif.models.mgfusion.injection import Adapter, InformationInjection

CONFIG = MGFusionConfig(channels=8, heads=2)


def _block() -> InformationInjection:
    torch.manual_seed(0)
    block = InformationInjection(CONFIG, clip_width=16)
    with torch.no_grad():
        for parameter in block.adapter.parameters():
            parameter.normal_()
    return block


def test_equations_1_and_2() -> None:
    block = _block()
    features, infrared, visible = torch.randn(2, 8, 6, 5), torch.randn(2, 16), torch.randn(2, 16)
    with torch.no_grad():
        block.infrared_share.uniform_()
    mixed = infrared * block.infrared_share + visible * (1 - block.infrared_share)
    first, _, last = block.adapter.layers
    semantic = last(F.gelu(first(mixed)))[:, :, None, None].expand(2, 8, 6, 5)
    padded = F.pad(features, (2, 2, 2, 2), mode="replicate")
    first_weight, first_bias, second_weight, second_bias = block.spatial_expansion.parameters()
    hidden = F.conv2d(padded, first_weight, first_bias).relu()
    # The border of the hidden map is replicated anew, so only the inside follows from twice padded features.
    logits = F.conv2d(hidden, second_weight, second_bias)
    expected = features + torch.sigmoid(logits) * semantic
    result = block(features, infrared, visible)
    torch.testing.assert_close(result[..., 1:-1, 1:-1], expected[..., 1:-1, 1:-1])


def test_a_share_of_one_makes_it_independent_of_the_visible_vector() -> None:
    block = _block()
    features, infrared = torch.randn(1, 8, 4, 4), torch.randn(1, 16)
    one, other = torch.randn(2, 1, 16)
    assert not torch.allclose(block(features, infrared, one), block(features, infrared, other))
    with torch.no_grad():
        block.infrared_share.fill_(1.0)
    torch.testing.assert_close(block(features, infrared, one), block(features, infrared, other))


def test_starts_half_and_half_near_identity() -> None:
    block = InformationInjection(MGFusionConfig(), clip_width=512)
    features, infrared, visible = torch.randn(1, 32, 8, 8), torch.randn(1, 512), torch.randn(1, 512)
    assert torch.equal(block.infrared_share, torch.full((512,), 0.5))
    torch.testing.assert_close(block(features, infrared, visible), features, atol=0.02, rtol=0.0)


def test_adapters_stay_in_float32_under_autocast() -> None:
    adapter, vector = Adapter(16, 4, start=1.0), torch.randn(3, 16)
    with torch.autocast("cpu", torch.bfloat16):
        half = adapter(vector)
    assert half.dtype == torch.float32
    assert torch.equal(half, adapter(vector))
