"""Whether two detectors differ on the same pictures by more than chance."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ivif.metrics.detection import DETECTIONS_PER_CLASS
from ivif.metrics.detection_threshold import Matches

DRAWS: Final = 999
"""Exchanges that are drawn: p is at least 0.001."""

_AT_ONCE: Final = 4_000_000
"""Numbers of a table of exchanges by right detections."""


class _Ranking(NamedTuple):
    """The detections of a class by two detectors, the surest first; all (N,).

    Attributes:
        second: Whether it is the second detector's.
        picture: Its index.
        right: Whether it finds an object.
        objects: Objects of the class in all pictures.
    """

    second: Tensor
    picture: Tensor
    right: Tensor
    objects: int


def exchange_test(
    first: Sequence[Sequence[Matches]], second: Sequence[Sequence[Matches]], classes: int, draws: int = DRAWS
) -> list[float]:
    """Tests the difference of two detectors' average precision at IoU .5 by exchanging what they found in pictures.

    If the two were alike, it would not matter which of them a picture's detections came from: they are exchanged in
    pictures chosen at random, the same for all seeds, and p is the share of exchanges (the true pairing among them)
    that differ as much as the two do. Two-sided; the draws are always the same.

    Source: Fisher's randomisation test as it is used for rankings, Smucker, Allan and Carterette, "A comparison of
    statistical significance tests for information retrieval evaluation", CIKM 2007.

    Args:
        first: The matches of each picture, for each seed.
        second: Those of the other detector on the same pictures, for as many seeds.
        classes: Number of classes.
        draws: How many exchanges are drawn.

    Returns:
        The p value of the mean over the classes that have objects, then of each class; NaN without objects.
    """
    pictures = len(first[0])
    drawn = torch.rand(draws, pictures, generator=torch.Generator().manual_seed(0)) < 0.5
    exchanged = torch.cat([torch.zeros(1, pictures, dtype=torch.bool), drawn])
    seeds = [
        torch.stack([_differences(one, other, label, exchanged) for label in range(classes)])
        for one, other in zip(first, second, strict=True)
    ]
    by_class = torch.stack(seeds).mean(dim=0)  # (classes, 1 + draws), the true pairing first
    return [_share(by_class.nanmean(dim=0)), *map(_share, by_class)]


def _share(differences: Tensor) -> float:
    if differences[0].isnan():
        return float("nan")
    as_much = differences.abs() >= differences[0].abs() - 1e-12
    return as_much.double().mean().item()


def _differences(first: Sequence[Matches], second: Sequence[Matches], label: int, exchanged: Tensor) -> Tensor:
    """The first detector's average precision of a class less the second's, (D,); NaN without objects."""
    ranking = _ranking(first, second, label)
    if not ranking.objects:
        return torch.full((len(exchanged),), float("nan"), dtype=torch.float64)
    mine, other = average_precisions(ranking, exchanged)
    return mine - other


def _ranking(first: Sequence[Matches], second: Sequence[Matches], label: int) -> _Ranking:
    parts = [
        (index, which, *_of_class(one, label))
        for which, each in enumerate((first, second))
        for index, one in enumerate(each)
    ]
    scores = torch.from_numpy(np.concatenate([own for _, _, own, _ in parts]))
    counts = torch.tensor([len(own) for _, _, own, _ in parts])
    order = scores.argsort(descending=True, stable=True)
    return _Ranking(
        torch.tensor([which == 1 for _, which, _, _ in parts]).repeat_interleave(counts)[order],
        torch.tensor([index for index, *_ in parts]).repeat_interleave(counts)[order],
        torch.from_numpy(np.concatenate([right for *_, right in parts]))[order],
        sum(int((one.objects == label).sum()) for one in first),
    )


def _of_class(matches: Matches, label: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores of the detections of a class that COCO looks at, and whether they are right."""
    own = matches.labels == label
    best = np.argsort(-matches.scores[own], kind="stable")[:DETECTIONS_PER_CLASS]
    return matches.scores[own][best], matches.right[own][best]


def average_precisions(ranking: _Ranking, exchanged: Tensor) -> tuple[Tensor, Tensor]:
    """COCO's average precision, at 101 points of recall, of both detectors under exchanges of what they found.

    Precision is looked up at right detections alone, so detections are counted up to each of those, by picture: what a
    detector has after an exchange is a sum over pictures, and that of all exchanges a product of matrices.

    Args:
        ranking: Of a class, with at least one object.
        exchanged: (D, pictures) bool, in which pictures the detectors change places.

    Returns:
        (D,) float64 each, in [0, 1].
    """
    second, picture, right = (part[: _end(ranking.right)] for part in ranking[:3])
    places = right.cumsum(dim=0) - right.long()  # the first right detection that is not surer
    sign = 1.0 - 2.0 * second
    table = torch.zeros(2, exchanged.shape[1], int(right.sum()))
    table[0].index_put_((picture, places), sign, accumulate=True)
    table[1].index_put_((picture[right], places[right]), sign[right], accumulate=True)
    more = table.cumsum(dim=2)  # how many more the first has up to there, of all and of right ones
    both = torch.stack([torch.bincount(places, minlength=more.shape[2]), torch.ones_like(places[right])]).cumsum(dim=1)
    first = (both + more.sum(dim=1)) / 2
    found: list[Tensor] = []
    for some in torch.split(exchanged, max(1, _AT_ONCE // max(more.shape[2], 1))):
        counts, hits = first[:, None] - some.float() @ more
        own = ~second[right] ^ some[:, picture[right]]
        found.append(
            torch.stack(
                [
                    _average_precision(hits, counts, own, ranking.objects),
                    _average_precision(both[1] - hits, both[0] - counts, ~own, ranking.objects),
                ]
            )
        )
    precisions = torch.cat(found, dim=1)
    return precisions[0], precisions[1]


def _end(right: Tensor) -> int:
    """What comes after the last right detection lowers no precision that counts."""
    return int(right.nonzero().max()) + 1 if right.any() else 0


def _average_precision(hits: Tensor, counts: Tensor, own: Tensor, objects: int) -> Tensor:
    """Of a detector's numbers of right detections and of all (D, R), at the right ones that are its `own`."""
    precision = (hits / counts.clamp(min=1)).double().masked_fill_(~own, 0.0)
    envelope = F.pad(precision, (0, 1)).flip(1).cummax(dim=1).values.flip(1)  # 0 beyond the last
    needed = np.searchsorted(np.arange(objects + 1) / objects, np.linspace(0, 1, 101), side="left")
    wanted = torch.from_numpy(needed).float().expand(len(hits), -1).contiguous()
    return envelope.gather(1, torch.searchsorted(hits.contiguous(), wanted)).mean(dim=1)
