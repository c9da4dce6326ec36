"""Filters of the contourlet transform (Do and Vetterli 2005) on the DFT grid of an image.

Two biorthogonal kernels on a line give everything: the Laplacian pyramid uses them on both axes, and McClellan's
transformation makes two-channel fan filters of them, a tree of which splits the plane into wedges. No image ever walks
that tree: by the Noble identities each of its leaves is one filter and one lattice, and so is a leaf behind its step of
the pyramid. A subband is the image, filtered once and sampled.
"""

from typing import Final, Literal, NamedTuple

import torch
from torch import Tensor

from ivif.image_ops.constants import made_once

_K1, _K2, _K3 = 1.0 - 2.0**0.5, 0.5**0.5, 1.0 - 2.0**0.5

ANALYSIS_KERNEL: Final = (1.0 + _K2 * _K3 / 2.0, _K2 / 2.0, _K2 * _K3 / 4.0)
"""Low-pass kernel h ("maxflat"), symmetric, from its centre outwards: 5 taps with sum sqrt(2)."""

SYNTHESIS_KERNEL: Final = (
    1.0 + _K1 * _K2 / 2.0,
    -(_K1 + _K3) / 2.0 - 3.0 * _K1 * _K2 * _K3 / 8.0,
    _K1 * _K2 / 4.0,
    -_K1 * _K2 * _K3 / 8.0,
)
"""Its dual g, 7 taps: h(c) g(c) + h(-c) g(-c) = 2 where both are polynomials of c = cos w."""

FAN_MAP: Final = (
    (0, 231, 0, 126, 0, 105, 0, 100),
    (231, 0, -3675, 0, -2009, 0, -1715, 0),
    (0, -3675, 0, 27930, 0, 15435, 0, 13804),
    (126, 0, 27930, 0, -136514, 0, -77910, 0),
    (0, -2009, 0, -136514, 0, 495145, 0, 311780),
    (105, 0, 15435, 0, 495145, 0, -1535709, 0),
    (0, -1715, 0, -77910, 0, -1535709, 0, 6305740),
    (100, 0, 13804, 0, 311780, 0, 6305740, 0),
)
"""One quadrant of McClellan's map T ("dmaxflat7"), times 2^24; the last row and column lie in the middle."""

_QUINCUNX: Final = (((1, -1), (1, 1)), ((1, 1), (-1, 1)))
_SHEARS: Final = (((1, 1), (0, 1)), ((1, -1), (0, 1)), ((1, 0), (1, 1)), ((1, 0), (-1, 1)))
_FANS_OF_SHEARS: Final = ((0, 0), (1, 1), (1, 1), (0, 0))
"""For each shear, the axis along which T is shifted by pi (0: rows) and the quincunx lattice."""

_CACHED_SETS: Final = 12
"""Filter sets kept, one for each scale, use and size: three scales of two sizes, to and fro. In float32 the two uses of
all three scales take 150 bytes per pixel, nonsubsampled 340: 120 and 270 MB at 1024x768."""

Kind = Literal["analysis", "synthesis"]
Form = Literal["split", "join"]


class ScaleFilters(NamedTuple):
    """What one scale is split or joined with: complex responses in the order in which they are used.

    For splitting, the frequencies u + i H/a, v + j W/b, which a lattice of every a-th row and b-th column folds onto
    the frequency (u, v) of a subband, stand at [:, i, u, j, v]; of the wedges only columns of an rfft are there. For
    joining, u + i H/a and v stand at [:, i, u, v].

    Attributes:
        lowpass: (1, 2, H/2, 2, W/2) or (1, 2, H/2, W): the step to or from the next scale.
        first: (n/2, a, H/a, b, W/b/2 + 1) or (n/2, a, H/a, W): the first half of n wedges.
        second: (n/2, b, H/b, a, W/a/2 + 1) or (n/2, b, H/b, W): the second half.
    """

    lowpass: Tensor
    first: Tensor
    second: Tensor


@made_once(_CACHED_SETS)
def scale_filters(
    kind: Kind, form: Form, level: int, size: tuple[int, int], tiles: int, dtype: torch.dtype, device: torch.device
) -> ScaleFilters:
    """The filters that split a scale into subbands and the next scale, or that join them again; cached.

    Args:
        kind: The filters: those for `analysis` or those for `synthesis`, the dual frame x = G up(c - down(H d)) + d.
        form: What they are used for. Joining with those for analysis is the adjoint of splitting with them, and the
            other way round.
        level: log2 of the number of wedges, >= 2.
        size: (H, W) of the DFT grid, multiples of both lattices.
        tiles: 0 for sampled subbands; else nothing is sampled (a = b = 1) and responses repeat that often along each
            axis: 2^j at scale j, whose filters are those of the size (H, W) = image / 2^j with holes.
        dtype: Real precision of the image.
        device: Where the filters shall lie.

    Returns:
        The filters, made in double precision.
    """
    conjugate = (kind, form) not in (("analysis", "split"), ("synthesis", "join"))
    # Sampling takes means over aliases; the inverse of what is not sampled, over the positions of the lattice.
    mean = kind == "synthesis" if tiles else form == "split"
    lattices = (2, 2), wedge_lattice(level, 0), wedge_lattice(level, 1)
    parts = []
    for response, lattice in zip(equivalent_filters(kind, level, size), lattices, strict=True):
        part = response.to(dtype.to_complex()) / (lattice[0] * lattice[1] if mean else 1)
        part = part.conj().resolve_conj() if conjugate else part
        rows, columns = (1, 1) if tiles else lattice
        tiled = part.repeat(1, tiles, tiles) if tiles > 1 else part
        count, height, width = tiled.shape
        shaped = tiled.view(count, rows, height // rows, columns, width // columns)
        parts.append(shaped if form == "split" else shaped.flatten(-2))
    if form == "split":
        parts[1:] = [part[..., : part.shape[-1] // 2 + 1] for part in parts[1:]]
    return ScaleFilters(*(part.contiguous().to(device) for part in parts))


def wedge_lattice(level: int, half: int) -> tuple[int, int]:
    """On which rows and columns the coefficients of a directional filter bank lie.

    Args:
        level: log2 of the number of wedges, >= 2.
        half: 0 for the first half of the wedges, 1 for the second.

    Returns:
        Every how many rows, every how many columns.
    """
    return (2 ** (level - 1), 2) if half == 0 else (2, 2 ** (level - 1))


def pyramid_response(kernel: tuple[float, ...], size: tuple[int, int]) -> Tensor:
    """The response of a kernel that is applied to rows and columns.

    Args:
        kernel: `ANALYSIS_KERNEL` or `SYNTHESIS_KERNEL`.
        size: (H, W) of the DFT grid.

    Returns:
        (H, W), complex128 with zero imaginary part, on the CPU.
    """
    rows, columns = (_polynomial(kernel, torch.cos(_angular_frequencies(length))) for length in size)
    return torch.outer(rows, columns).to(torch.complex128)


def directional_filters(kind: Kind, level: int, height: int, width: int) -> Tensor:
    """The directional filter bank as equivalent filters: wedge k of x is x * e_k on the lattice of its half.

    Args:
        kind: `analysis` or `synthesis`.
        level: log2 of the number of wedges, >= 2.
        height: Rows of the DFT grid.
        width: Columns of the DFT grid.

    Returns:
        Responses (2^level, H, W), complex128, on the CPU. The wave vectors (rows, columns) of eight wedges point to
        142, 167, 13, 38, 127, 103, 77 and 53 degrees on average.
    """
    kernels: list[tuple[float, ...]] = [ANALYSIS_KERNEL, SYNTHESIS_KERNEL]
    passing, stopping = kernels if kind == "analysis" else reversed(kernels)
    one = torch.ones(height, width, dtype=torch.float64, device="cpu")
    nodes = [(one, _integers((0, 0)), _integers(((1, 0), (0, 1))))]  # amplitude, delay in pixels, lattice
    for depth in range(1, level + 1):
        split: list[tuple[Tensor, Tensor, Tensor]] = []
        for index, (amplitude, delay, lattice) in enumerate(nodes):
            axis, quincunx = 1, depth - 1
            if depth > 2:
                shear = index % 2 + 2 * (index >= len(nodes) // 2)
                lattice = lattice @ _integers(_SHEARS[shear])
                axis, quincunx = _FANS_OF_SHEARS[shear]
            fan = _fan_response(lattice, axis, height, width)
            sampled = lattice @ _integers(_QUINCUNX[quincunx])
            split.append((amplitude * _polynomial(passing, fan), delay, sampled))
            split.append((amplitude * _polynomial(stopping, -fan), delay + lattice[:, 0], sampled))
        nodes = split
    sign = -1j if kind == "analysis" else 1j
    rows, columns = sign * _angular_frequencies(height), sign * _angular_frequencies(width)
    return torch.stack(
        [node * torch.outer(torch.exp(delay[0] * rows), torch.exp(delay[1] * columns)) for node, delay, _ in nodes]
    )


def equivalent_filters(kind: Kind, level: int, size: tuple[int, int]) -> list[Tensor]:
    """The low-pass and both halves of the wedges behind a step of the pyramid, as filters of the pyramid's input."""
    wedges = directional_filters(kind, level, *size)
    low, dual = pyramid_response(ANALYSIS_KERNEL, size), pyramid_response(SYNTHESIS_KERNEL, size)
    if kind == "synthesis":
        low, dual = dual, low
    # Wedges see d = x - G up(down(H x)). What aliases in this step aliases on every lattice, too: so the product with a
    # wedge is a filter of x again. Of the dual frame, d - G up(down(H d)), the same with both kernels exchanged.
    height, width = size
    aliases = (dual * wedges).view(-1, 2, height // 2, 2, width // 2)
    mixed = aliases.mean((1, 3)).repeat(1, 2, 2)
    return [low.unsqueeze(0), *(wedges - low * mixed).chunk(2)]


def _fan_response(lattice: Tensor, axis: int, height: int, width: int) -> Tensor:
    """T, shifted by pi along an axis, at the frequencies lattice^T w: the DFT of its taps, moved to lattice @ n."""
    quadrant = torch.tensor(FAN_MAP, dtype=torch.float64, device="cpu") / 2.0**24
    radius = len(quadrant) - 1
    mirrored = radius - torch.arange(-radius, radius + 1, device="cpu").abs()
    positions = torch.cartesian_prod(*2 * [torch.arange(-radius, radius + 1, device="cpu")]).T
    taps = quadrant[mirrored][:, mirrored].flatten() * (1.0 - 2.0 * (positions[axis] % 2))
    rows, columns = lattice @ positions
    grid = torch.zeros(height, width, dtype=torch.float64, device="cpu")
    grid.index_put_((rows % height, columns % width), taps, accumulate=True)
    response: Tensor = torch.fft.fft2(grid).real
    return response


def _polynomial(kernel: tuple[float, ...], cosine: Tensor) -> Tensor:
    """The response of a symmetric kernel as a polynomial of cos w, by Chebyshev's recursion cos nw = T_n(cos w)."""
    before, current = torch.ones_like(cosine), cosine
    response = kernel[0] * before
    for tap in kernel[1:]:
        response = response + 2.0 * tap * current
        before, current = current, 2.0 * cosine * current - before
    return response


def _angular_frequencies(length: int) -> Tensor:
    return 2.0 * torch.pi * torch.arange(length, dtype=torch.float64, device="cpu") / length


def _integers(numbers: tuple[int, int] | tuple[tuple[int, int], tuple[int, int]]) -> Tensor:
    return torch.tensor(numbers, device="cpu")
