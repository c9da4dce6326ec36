"""The contourlet transform by convolutions: for exported files, whose sizes are free and which have no FFT.

The filters of `ivif.image_ops.contourlet_filters` are finite, with tails so faint that kernels of about 100x70 taps
give the same subbands to 1e-5. One set of kernels serves every size and scale.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Final, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from ivif.image_ops.contourlet_filters import equivalent_filters, wedge_lattice

_LEFT_OUT: Final = 1e-6
"""What left-out taps of a kernel sum up to, at most: the largest error of a subband of pixels in [0, 1]."""


def split_by_convolution(planes: Tensor, levels: Sequence[int]) -> tuple[Tensor, ...]:
    """What `ivif.image_ops.contourlet_maps.split_planes` gives for sampled subbands, to 1e-5 for planes in [0, 1].

    Args:
        planes: (N, H, W), float32 or float64, of a size that the lattices divide; H and W may be symbols.
        levels: log2 of the number of wedges of each scale, finest first.

    Returns:
        The low-pass (N, 1, h, w), then both stacks (N, n/2, h', w') of each scale, finest first.
    """
    stacks = []
    planes = planes.unsqueeze(1)
    for level in levels:
        lowpass, first, second = _kernels_of(level)
        stacks += [_sampled(planes, first), _sampled(planes, second)]
        planes = _sampled(planes, lowpass)
    return planes, *stacks


class _Kernel(NamedTuple):
    """What a convolution needs.

    Attributes:
        taps: (n, 1, h, w), float64, mirrored, because torch's convolutions correlate.
        reach: How many rows and columns it takes from before and after a pixel: (top, bottom, left, right).
        lattice: Every how many rows and columns its result is needed.
    """

    taps: Tensor
    reach: tuple[int, int, int, int]
    lattice: tuple[int, int]


@lru_cache(maxsize=4)
def _kernels_of(level: int) -> tuple[_Kernel, ...]:
    """Those of the low-pass and of both halves of the wedges."""
    # In a thread of its own, because whoever traces this one would trace how the kernels are made, too.
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(_make_kernels, level).result()


def _make_kernels(level: int) -> tuple[_Kernel, ...]:
    lattices = (2, 2), wedge_lattice(level, 0), wedge_lattice(level, 1)
    responses = equivalent_filters("analysis", level, (64 << level, 64 << level))  # wider than a filter
    return tuple(_kernel(response, lattice) for response, lattice in zip(responses, lattices, strict=True))


def _kernel(response: Tensor, lattice: tuple[int, int]) -> _Kernel:
    """A response (n, side, side) without its faintest taps."""
    centre = response.shape[-1] // 2
    taps = torch.fft.fftshift(torch.fft.ifft2(response).real, dim=(-2, -1))
    weights = taps.abs()
    (above, below), (before, behind) = _extent(weights.sum(2)), _extent(weights.sum(1))
    cut = taps[:, centre - above : centre + below + 1, centre - before : centre + behind + 1]
    # The tap at +k multiplies the pixel at -k.
    return _Kernel(cut.flip(-2, -1).unsqueeze(1).contiguous(), (below, above, behind, before), lattice)


def _extent(weights: Tensor) -> tuple[int, int]:
    """How many lines of taps before and after the centre one needs, so that those beyond sum up to almost nothing.

    Args:
        weights: (n, side), what the taps of each line sum up to.
    """
    beyond = [int((one.cumsum(1) < _LEFT_OUT / 4).sum(1).min()) for one in (weights, weights.flip(1))]
    centre = weights.shape[1] // 2
    return centre - beyond[0], weights.shape[1] - 1 - centre - beyond[1]


def _sampled(planes: Tensor, kernel: _Kernel) -> Tensor:
    """Filters (N, 1, H, W), continued periodically, and samples: (N, n, H/a, W/b)."""
    top, bottom, left, right = kernel.reach
    rows = _periodic(planes.shape[-2], top, bottom, planes.device)
    columns = _periodic(planes.shape[-1], left, right, planes.device)
    padded = planes.index_select(-2, rows).index_select(-1, columns)
    return F.conv2d(padded, kernel.taps.to(padded), stride=kernel.lattice)


def _periodic(length: int, before: int, after: int, device: torch.device) -> Tensor:
    """Places of a period from `before` ahead of it to `after` behind it, as often around as a small one needs."""
    places = torch.arange(-before, length + after, device=device)
    return places % places.new_full((), length)  # a tensor: ONNX has no remainder by a size that is not known yet
