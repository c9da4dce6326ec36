import numpy as np
import pytest
import torch
from PIL import Image

from ivif.image_ops.color import levels_of_8bit, luma, luma_of_8bit, recolor, split_luma_chroma


def test_luma_weights() -> None:
    primaries = torch.eye(3).view(3, 3, 1, 1)
    assert luma(primaries).flatten().tolist() == pytest.approx([0.299, 0.587, 0.114])


def test_grey_stays_exactly_grey() -> None:
    grey = torch.rand(1, 1, 9, 7).expand(1, 3, 9, 7)
    brightness, chroma = split_luma_chroma(grey)
    assert torch.equal(brightness, grey[:, :1])
    assert not chroma.any()
    fused = torch.rand(1, 1, 9, 7)
    assert torch.equal(recolor(fused, chroma), fused.expand(1, 3, 9, 7))


def test_recolor_inverts_split() -> None:
    rgb = torch.rand(2, 3, 5, 6, dtype=torch.float64)
    brightness, chroma = split_luma_chroma(rgb)
    torch.testing.assert_close(recolor(brightness, chroma), rgb)
    assert chroma.abs().max() <= 0.5


def test_chroma_agrees_with_jpeg_ycbcr() -> None:
    levels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    expected = np.asarray(Image.fromarray(levels).convert("YCbCr")).astype(int)
    brightness, chroma = split_luma_chroma(torch.from_numpy(levels).permute(2, 0, 1)[None] / 255.0)
    planes = torch.cat((brightness * 255.0, chroma * 255.0 + 128.0), dim=1)[0].permute(1, 2, 0)
    assert np.abs(planes.numpy() - expected).max() <= 1.0


def test_recolor_clamps_and_then_differs_in_luma() -> None:
    _, chroma = split_luma_chroma(torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1))
    rgb = recolor(torch.ones(1, 1, 1, 1), chroma)
    assert rgb.max() == 1.0
    assert luma(rgb).item() < 0.9


def test_8bit_rounding() -> None:
    image = torch.tensor([-0.2, 0.0, 0.4 / 255, 0.6 / 255, 0.999, 1.7])
    assert levels_of_8bit(image).tolist() == [0, 0, 0, 1, 255, 255]
    assert levels_of_8bit(torch.tensor([0.5], dtype=torch.bfloat16)).dtype == torch.float32


def test_luma_of_8bit_rounds_twice() -> None:
    levels = torch.randint(0, 256, (1, 3, 32, 32), generator=torch.Generator().manual_seed(0))
    weights = np.array([299, 587, 114]).reshape(3, 1, 1)
    expected = ((levels[0].numpy() * weights).sum(0) + 500) // 1000
    jitter = (torch.rand(levels.shape) - 0.5) * 0.9
    assert np.array_equal(luma_of_8bit((levels + jitter) / 255.0)[0, 0].numpy(), expected)


@pytest.mark.parametrize("shape", [(3, 4, 4), (1, 1, 4, 4), (1, 4, 4, 4)])
def test_only_rgb_batches(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"\(B, 3, H, W\)"):
        luma(torch.zeros(shape))


def test_recolor_needs_one_size() -> None:
    with pytest.raises(ValueError, match="one size"):
        recolor(torch.zeros(1, 1, 4, 4), torch.zeros(1, 2, 4, 5))
