"""Metrics from histograms of grey levels, counted exactly: EN, MI, NMI, CE. Not differentiable."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from ivif.metrics.functional.triplet import GREY_LEVELS, Triplet, fused_metric, joint_histograms, triplet_metric


@fused_metric()
def entropy(triplet: Triplet) -> Tensor:
    """EN: Shannon entropy of the fused image's 256 rounded grey levels, in bits; higher is better.

    Returns:
        (B,) float64, in [0, 8].

    Example:
        >>> from ivif.metrics.functional import formula_triplet
        >>> round(entropy(formula_triplet("average")[0]).item(), 4)
        6.9019
    """
    return _entropy(triplet.histograms[:, 0]) / math.log(2)


@triplet_metric()
def mutual_information(triplet: Triplet, base: str = "bits", stretch: bool = False) -> Tensor:
    """MI(fused, infrared) + MI(fused, visible) from the joint histograms of rounded grey levels; higher is better.

    Source: Qu, Zhang and Yan, "Information measure for performance of image fusion", 2002.

    Args:
        triplet: The images.
        base: "bits" or "nats" (`cddfuse`, `vifb`: 1.4427 times less).
        stretch: Whether each image is first stretched to 0..255 (`vifb`); merges no level, so it changes nothing where
            every image has integer values.

    Returns:
        (B,) float64, >= 0.

    Raises:
        ValueError: If `base` is unknown.

    Example:
        >>> from ivif.metrics.functional import formula_triplet
        >>> round(mutual_information(*formula_triplet("average")).item(), 4)
        3.0752
    """
    if base not in {"bits", "nats"}:
        raise ValueError(f"Unknown base '{base}' for MI; known: bits, nats.")
    joint = triplet.joint_histograms if not stretch else joint_histograms(_stretched_levels(triplet))
    return _mutual_information(joint).sum(dim=1) / (math.log(2) if base == "bits" else 1.0)


@triplet_metric()
def normalized_mutual_information(triplet: Triplet, variant: str = "standard") -> Tensor:
    """NMI: mutual information with the sources relative to the entropies; higher is better.

    Source: Hossny, Nahavandi and Creighton, "Comments on 'Information measure for performance of image fusion'", 2008.

    Args:
        triplet: The images.
        variant: "standard": 2 (MI_A / (H_A + H_F) + MI_B / (H_B + H_F)); "sources": 2 (MI_A + MI_B) / (H_A + H_B)
            (`ivif_zoo`).

    Returns:
        (B,) float64, in [0, 2]; NaN where a sum of entropies is 0 (constant images).

    Raises:
        ValueError: If the variant is unknown.

    Example:
        >>> from ivif.metrics.functional import formula_triplet
        >>> round(normalized_mutual_information(*formula_triplet("average"), variant="sources").item(), 4)
        0.4656
    """
    shared = _mutual_information(triplet.joint_histograms)
    entropies = _entropy(triplet.histograms)
    if variant == "standard":
        return (2 * shared / _or_nan(entropies[:, 1:] + entropies[:, :1])).sum(dim=1)
    if variant == "sources":
        return 2 * shared.sum(dim=1) / _or_nan(entropies[:, 1:].sum(dim=1))
    raise ValueError(f"Unknown NMI variant '{variant}'; known: standard, sources.")


@triplet_metric()
def cross_entropy(triplet: Triplet, variant: str = "histogram") -> Tensor:
    """CE: dissimilarity of the fused image's grey levels from the sources', mean of the two; lower is better.

    Source: Bulanon, Burks and Alchanatis, "Image fusion of visible and thermal images for fruit detection", 2009.

    Args:
        triplet: The images.
        variant: "histogram": sum over levels that both images have of p log2(p_source / p_fused), VIFB's code;
            "sigmoid": the binary cross entropy of sigmoids of grey levels of `ivif_zoo`, which says nothing about
            fusion (every level above 17 saturates) and is kept for comparison with its tables.

    Returns:
        (B,) float64 for "histogram" (may be negative: levels that one image lacks are left out), float32 for "sigmoid".

    Raises:
        ValueError: If the variant is unknown.

    Example:
        >>> from ivif.metrics.functional import formula_triplet
        >>> cross_entropy(*formula_triplet("visible")).item() > 0
        True
    """
    if variant == "histogram":
        fused, sources = triplet.histograms[:, :1], triplet.histograms[:, 1:]
        both = (fused > 0) & (sources > 0)
        ratio = torch.where(both, sources / fused.clamp(min=1e-300), torch.ones_like(sources))
        return (sources * ratio.log2()).sum(dim=2).mean(dim=1)
    if variant == "sigmoid":
        return _sigmoid_cross_entropy(triplet)
    raise ValueError(f"Unknown CE variant '{variant}'; known: histogram, sigmoid.")


def _sigmoid_cross_entropy(triplet: Triplet) -> Tensor:
    limit = 1e-7
    fused, infrared, visible = (image.float().sigmoid() for image in (triplet.fused, triplet.infrared, triplet.visible))
    target = ((infrared + visible) / 2).clamp(limit, 1 - limit)
    return F.binary_cross_entropy(fused.clamp(limit, 1 - limit), target, reduction="none").mean((1, 2, 3))


def _entropy(p: Tensor) -> Tensor:
    return -torch.xlogy(p, p).sum(dim=-1).clamp(max=0)


def _mutual_information(joint: Tensor) -> Tensor:
    source, fused = joint.sum(dim=3), joint.sum(dim=2)
    return (_entropy(source) + _entropy(fused) - _entropy(joint.flatten(2))).clamp(min=0)


def _or_nan(x: Tensor) -> Tensor:
    return torch.where(x > 0, x, torch.full_like(x, torch.nan))


def _stretched_levels(triplet: Triplet) -> Tensor:
    values = triplet.planes.detach().flatten(2).double()
    low, high = values.aminmax(dim=2, keepdim=True)
    span = high - low
    unit = torch.where(span > 0, (values - low) / span.clamp(min=1e-300), torch.zeros_like(values))
    return torch.floor(unit * (GREY_LEVELS - 1) + 0.5).long()
