"""How much of the sources' edges arrives in the fused image: Qabf (Xydeas and Petrovic) and Nabf (artefacts)."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ivif.metrics.functional.filters import safe_sqrt, sobel
from ivif.metrics.functional.triplet import Triplet, triplet_metric

_RIGHT_ANGLE = math.pi / 2
_TINY = 1e-5


class _Edges(NamedTuple):
    horizontal: Tensor
    vertical: Tensor
    strength: Tensor


@triplet_metric()
def qabf(triplet: Triplet, variant: str = "standard") -> Tensor:
    """Qabf: preserved strength and direction of Sobel edges, weighted by the sources' edge strength; higher is better.

    Source: Xydeas and Petrovic, "Objective image fusion performance measure", 2000, eqs. 3-8. Like all four common
    implementations it pads with zeros (the image's frame counts as an edge), does not wrap angles, and takes the
    strength itself (not 1) as the ratio where the strengths are equal.

    Args:
        triplet: The images.
        variant: "standard" (gains 0.9994, 0.9879; slopes 15, 22; centres 0.5, 0.8; ratio of sums), or "xydeas" (the
            MATLAB function `metricXydeas` as first released: gains 1, slopes 10, 20, centres 0.5, 0.75, wrapped
            angles, mean over pixels of the weighted ratio).

    Returns:
        (B,) float64, in [0, 1]; NaN where both sources are constant zero.

    Raises:
        ValueError: If the variant is unknown.

    Example:
        >>> from ivif.metrics.functional import formula_triplet
        >>> fused, infrared, visible = formula_triplet("average")
        >>> round(qabf(fused, infrared, visible).item(), 4)
        0.3979
        >>> round(qabf(fused, infrared, visible, variant="xydeas").item(), 4)
        0.4145
    """
    edges = triplet.shared("edges", lambda: _edges(triplet.planes, "constant"))
    if variant == "standard":
        return _qabf(edges)
    if variant == "xydeas":
        return _qabf_xydeas(edges)
    raise ValueError(f"Unknown Qabf variant '{variant}'; known: standard, xydeas.")


def _edges(planes: Tensor, mode: str, scale: float = 1.0) -> _Edges:
    horizontal, vertical = sobel(planes, mode)
    if scale != 1.0:
        horizontal, vertical = horizontal * scale, vertical * scale
    return _Edges(horizontal, vertical, safe_sqrt(horizontal.square() + vertical.square()))


def _qabf(edges: _Edges) -> Tensor:
    upright = edges.horizontal == 0
    # a true convolution flips the kernels: the angle is that of above-minus-below over right-minus-left
    slope = -edges.vertical / edges.horizontal.masked_fill(upright, 1.0)
    angle = torch.atan(slope).masked_fill(upright, _RIGHT_ANGLE)
    fused, sources = edges.strength[:, :1], edges.strength[:, 1:]
    weaker, stronger = torch.minimum(fused, sources), torch.maximum(fused, sources)
    ratio = torch.where(sources == fused, fused, weaker / stronger.clamp(min=1e-30))
    alignment = 1 - (angle[:, 1:] - angle[:, :1]).abs() / _RIGHT_ANGLE
    quality = torch.sigmoid(15 * (ratio - 0.5)) * torch.sigmoid(22 * (alignment - 0.8)) * (0.9994 * 0.9879)
    dims = (1, 2, 3)
    return (quality * sources).sum(dims, dtype=torch.float64) / sources.sum(dims, dtype=torch.float64)


def _qabf_xydeas(edges: _Edges) -> Tensor:
    angle = torch.atan(edges.vertical / edges.horizontal.masked_fill(edges.horizontal == 0, _TINY))
    strength = edges.strength.masked_fill(edges.strength == 0, _TINY)
    fused, sources = strength[:, :1], strength[:, 1:]
    ratio = torch.minimum(fused, sources) / torch.maximum(fused, sources)
    alignment = ((angle[:, 1:] - angle[:, :1]).abs() - _RIGHT_ANGLE).abs() / _RIGHT_ANGLE
    quality = torch.sigmoid(10 * (ratio - 0.5)) * torch.sigmoid(20 * (alignment - 0.75))
    weighted = (quality * sources).sum(dim=1) / sources.sum(dim=1)
    return weighted.mean((1, 2), dtype=torch.float64)


@triplet_metric(smallest=3)
def nabf(triplet: Triplet, background_weight: float = 0.001) -> Tensor:
    """Nabf: share of edges in the fused image that neither source has, i.e. artefacts; lower is better.

    Source: Shreyamsha Kumar, "Multifocus and multispectral image fusion based on pixel significance using discrete
    cosine harmonic wavelet transform", 2013 (the corrected Petrovic measure); Sobel / 8 with reflected borders, in
    float64.

    Args:
        triplet: The images.
        background_weight: Weight of source pixels with an edge strength below 2: 0.001 in Kumar's code, 0 in
            `ivif_zoo`'s translation.

    Returns:
        (B,) float64, in [0, 1]; NaN where the weights sum to 0.

    Example:
        >>> from ivif.metrics.functional import formula_triplet
        >>> nabf(*formula_triplet("maximum"), background_weight=0.0).item()
        0.0
    """
    edges = triplet.shared("reflected_edges", lambda: _edges(triplet.planes.double(), "reflect", scale=1 / 8))
    fused, sources = edges.strength[:, :1], edges.strength[:, 1:]
    flat = (edges.horizontal == 0) & (edges.vertical == 0)
    # the reference's angle is vertical over horizontal kernel in its own naming: x over y
    angle = torch.atan(edges.horizontal / edges.vertical).masked_fill(flat, 0.0)
    lost = (fused == 0) | (sources == 0)
    stronger = torch.maximum(fused, sources).masked_fill(lost, 1.0)
    ratio = (torch.minimum(fused, sources) / stronger).masked_fill(lost, 0.0)
    alignment = ((angle[:, 1:] - angle[:, :1]).abs() - _RIGHT_ANGLE).abs() / _RIGHT_ANGLE
    strength_quality = 0.9999 * torch.sigmoid(19 * (ratio - 0.5))
    angle_quality = 0.9995 * torch.sigmoid(22 * (alignment - 0.5))
    quality = (strength_quality * angle_quality).sqrt()
    weights = torch.where(sources >= 2, sources**1.5, torch.full_like(sources, background_weight))
    artefact = (fused > sources).all(dim=1, keepdim=True)
    return ((1 - quality) * weights * artefact).sum((1, 2, 3)) / weights.sum((1, 2, 3))
