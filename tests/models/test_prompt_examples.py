import pytest
import torch
from torch import Generator, Tensor

from ivif.models.classic import contourlet_fusion
from ivif.models.prompt_examples import (
    NEGATIVE_KINDS,
    DegradationConfig,
    blurred,
    low_contrast,
    negative_examples,
    noisy,
    positive_examples,
)


def pair(count: int = 4, size: tuple[int, int] = (40, 56)) -> tuple[Tensor, Tensor]:
    generator = Generator().manual_seed(3)
    return torch.rand(count, 1, *size, generator=generator), torch.rand(count, 1, *size, generator=generator)


def roughness(images: Tensor) -> Tensor:
    return images.diff(dim=-1).abs().mean(dim=(1, 2, 3))


def test_positives_are_the_contourlet_fusion_without_gradient() -> None:
    infrared, visible = pair(2)
    positives = positive_examples(infrared.requires_grad_(), visible)
    assert not positives.requires_grad
    torch.testing.assert_close(positives, contourlet_fusion(infrared, visible))


@pytest.mark.parametrize("kind", NEGATIVE_KINDS)
def test_kinds(kind: str) -> None:
    infrared, visible = pair()
    positives = torch.maximum(infrared, visible) * 0.8 + 0.1
    negatives = negative_examples(infrared, visible, positives, Generator().manual_seed(0), [kind])
    assert negatives.shape == positives.shape
    assert 0.0 <= float(negatives.min()) <= float(negatives.max()) <= 1.0
    match kind:
        case "infrared":
            assert torch.equal(negatives, infrared)
        case "visible":
            assert torch.equal(negatives, visible)
        case "average":
            torch.testing.assert_close(negatives, (infrared + visible) / 2)
        case "blurred":
            assert (roughness(negatives) < 0.4 * roughness(positives)).all()
        case "low_contrast":
            factor = negatives.std(dim=(1, 2, 3)) / positives.std(dim=(1, 2, 3))
            assert ((factor >= 0.3 - 1e-4) & (factor <= 0.7 + 1e-4)).all()
            assert len(set(factor.tolist())) == 4
            torch.testing.assert_close(negatives.mean(dim=(1, 2, 3)), positives.mean(dim=(1, 2, 3)))
        case "noisy":
            spread = (negatives - positives).std(dim=(1, 2, 3)) * 255
            assert ((spread > 4) & (spread < 27)).all()


def test_the_generator_decides_and_every_kind_comes_up() -> None:
    infrared, visible = pair(64, (8, 8))
    positives = infrared * 0.5 + visible * 0.5 + torch.linspace(0, 1e-3, 64).view(-1, 1, 1, 1)
    first = negative_examples(infrared, visible, positives, Generator().manual_seed(5))
    second = negative_examples(infrared, visible, positives, Generator().manual_seed(5))
    other = negative_examples(infrared, visible, positives, Generator().manual_seed(6))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    single = [(first == source).flatten(1).all(dim=1).sum().item() for source in (infrared, visible)]
    assert all(3 <= count <= 25 for count in single)
    assert not (first == positives).flatten(1).all(dim=1).any()


def test_the_global_random_state_is_left_alone() -> None:
    infrared, visible = pair(8, (8, 8))
    before = torch.get_rng_state()
    negative_examples(infrared, visible, infrared, Generator().manual_seed(0))
    assert torch.equal(before, torch.get_rng_state())


def test_blur_of_a_point_is_the_gaussian_of_each_image() -> None:
    image = torch.zeros(2, 2, 31, 31)
    image[..., 15, 15] = 1.0
    spread = blurred(image, torch.tensor([1.0, 2.5]))
    torch.testing.assert_close(spread.sum(dim=(-2, -1)), torch.ones(2, 2))
    offsets = torch.arange(31.0) - 15
    deviation = (spread.sum(dim=-2) * offsets.square()).sum(dim=-1).sqrt()
    torch.testing.assert_close(deviation, torch.tensor([[1.0, 1.0], [2.5, 2.5]]), atol=0.03, rtol=0)
    torch.testing.assert_close(
        blurred(torch.full((1, 1, 5, 3), 0.4), torch.tensor([3.0])), torch.full((1, 1, 5, 3), 0.4)
    )


def test_strength_per_image() -> None:
    images = torch.rand(2, 1, 32, 32) * 0.5 + 0.25
    strength = torch.tensor([0.02, 0.06])
    spread = (noisy(images, strength, Generator().manual_seed(0)) - images).std(dim=(1, 2, 3))
    torch.testing.assert_close(spread, strength, rtol=0.1, atol=0)
    faded = low_contrast(images, torch.tensor([1.0, 0.0]))
    torch.testing.assert_close(faded[0], images[0])
    torch.testing.assert_close(faded[1], images[1].mean().expand(1, 32, 32))


def test_misuse_is_named() -> None:
    infrared, visible = pair(1)
    for kinds in ([], ["sepia"]):
        with pytest.raises(ValueError, match="infrared, visible, average"):
            negative_examples(infrared, visible, infrared, Generator(), kinds)
    with pytest.raises(ValueError, match="contrast is drawn between two ascending positive bounds"):
        DegradationConfig(contrast=(0.7, 0.3))
