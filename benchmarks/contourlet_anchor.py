"""The contourlet transform as its definition reads, in plain PyTorch: the anchor of the benchmark, and a check on ours.

The pyramid convolves the image, and every subband is computed at full size before it is sampled. Only the table and the
kernels are those of `ivif.image_ops.contourlet_filters`.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from ivif.image_ops.contourlet_filters import ANALYSIS_KERNEL, FAN_MAP, SYNTHESIS_KERNEL

Matrix = tuple[tuple[int, int], tuple[int, int]]
Wedge = tuple[Tensor, tuple[int, int]]

Q1: Matrix = ((1, -1), (1, 1))
Q2: Matrix = ((1, 1), (-1, 1))
TYPES = (
    (((1, 1), (0, 1)), "rows", Q1),
    (((1, -1), (0, 1)), "columns", Q2),
    (((1, 0), (1, 1)), "columns", Q2),
    (((1, 0), (-1, 1)), "rows", Q1),
)
"""From the third level on: shear, shifted axis of the fan filter and quincunx lattice."""


def plain_contourlet(image: Tensor, wedges: list[list[Wedge]]) -> tuple[Tensor, list[list[Tensor]]]:
    """The decimated transform of (B, 1, H, W) images, periodic.

    Args:
        image: Real images whose sides the lattices divide.
        wedges: What `plain_wedges` gives for each scale, finest first.

    Returns:
        The low-pass and the subbands of each scale, finest first.
    """
    bands = []
    for scale in wedges:
        coarse = circular_filter(image, ANALYSIS_KERNEL)[..., ::2, ::2]
        enlarged = torch.zeros_like(image)
        enlarged[..., ::2, ::2] = coarse
        detail = torch.fft.fft2(image - circular_filter(enlarged, SYNTHESIS_KERNEL))
        bands.append([torch.fft.ifft2(detail * response).real[..., ::a, ::b] for response, (a, b) in scale])
        image = coarse
    return image, bands


def circular_filter(image: Tensor, kernel: tuple[float, ...]) -> Tensor:
    """A symmetric kernel, given from its centre outwards, on rows and columns."""
    taps = torch.tensor([*kernel[:0:-1], *kernel], dtype=image.dtype, device=image.device)
    radius = len(kernel) - 1
    padded = F.pad(image, (radius, radius, radius, radius), mode="circular")
    return F.conv2d(F.conv2d(padded, taps.view(1, 1, -1, 1)), taps.view(1, 1, 1, -1))


def plain_wedges(level: int, height: int, width: int, dtype: torch.dtype = torch.complex64) -> list[Wedge]:
    """The equivalent filter and the lattice (rows, columns) of each of 2^level wedges, by trigonometric sums."""
    rows = 2.0 * math.pi * torch.arange(height, dtype=torch.float64)[:, None] / height
    columns = 2.0 * math.pi * torch.arange(width, dtype=torch.float64) / width
    nodes: list[tuple[Tensor | float, Matrix]] = [(1.0, ((1, 0), (0, 1)))]
    for depth in range(1, level + 1):
        children: list[tuple[Tensor | float, Matrix]] = []
        for index, (response, lattice) in enumerate(nodes):
            axis, quincunx = "columns", (Q1, Q2)[min(depth, 2) - 1]
            if depth > 2:
                shear, axis, quincunx = TYPES[index % 2 if index < len(nodes) / 2 else 2 + index % 2]
                lattice = product(lattice, shear)
            first = lattice[0][0] * rows + lattice[1][0] * columns
            second = lattice[0][1] * rows + lattice[1][1] * columns
            fan = fan_map(first + math.pi * (axis == "rows"), second + math.pi * (axis == "columns"))
            after = product(lattice, quincunx)
            children.append((response * on_cosine(ANALYSIS_KERNEL, fan), after))
            children.append((response * torch.exp(-1j * first) * on_cosine(SYNTHESIS_KERNEL, -fan), after))
        nodes = children
    lattices = [(2 ** (level - 1), 2)] * 2 ** (level - 1) + [(2, 2 ** (level - 1))] * 2 ** (level - 1)
    return [(response.to(dtype), lattice) for (response, _), lattice in zip(nodes, lattices, strict=True)]  # type: ignore[union-attr]


def fan_map(first: Tensor, second: Tensor) -> Tensor:
    """McClellan's map T at frequencies, by its definition as a sum of products of cosines."""
    total = torch.zeros_like(first + second)
    for i, row in enumerate(reversed(FAN_MAP)):
        for j, tap in enumerate(reversed(row)):
            total += (2 - (i == 0)) * (2 - (j == 0)) * tap / 2**24 * torch.cos(i * first) * torch.cos(j * second)
    return total


def on_cosine(kernel: tuple[float, ...], cosine: Tensor) -> Tensor:
    """A symmetric kernel with cos w replaced by a map."""
    angle = torch.arccos(cosine.to(torch.complex128))  # complex: the map may leave [-1, 1] by rounding
    orders = torch.arange(1, len(kernel), dtype=torch.float64)
    taps = torch.tensor(kernel[1:], dtype=torch.complex128)
    return kernel[0] + 2.0 * torch.cos(angle[..., None] * orders) @ taps


def product(left: Matrix, right: Matrix) -> Matrix:
    """The product of two 2x2 matrices."""
    (a, b), (c, d) = left
    (e, f), (g, h) = right
    return (a * e + b * g, a * f + b * h), (c * e + d * g, c * f + d * h)
