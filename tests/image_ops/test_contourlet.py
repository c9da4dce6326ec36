"""The transform: what its definition promises, whatever computes it."""

from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks.contourlet_anchor import plain_contourlet, plain_wedges
from ivif.image_ops.contourlet import ContourletBands, contourlet, inverse_contourlet, size_multiple

SIZES = [(224, 224), (256, 320), (112, 176), (16, 32), (123, 77), (1, 1), (5, 300)]


def _all(bands: ContourletBands) -> list[Tensor]:
    return [bands.lowpass, *(stack for pair in bands.directional for stack in pair)]


def _image(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.rand(*shape, dtype=dtype, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.mark.parametrize("decimate", [True, False])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
@pytest.mark.parametrize("size", SIZES)
def test_reconstruction(size: tuple[int, int], dtype: torch.dtype, tolerance: float, decimate: bool) -> None:
    image = _image(2, 1, *size, dtype=dtype)
    back = inverse_contourlet(contourlet(image, decimate=decimate), size)
    assert back.shape == image.shape
    assert back.dtype == dtype
    assert (back - image).abs().max() < tolerance


@pytest.mark.parametrize("levels", [(0, 2), (0, 4), (0, 2, 3), (0, 3, 2), (0, 2, 3, 4)])
@pytest.mark.parametrize("decimate", [True, False])
def test_reconstruction_with_other_levels(levels: tuple[int, ...], decimate: bool) -> None:
    image = _image(1, 2, 64, 32)
    bands = contourlet(image, levels, decimate)
    assert [2 * first.shape[2] for first, _ in bands.directional] == [2**level for level in levels[1:]]
    assert (inverse_contourlet(bands) - image).abs().max() < 1e-12


def test_shapes_and_redundancy_at_224() -> None:
    bands = contourlet(_image(2, 3, 224, 224))
    assert bands.lowpass.shape == (2, 3, 28, 28)
    assert [tuple(stack.shape[2:]) for pair in bands.directional for stack in pair] == [
        (4, 14, 28),
        (4, 28, 14),
        (4, 28, 56),
        (4, 56, 28),
        (4, 56, 112),
        (4, 112, 56),
    ]
    numbers = sum(band.numel() for band in _all(bands)) / (2 * 3 * 224 * 224)
    assert numbers == pytest.approx(1 + 1 / 4 + 1 / 16 + 1 / 64)
    whole = contourlet(_image(1, 1, 32, 32), decimate=False)
    assert sum(band.numel() for band in _all(whole)) == 25 * 32 * 32


@pytest.mark.parametrize("level", [2, 3, 4])
def test_a_directional_filter_bank_keeps_the_number_of_samples(level: int) -> None:
    first, second = contourlet(_image(1, 1, 64, 96), (0, level)).directional[0]
    assert first.numel() == second.numel() == 64 * 96 / 2


@pytest.mark.parametrize("decimate", [True, False])
def test_a_constant_has_no_direction(decimate: bool) -> None:
    bands = contourlet(torch.full((1, 1, 48, 64), 0.7, dtype=torch.float64), decimate=decimate)
    torch.testing.assert_close(bands.lowpass, torch.full_like(bands.lowpass, 8 * 0.7))
    assert max(stack.abs().max().item() for pair in bands.directional for stack in pair) < 1e-13


@pytest.mark.parametrize(("waves", "strongest"), [((55, 22), 6), ((22, 55), 2), ((-55, 22), 5), ((22, -55), 1)])
def test_a_fine_wave_is_found_in_its_wedge(waves: tuple[int, int], strongest: int) -> None:
    place = 2 * torch.pi * torch.arange(128, dtype=torch.float64) / 128
    image = torch.cos(waves[0] * place[:, None] + waves[1] * place).view(1, 1, 128, 128)
    first, second = contourlet(image).directional[-1]
    energy = torch.cat((first.square().sum((-1, -2)), second.square().sum((-1, -2))), dim=-1).flatten()
    assert energy.argmax().item() == strongest
    assert energy[strongest] > 0.8 * energy.sum()


def test_it_is_what_the_definition_says() -> None:
    image = _image(2, 1, 48, 64)
    wedges = [plain_wedges(3, 48 >> scale, 64 >> scale, torch.complex128) for scale in range(3)]
    lowpass, expected = plain_contourlet(image, wedges)
    bands = contourlet(image)
    torch.testing.assert_close(bands.lowpass, lowpass, atol=1e-12, rtol=0)
    for (first, second), scale in zip(bands.directional, reversed(expected), strict=True):
        torch.testing.assert_close(first, torch.stack(scale[:4], dim=2), atol=1e-12, rtol=0)
        torch.testing.assert_close(second, torch.stack(scale[4:], dim=2), atol=1e-12, rtol=0)


def test_nonsubsampled_follows_a_shift() -> None:
    image = _image(1, 1, 32, 48)
    bands = contourlet(image, decimate=False)
    moved = contourlet(image.roll((3, 5), (-2, -1)), decimate=False)
    for band, other in zip(_all(bands), _all(moved), strict=True):
        torch.testing.assert_close(other, band.roll((3, 5), (-2, -1)), atol=1e-12, rtol=0)
    sampled = _all(contourlet(image))
    assert not torch.allclose(_all(contourlet(image.roll(3, -1)))[-1].abs().sum(), sampled[-1].abs().sum())


def test_nonsubsampled_holds_the_decimated() -> None:
    image = _image(1, 1, 64, 48)
    for sampled, whole in zip(_all(contourlet(image)), _all(contourlet(image, decimate=False)), strict=True):
        rows, columns = 64 // sampled.shape[-2], 48 // sampled.shape[-1]
        torch.testing.assert_close(whole[..., ::rows, ::columns], sampled, atol=1e-12, rtol=0)


@pytest.mark.parametrize("decimate", [True, False])
def test_autograd_gives_the_adjoint(decimate: bool) -> None:
    image = _image(1, 2, 32, 48).requires_grad_()
    bands = _all(contourlet(image, decimate=decimate))
    other = [torch.randn_like(band) for band in bands]
    (gradient,) = torch.autograd.grad(bands, image, other)
    product = sum((band * weights).sum() for band, weights in zip(bands, other, strict=True))
    direction = torch.randn_like(image)
    along = sum(
        (band * weights).sum()
        for band, weights in zip(_all(contourlet(direction, decimate=decimate)), other, strict=True)
    )
    torch.testing.assert_close((image * gradient).sum(), product)
    torch.testing.assert_close((direction * gradient).sum(), along)


@pytest.mark.parametrize("decimate", [True, False])
def test_gradients(decimate: bool) -> None:
    image = _image(1, 1, 9, 8).requires_grad_()

    def split(image: Tensor) -> tuple[Tensor, ...]:
        return tuple(_all(contourlet(image, (0, 2, 2), decimate)))

    def join(lowpass: Tensor, *stacks: Tensor) -> Tensor:
        pairs = tuple(zip(stacks[::2], stacks[1::2], strict=True))
        return inverse_contourlet(ContourletBands(lowpass, pairs, decimate), (9, 8))

    check: Any = torch.autograd.gradcheck
    assert check(split, image)
    assert check(join, [band.detach().requires_grad_() for band in split(image)])
    assert torch.autograd.gradgradcheck(lambda x: split(x)[1].square(), image)


def test_images_and_channels_do_not_mix_whatever_their_memory() -> None:
    image = _image(2, 3, 32, 48)
    bands = _all(contourlet(image))
    single = _all(contourlet(image[1:, 2:]))
    turned = _all(contourlet(image.transpose(-1, -2).contiguous().transpose(-1, -2)))
    last = _all(contourlet(image.contiguous(memory_format=torch.channels_last)))
    for band, one, other, channels_last in zip(bands, single, turned, last, strict=True):
        torch.testing.assert_close(band[1:, 2:], one)
        torch.testing.assert_close(band, other)
        torch.testing.assert_close(band, channels_last)


def test_half_precision_and_autocast_are_float32() -> None:
    image = _image(1, 1, 32, 32, dtype=torch.float32).bfloat16()
    expected = _all(contourlet(image.float()))
    with torch.autocast("cpu", torch.bfloat16):
        bands = contourlet(image)
        back = inverse_contourlet(bands)
    assert back.dtype == torch.float32
    assert all(torch.equal(band, other) for band, other in zip(_all(bands), expected, strict=True))


def test_a_margin_keeps_the_opposite_border_out() -> None:
    image = torch.zeros(1, 1, 64, 64, dtype=torch.float64)
    image[..., 62:] = 1.0
    periodic, mirrored = (contourlet(image, margin=margin) for margin in (0, 32))
    for (first, second), (own_first, own_second) in zip(periodic.directional, mirrored.directional, strict=True):
        assert first.shape == own_first.shape
        assert second.shape == own_second.shape
    assert periodic.directional[-1][0][..., 0].abs().max() > 0.1
    assert mirrored.directional[-1][0][..., 0].abs().max() < 1e-3
    inner = _image(1, 1, 128, 128)
    whole, cut = (contourlet(inner, (0, 3), margin=margin).directional[0][0] for margin in (0, 16))
    torch.testing.assert_close(cut[..., 12:20, 24:40], whole[..., 12:20, 24:40], atol=1e-6, rtol=0)


@pytest.mark.parametrize("levels", [(0,), (3, 3), (0, 1), (0, 3, 0), ()])
def test_impossible_levels_are_refused(levels: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="0 for the low-pass"):
        contourlet(_image(1, 1, 16, 16), levels)


def test_wrong_input_is_refused() -> None:
    assert size_multiple() == 16
    for shape in ((16, 16), (0, 1, 16, 16), (1, 1, 0, 16)):
        with pytest.raises(ValueError, match="with pixels"):
            contourlet(torch.zeros(shape))
    with pytest.raises(ValueError, match="multiple of 16"):
        contourlet(torch.zeros(1, 1, 16, 16), margin=8)
    bands = contourlet(torch.zeros(1, 1, 32, 32))
    with pytest.raises(ValueError, match="do not fit together"):
        inverse_contourlet(bands._replace(lowpass=torch.zeros(1, 1, 2, 2)))
    with pytest.raises(ValueError, match="smaller"):
        inverse_contourlet(bands, (33, 32))
