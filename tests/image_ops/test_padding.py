import numpy as np
import pytest
import torch

from ivif.image_ops.padding import crop_to, pad_planes, pad_to_multiple
from ivif.image_ops.padding_maps import PadMode


@pytest.mark.parametrize("mode", ["replicate", "reflect"])
@pytest.mark.parametrize("size", [(1, 1), (3, 5), (8, 16), (123, 77)])
def test_pad_then_crop_gives_the_image_back(size: tuple[int, int], mode: PadMode) -> None:
    image = torch.rand(2, 3, *size)
    padded, original = pad_to_multiple(image, 8, mode)
    assert padded.shape[-2] % 8 == padded.shape[-1] % 8 == 0
    assert padded.shape[-2] - size[0] < 8
    assert torch.equal(crop_to(padded, original), image)


def test_nothing_to_pad_is_the_same_tensor() -> None:
    image = torch.rand(1, 1, 16, 8)
    assert pad_to_multiple(image, 8)[0] is image


@pytest.mark.parametrize(("mode", "reference"), [("replicate", "edge"), ("reflect", "reflect")])
@pytest.mark.parametrize("size", [(2, 3), (1, 4), (7, 9)])
def test_pads_as_numpy_does_beyond_the_plane(size: tuple[int, int], mode: PadMode, reference: str) -> None:
    image = torch.rand(1, 1, *size)
    padded = pad_planes(image, (5, 6, 7, 4), mode)
    expected = np.pad(image[0, 0].numpy(), ((7, 4), (5, 6)), mode=reference)  # type: ignore[call-overload]
    assert np.array_equal(padded[0, 0].numpy(), expected)


def test_autocast_does_not_widen() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        assert pad_planes(torch.rand(1, 1, 4, 4).bfloat16(), (1, 1, 1, 1)).dtype == torch.bfloat16


def test_wrong_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="multiple >= 1"):
        pad_to_multiple(torch.rand(1, 1, 4, 4), 0)
    with pytest.raises(ValueError, match="smaller"):
        crop_to(torch.rand(1, 1, 4, 4), (5, 4))
