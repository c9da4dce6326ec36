"""Feature mutual information over pixels: of 3x3 windows, from a model of their joint distribution."""

from typing import Final, NamedTuple

import torch
from torch import Tensor

from ivif.metrics.functional.triplet import Triplet, triplet_metric

_SIDE = 3
_COUNT = _SIDE**2

_WINDOWS: Final = {"cpu": 8192}
"""Windows at a time, by device: on a CPU what is computed of them stays in its cache."""
_WINDOWS_ELSEWHERE: Final = 2**19


class _Distribution(NamedTuple):
    """Values of windows as distributions over the nine positions, column by column.

    Attributes:
        p: (9, N), the values stretched to [0, 1], divided by their sum.
        flat: (N,), whether the values are equal.
        centred: (9, N), `p` without its mean, divided by the root of its sum of squares; without meaning where `flat`.
        deviation: (N,) float64, standard deviation of the position.
        entropy: (N,).
    """

    p: Tensor
    flat: Tensor
    centred: Tensor
    deviation: Tensor
    entropy: Tensor


@triplet_metric(smallest=_SIDE)
def feature_mutual_information(triplet: Triplet) -> Tensor:
    """FMI (pixel): normalised mutual information of 3x3 windows with both sources, averaged; higher is better.

    Source: Haghighat and Razian, "Fast-FMI: non-reference image fusion metric", 2014, its code's feature 'none': the
    nine values of a window, stretched to [0, 1], are taken as a distribution over the nine positions (column by
    column); the joint distribution follows from their correlation (Nelsen). Two windows with equal values score 1, and
    so do two of one value each, to whose correlation the reference comes by rounding. In float32, but for the
    distributions and their spread: that changes a score by less than 1e-7.

    Returns:
        (B,) float64, around [0, 1].

    Example:
        >>> from ivif.metrics.functional import formula_triplet
        >>> round(feature_mutual_information(*formula_triplet("average")).item(), 3)
        0.574
    """
    images = triplet.fused, triplet.infrared, triplet.visible
    windows = [_windows(image) for image in images]
    some = _WINDOWS.get(images[0].device.type, _WINDOWS_ELSEWHERE)
    scores = []
    for values in zip(*(torch.split(each, some, dim=-1) for each in windows), strict=True):
        fused, *sources = map(_distribution, values)
        equal = [(values[0] == each).all(dim=0) for each in values[1:]]
        own = [_window_scores(fused, *pair) for pair in zip(sources, equal, strict=True)]
        scores.append((own[0] + own[1]) / 2)
    return torch.cat(scores).view(len(images[0]), -1).mean(dim=1, dtype=torch.float64)


def _windows(image: Tensor) -> Tensor:
    """(9, N): the values of each window of all images, column by column as MATLAB counts them."""
    height, width = image.shape[-2] - _SIDE + 1, image.shape[-1] - _SIDE + 1
    parts = [
        image[:, 0, row : row + height, column : column + width] for column in range(_SIDE) for row in range(_SIDE)
    ]
    return torch.stack(parts).flatten(1)


def _distribution(values: Tensor) -> _Distribution:
    above = (values - values.amin(dim=0)).double()
    total = above.sum(dim=0)
    flat = total == 0
    exact = above.div_(total).masked_fill_(flat, 1 / _COUNT)
    positions = torch.arange(_COUNT, dtype=exact.dtype, device=exact.device) - _COUNT // 2
    mean, square = torch.stack([positions, positions.square()]) @ exact
    p = exact.float()
    centred = p - 1 / _COUNT
    centred /= centred.square().sum(dim=0).sqrt_()
    return _Distribution(p, flat, centred, (square - mean.square()).clamp_(min=0).sqrt_(), _entropy(p))


def _window_scores(fused: _Distribution, source: _Distribution, equal: Tensor) -> Tensor:
    marginal = fused.entropy + source.entropy
    shared = marginal - _joint_entropy(fused, source)
    score = (2 * shared / marginal).masked_fill_(marginal == 0, 0)
    return score.masked_fill_((fused.flat & source.flat) | equal, 1)


def _joint_entropy(first: _Distribution, second: _Distribution) -> Tensor:
    """That of the mixture of independence and the closest dependence of the correlation's sign (Frechet's bound).

    The lower bound is the upper one with one of the two turned round, and entropy does not ask for the order.
    """
    correlation = (first.centred * second.centred).sum(dim=0)
    turned = torch.where(correlation < 0, second.p.flip(0), second.p)
    starts, (rows, columns) = zip(*(_cumulative(p) for p in (first.p, turned)), strict=True)
    bound = torch.minimum(rows[:, None], columns)
    covariance = bound.flatten(0, 1).sum(dim=0) - rows.sum(dim=0) * columns.sum(dim=0)
    spread = first.deviation * second.deviation
    degenerate = first.flat | second.flat | (spread == 0)
    weight = (correlation.abs_() * spread.float() / covariance).masked_fill_(degenerate, 0)
    # what the bound gives each pair of positions: how far steps of the two lie upon each other
    joint = bound.sub_(torch.maximum(starts[0][:, None], starts[1])).clamp_(min=0).mul_(weight)
    return _entropy(joint.addcmul_((first.p * (1 - weight))[:, None], turned))


def _cumulative(p: Tensor) -> tuple[Tensor, Tensor]:
    """Sums of the rows before each, and up to it; by a product of matrices, which is faster than `cumsum`."""
    sums = torch.ones(_COUNT + 1, _COUNT, dtype=p.dtype, device=p.device).tril_(-1) @ p
    return sums[:-1], sums[1:]


def _entropy(p: Tensor) -> Tensor:
    """(N,), of all dimensions but the last; of a negative p the real part of p log p counts, p log |p|."""
    logarithms = p.abs().clamp_(min=torch.finfo(p.dtype).tiny).log_()
    return -logarithms.mul_(p).flatten(0, -2).sum(dim=0)
