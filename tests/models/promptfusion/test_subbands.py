import pytest
import torch
from torch.nn import functional as F

from ivif.image_ops.contourlet import contourlet
from ivif.models.promptfusion.config import SubbandPairing
from ivif.models.promptfusion.subbands import directional_planes, subband_stacks, subband_stacks_of_part

PAIRINGS = pytest.mark.parametrize("pairing", ["resize", "splice"])


@PAIRINGS
@pytest.mark.parametrize("margin", [0, 16])
def test_sizes_of_the_stacks(pairing: SubbandPairing, margin: int) -> None:
    stacks = subband_stacks(torch.rand(2, 1, 32, 64), pairing, margin)
    planes = directional_planes(pairing)
    assert planes == {"resize": 8, "splice": 4}[pairing]
    assert [tuple(stack.shape) for stack in stacks] == [
        (2, planes, 16, 32),
        (2, planes, 8, 16),
        (2, planes, 4, 8),
        (2, 4, 2, 4),
    ]


@PAIRINGS
def test_a_constant_has_only_a_lowpass_as_bright_as_itself(pairing: SubbandPairing) -> None:
    *directional, lowpass = subband_stacks(torch.full((1, 1, 32, 32), 0.4), pairing, 16)
    assert all(stack.abs().max() < 1e-5 for stack in directional)
    torch.testing.assert_close(lowpass, torch.full((1, 4, 2, 2), 0.4))


def test_spliced_stacks_hold_every_coefficient_once_and_in_its_place() -> None:
    plane = torch.rand(1, 1, 64, 96)
    bands, stacks = contourlet(plane), subband_stacks(plane, "splice")
    for (upright, level), stack in zip(bands.directional, reversed(stacks[:3]), strict=True):
        both = torch.cat((upright.flatten(), level.flatten())).sort().values
        assert torch.equal(stack.flatten().sort().values, both)
        assert torch.equal(stack[:, 1, 1::2], upright[:, 0, 3])
        assert torch.equal(stack[:, 2, :, 0::2], level[:, 0, 0])
    assert torch.equal(stacks.sixteenth[:, 1], bands.lowpass[:, 0, 0::2, 1::2] / 8)


def test_resized_stacks_enlarge_only_the_short_side() -> None:
    plane = torch.rand(1, 1, 64, 96)
    upright, level = contourlet(plane).directional[-1]
    stack = subband_stacks(plane, "resize").half
    torch.testing.assert_close(stack[:, :4], F.interpolate(upright[:, 0], size=(32, 48), mode="bilinear"))
    torch.testing.assert_close(F.avg_pool2d(stack[:, 4:], (1, 2))[..., 1:-1], _smoothed(level[:, 0]))


def _smoothed(x: torch.Tensor) -> torch.Tensor:
    """Bilinear enlargement by two, halved again by averaging: weights 1/8, 3/4, 1/8."""
    return x[..., :-2] / 8 + x[..., 1:-1] * 0.75 + x[..., 2:] / 8


def test_vertical_and_horizontal_stripes_go_to_different_planes() -> None:
    stripes = torch.cos(2 * torch.pi * 0.3 * torch.arange(64.0)).expand(1, 1, 64, 64)
    along, across = (subband_stacks(x).half.square().mean(dim=(0, 2, 3)) for x in (stripes, stripes.mT))
    assert along[:4].sum() > 10 * along[4:].sum()
    assert across[4:].sum() > 10 * across[:4].sum()


def test_a_margin_hides_the_opposite_border() -> None:
    plane = torch.zeros(1, 1, 64, 64)
    plane[..., -3:] = torch.rand(64, 3)
    reaching, hidden = (subband_stacks(plane, margin=margin).half[..., :2].abs().max() for margin in (0, 16))
    assert hidden < reaching / 10


@PAIRINGS
def test_gradient_is_exact_through_the_transform(pairing: SubbandPairing) -> None:
    plane = torch.rand(1, 1, 16, 32, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: tuple(subband_stacks(x, pairing, 16)), plane, fast_mode=True)


@PAIRINGS
def test_float32_under_autocast(pairing: SubbandPairing) -> None:
    plane = torch.rand(1, 1, 32, 32)
    with torch.autocast("cpu", torch.bfloat16):
        stacks = subband_stacks(plane, pairing)
    for stack, exact in zip(stacks, subband_stacks(plane, pairing), strict=True):
        assert stack.dtype == torch.float32
        torch.testing.assert_close(stack, exact)


@PAIRINGS
def test_a_part_has_what_the_whole_has_there(pairing: SubbandPairing) -> None:
    plane = torch.rand(1, 1, 32, 1200, dtype=torch.float64)
    whole = subband_stacks(plane, pairing, 16)
    longest = 32, 1024 - 2 * 256 - 2 * 16
    for left, right in ((0, 480), (512, 640), (1136, 1200)):
        spans = (0, 32), (left, right)
        part = subband_stacks_of_part(
            lambda rows, columns: plane[..., rows, :][..., columns], (32, 1200), spans, longest, pairing, 16
        )
        for own, stack, cell in zip(part, whole, (2, 4, 8, 16), strict=True):
            there = stack[..., left // cell : right // cell]
            assert own.shape == there.shape
            assert (own - there).abs().max() < 1e-8
