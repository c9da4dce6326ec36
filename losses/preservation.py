"""What a fused image keeps of both sources, as terms to train with: edges, information, similarity, differences.

Beside the methods' own terms and off by default: they resemble what papers score with, so a network that trains with
one of them says less by that one's score (docs/results.md has the others).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from ivif.image_ops.sobel import sobel_components
from ivif.image_ops.ssim import ssim_map
from ivif.losses.gradient import signed_gradient_max_loss
from ivif.losses.intensity import at_least_float32, check_triplet
from ivif.metrics.functional import sum_of_correlations_of_differences, vif

_FLAT: Final = 4.0 / 255.0
"""Edges well below one grey level have no direction to keep."""

_GREY_LEVELS: Final = 255.0

_SMALLEST: Final = 41
"""Pixels of the shorter side that the windows of VIF need."""


@dataclass(frozen=True)
class PreservationWeights:
    """Weights of the terms beside a paper's own; 0 leaves a term out.

    Args:
        edges: Of `edge_preservation_loss`.
        information: Of `information_loss`.
        similarity: Of `similarity_loss`.
        differences: Of `difference_correlation_loss`.
        signed_gradient: Of `ivif.losses.gradient.signed_gradient_max_loss`, to be taken in place of magnitudes.

    Raises:
        ValueError: If a weight is negative or no number.
    """

    edges: float = 0.0
    information: float = 0.0
    similarity: float = 0.0
    differences: float = 0.0
    signed_gradient: float = 0.0

    def __post_init__(self) -> None:
        for name, weight in vars(self).items():
            if not 0 <= weight < float("inf"):
                raise ValueError(f"preservation.{name} is {weight}; it must be a finite number of 0 or more.")

    def chosen(self) -> dict[str, float]:
        """The weights by the name of their term, without those of 0."""
        return {name: weight for name, weight in vars(self).items() if weight}


def preservation_terms(
    fused: Tensor, infrared: Tensor, visible: Tensor, names: Mapping[str, float]
) -> dict[str, Tensor]:
    """The terms of those names (`PreservationWeights.chosen`), unweighted scalars."""
    return {name: _TERMS[name](fused, infrared, visible) for name in names}


def edge_preservation_loss(fused: Tensor, infrared: Tensor, visible: Tensor) -> Tensor:
    """1 - the share of the sources' edges that arrives in the fused image, a smooth relative of Qabf.

    As in Xydeas and Petrovic 2000 an edge is kept as far as its strength and its direction are, and counts by its
    strength in the source; at each pixel and for each source it is kept by

        min(s_f, s) / max(s_f, s) * max(0, cos(angle between both gradients))

    Two things differ from the metric: no sigmoids, whose slope vanishes where the images differ most, and the direction
    has a sign, so that a negative (dark letters on a bright sign turned bright) keeps nothing. Magnitudes, as in
    MGFusion's eq. 7, cannot tell the two.

    Args:
        fused: (B, C, H, W) in [0, 1].
        infrared: (B, 1 or C, H, W) in [0, 1].
        visible: (B, C, H, W) in [0, 1].

    Returns:
        A scalar, float32 or wider, in [0, 1]; near 0 where fused and both sources are equal.

    Raises:
        ValueError: If the shapes do not fit.
    """
    own, kept, present = _edges(fused), [], []
    for source in _sources(fused, infrared, visible):
        edges = _edges(source)
        ratio = torch.minimum(own[2], edges[2]) / torch.maximum(own[2], edges[2])
        cosine = (own[0] * edges[0] + own[1] * edges[1]) / (own[2] * edges[2])
        strength = edges[2] - _FLAT
        kept.append((ratio * cosine.clamp(min=0) * strength).flatten(1).sum(dim=1))
        present.append(strength.flatten(1).sum(dim=1))
    shares = torch.stack(kept).sum(dim=0) / (torch.stack(present).sum(dim=0) + _FLAT)
    return 1.0 - shares.mean()  # of each pair, so that accumulated parts give the whole batch


def information_loss(fused: Tensor, infrared: Tensor, visible: Tensor) -> Tensor:
    """1 - the mean of both sources' visual information fidelity (`ivif.metrics.functional.vif`).

    Args:
        fused: (B, C, H, W) in [0, 1], at least 41 pixels on each side.
        infrared: (B, 1 or C, H, W) in [0, 1].
        visible: (B, C, H, W) in [0, 1].

    Returns:
        A scalar, at most 1; below 0 where the fused image has more contrast than its sources.

    Raises:
        ValueError: If the shapes do not fit, or the images are smaller than VIF's windows allow.
    """
    if min(fused.shape[-2:]) < _SMALLEST:
        raise ValueError(
            f"The information term needs at least {_SMALLEST} pixels on each side, got {tuple(fused.shape[-2:])}: "
            "take larger crops (transforms.crop), or set its weight (loss.preservation.information) to 0."
        )
    own, first, second = _grey_levels(fused, infrared, visible)
    return 1.0 - vif(own, first, second, reduction="mean", precision="single").mean().to(own.dtype)


def similarity_loss(fused: Tensor, infrared: Tensor, visible: Tensor) -> Tensor:
    """1 - the mean SSIM with both sources.

    Args:
        fused: (B, C, H, W) in [0, 1].
        infrared: (B, 1 or C, H, W) in [0, 1].
        visible: (B, C, H, W) in [0, 1].

    Returns:
        A scalar, float32 or wider, in [0, 2]; 0 where all are equal.

    Raises:
        ValueError: If the shapes do not fit.
    """
    sources = _sources(fused, infrared, visible)
    return 1.0 - torch.stack([ssim_map(fused, source).mean() for source in sources]).mean()


def difference_correlation_loss(fused: Tensor, infrared: Tensor, visible: Tensor) -> Tensor:
    """1 - half the sum of the correlations of differences (Aslantas and Bendes 2015; SCD).

    What the fused image has beyond one source should be what the other shows.

    Args:
        fused: (B, C, H, W) in [0, 1].
        infrared: (B, 1 or C, H, W) in [0, 1].
        visible: (B, C, H, W) in [0, 1].

    Returns:
        A scalar, in [0, 2], a mean over the batch, to which a pair without a defined correlation (two equal images)
        adds nothing.

    Raises:
        ValueError: If the shapes do not fit.
    """
    correlations = sum_of_correlations_of_differences(*_grey_levels(fused, infrared, visible))
    lost = torch.where(torch.isfinite(correlations), 1.0 - correlations / 2, torch.zeros_like(correlations))
    return lost.mean().to(torch.promote_types(fused.dtype, torch.float32))


_TERMS: Final[Mapping[str, Callable[[Tensor, Tensor, Tensor], Tensor]]] = {
    "edges": edge_preservation_loss,
    "information": information_loss,
    "similarity": similarity_loss,
    "differences": difference_correlation_loss,
    "signed_gradient": signed_gradient_max_loss,
}


def _edges(image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Both derivatives and their length, which is `_FLAT` where there is no edge: its slope stays finite there."""
    horizontal, vertical = sobel_components(*at_least_float32(image))
    return horizontal, vertical, (horizontal.square() + vertical.square() + _FLAT**2).sqrt()


def _sources(fused: Tensor, infrared: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
    check_triplet(fused, infrared, visible)
    return infrared.expand_as(fused), visible


def _grey_levels(fused: Tensor, infrared: Tensor, visible: Tensor) -> tuple[Tensor, ...]:
    """Fused, infrared and visible as metrics take them: each channel an image of its own, in grey levels."""
    images = at_least_float32(fused, *_sources(fused, infrared, visible))
    return tuple(_GREY_LEVELS * image.reshape(-1, 1, *image.shape[-2:]) for image in images)
