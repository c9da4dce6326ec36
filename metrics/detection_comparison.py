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
"""Numbers of a table of exchanges by detections."""


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
        torch.stack([_differences(_ranking(one, other, label), exchanged) for label in range(classes)])
        for one, other in zip(first, second, strict=True)
    ]
    by_class = torch.stack(seeds).mean(dim=0)  # (classes, 1 + draws), the true pairing first
    return [_share(by_class.nanmean(dim=0)), *map(_share, by_class)]


def _share(differences: Tensor) -> float:
    if differences[0].isnan():
        return float("nan")
    as_much = differences.abs() >= differences[0].abs() - 1e-12
    return as_much.double().mean().item()


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


def _differences(ranking: _Ranking, exchanged: Tensor) -> Tensor:
    """The first detector's average precision less the second's, under each of the exchanges (D, pictures): (D,)."""
    if not ranking.objects:
        return torch.full((len(exchanged),), float("nan"), dtype=torch.float64)
    # what comes after the last right detection of both lowers no precision that counts
    last = int(ranking.right.nonzero().max()) + 1 if ranking.right.any() else 0
    second, picture, right = (part[:last] for part in ranking[:3])
    found = []
    for some in torch.split(exchanged, max(1, _AT_ONCE // max(last, 1))):
        of_second = second ^ some[:, picture]
        found.append(
            average_precision(~of_second, right, ranking.objects) - average_precision(of_second, right, ranking.objects)
        )
    return torch.cat(found)


def average_precision(chosen: Tensor, right: Tensor, objects: int) -> Tensor:
    """COCO's average precision, at 101 points of recall, of choices among ranked detections.

    Args:
        chosen: (D, N) bool, which of the detections, the surest first, a choice has.
        right: (N,) bool.
        objects: Number of objects, at least one.

    Returns:
        (D,) float64, in [0, 1].
    """
    if not len(right):
        return torch.zeros(len(chosen), dtype=torch.float64)
    hits, all_of_them = (chosen & right).cumsum(dim=1), chosen.cumsum(dim=1)
    precision = (hits / all_of_them.clamp(min=1).double()).masked_fill_(~chosen, 0.0)
    envelope = precision.flip(1).cummax(dim=1).values.flip(1)
    needed = np.searchsorted(np.arange(objects + 1) / objects, np.linspace(0, 1, 101), side="left")
    places = torch.searchsorted(hits, torch.from_numpy(needed).expand(len(chosen), -1).contiguous())
    reached = F.pad(envelope, (0, 1)).gather(1, places)  # none beyond the last detection
    return reached.mean(dim=1)
