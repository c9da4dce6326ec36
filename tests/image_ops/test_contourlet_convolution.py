"""The transform by convolutions against the one by Fourier transforms."""

import pytest
import torch
from torch import Tensor

from ivif.image_ops.contourlet import ContourletBands, contourlet
from ivif.image_ops.contourlet_convolution import split_by_convolution
from ivif.image_ops.contourlet_maps import Plan, split_planes

SIZES = [(1, 1), (5, 300), (16, 16), (16, 112), (31, 17), (48, 80), (61, 83), (97, 130), (123, 77), (150, 201)]


def _all(bands: ContourletBands) -> list[Tensor]:
    return [bands.lowpass, *(stack for pair in bands.directional for stack in pair)]


@pytest.mark.parametrize("margin", [0, 16])
@pytest.mark.parametrize("size", SIZES)
def test_an_export_computes_the_same_bands(size: tuple[int, int], margin: int, monkeypatch: pytest.MonkeyPatch) -> None:
    image = torch.rand(2, 1, *size, generator=torch.Generator().manual_seed(sum(size)))
    expected = _all(contourlet(image, margin=margin))
    monkeypatch.setattr(torch.compiler, "is_exporting", lambda: True)
    found = _all(contourlet(image, margin=margin))
    for own, other in zip(found, expected, strict=True):
        assert own.shape == other.shape
        assert (own - other).abs().max() < 1e-5
    assert not torch.equal(found[1], expected[1])


@pytest.mark.parametrize("levels", [(2,), (3, 2)])
def test_other_numbers_of_wedges(levels: tuple[int, ...]) -> None:
    planes = torch.rand(1, 32, 48, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = split_planes(planes, Plan("analysis", levels, decimate=True))
    for own, other in zip(split_by_convolution(planes, levels), expected, strict=True):
        torch.testing.assert_close(own, other, atol=5e-6, rtol=0)
