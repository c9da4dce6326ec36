"""Feature mutual information over pixels: of 3x3 windows, from a model of their joint distribution."""

import torch
from torch import Tensor

from ivif.metrics.functional.triplet import Triplet, triplet_metric

_SIDE = 3
_COUNT = _SIDE**2


@triplet_metric(smallest=_SIDE)
def feature_mutual_information(triplet: Triplet) -> Tensor:
    """FMI (pixel): normalised mutual information of 3x3 windows with both sources, averaged; higher is better.

    Source: Haghighat and Razian, "Fast-FMI: non-reference image fusion metric", 2014, its code's feature 'none': the
    nine values of a window, stretched to [0, 1], are taken as a distribution over the nine positions (column by
    column); the joint distribution follows from their correlation (Nelsen). Two windows with equal values score 1. In
    float64.

    Returns:
        (B,) float64, around [0, 1].

    Example:
        >>> from ivif.metrics.functional import formula_triplet
        >>> round(feature_mutual_information(*formula_triplet("average")).item(), 3)
        0.574
    """
    windows = [_windows(image.double()) for image in (triplet.fused, triplet.infrared, triplet.visible)]
    scores = [_window_scores(windows[0], source) for source in windows[1:]]
    return (scores[0] + scores[1]).mean((1, 2)) / 2


def _windows(image: Tensor) -> Tensor:
    """(9, B, h, w): the values of each window, column by column as MATLAB counts them."""
    height, width = image.shape[-2] - _SIDE + 1, image.shape[-1] - _SIDE + 1
    parts = [
        image[:, 0, row : row + height, column : column + width] for column in range(_SIDE) for row in range(_SIDE)
    ]
    return torch.stack(parts)


def _window_scores(fused: Tensor, source: Tensor) -> Tensor:
    equal = (fused == source).all(dim=0)
    first, second = _distribution(fused), _distribution(source)
    joint = _joint_entropy(first, second)
    marginal = _entropy(first) + _entropy(second)
    shared = marginal - joint
    score = torch.where(shared == 0, torch.zeros_like(shared), 2 * shared / marginal)
    return torch.where(equal, torch.ones_like(score), score)


def _distribution(windows: Tensor) -> Tensor:
    low, high = windows.amin(dim=0), windows.amax(dim=0)
    span = high - low
    flat = span == 0
    unit = torch.where(flat, torch.ones_like(windows), (windows - low) / span.masked_fill(flat, 1.0))
    return unit / unit.sum(dim=0)


def _entropy(p: Tensor) -> Tensor:
    return -torch.xlogy(p, p).sum(dim=0)


def _joint_entropy(first: Tensor, second: Tensor) -> Tensor:
    cumulative = first.cumsum(dim=0), second.cumsum(dim=0)
    correlation = _correlation(first, second)
    rising = correlation >= 0
    spread = _position_deviation(first) * _position_deviation(second)
    bound_covariance = sum(
        _bound(cumulative[0][i], cumulative[1][j], rising) - cumulative[0][i] * cumulative[1][j]
        for i in range(_COUNT)
        for j in range(_COUNT)
    )
    degenerate = (correlation == 0) | (spread == 0)
    weight = torch.where(degenerate, torch.zeros_like(spread), correlation * spread / bound_covariance)
    total = torch.zeros_like(spread)
    previous_row = [torch.zeros_like(spread)] * (_COUNT + 1)
    for i in range(_COUNT):
        row = [torch.zeros_like(spread)]
        for j in range(_COUNT):
            row.append(_bound(cumulative[0][i], cumulative[1][j], rising))
            bound = row[j + 1] - row[j] - previous_row[j + 1] + previous_row[j]
            joint = weight * bound + (1 - weight) * first[i] * second[j]
            # the reference takes the real part of p log p, which for a negative p is p log |p|
            total -= torch.xlogy(joint, joint.abs())
        previous_row = row
    return total


def _bound(first: Tensor, second: Tensor, rising: Tensor) -> Tensor:
    """Frechet's bounds of a joint distribution function: the upper one where `rising`, else the lower one."""
    return torch.where(rising, torch.minimum(first, second), (first + second - 1).clamp(min=0))


def _correlation(first: Tensor, second: Tensor) -> Tensor:
    a, b = first - first.mean(dim=0), second - second.mean(dim=0)
    scale = (a.square().sum(dim=0) * b.square().sum(dim=0)).sqrt()
    product = (a * b).sum(dim=0)
    return torch.where(scale > 0, product / scale, torch.zeros_like(scale))


def _position_deviation(p: Tensor) -> Tensor:
    positions = torch.arange(1, _COUNT + 1, dtype=p.dtype, device=p.device).view(-1, 1, 1, 1)
    mean = (positions * p).sum(dim=0)
    return ((positions.square() * p).sum(dim=0) - mean.square()).clamp(min=0).sqrt()
