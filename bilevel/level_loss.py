"""A level's loss: a mean over items, or a quotient whose divisor the whole batch decides."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True)
class LevelLoss:
    """A level's loss on a batch or on a part of one.

    Args:
        value: Scalar with gradient: the mean over the part's items or, with `count`, a numerator.
        count: What numerators are divided by in the end, where predictions decide it (a detector's assigned targets).
            The batch's loss is then the sum of the values of all its parts, and of all processes, over the sum of
            their counts, or over 1 if that is less. Without it, it is the mean over the items of all parts.
        terms: What the value is the weighted sum of, by name, detached; for the log.
        notes: Other means over the part's items, by name, detached; for the log.
    """

    value: Tensor
    count: Tensor | None = None
    terms: Mapping[str, Tensor] = field(default_factory=dict)
    notes: Mapping[str, Tensor] = field(default_factory=dict)


def add(values: Sequence[Tensor]) -> Tensor:
    """The sum of one or more scalars."""
    total = values[0]
    for value in values[1:]:
        total = total + value
    return total


def detached(loss: LevelLoss, by: Tensor | None) -> LevelLoss:
    """A loss to be shown: without gradient, and without a count, divided by what numerators are divided by."""
    if by is None:
        return LevelLoss(loss.value.detach(), None, loss.terms, loss.notes)
    return LevelLoss(loss.value.detach() / by, None, {name: term / by for name, term in loss.terms.items()}, loss.notes)


def weighted_sum(values: Sequence[Tensor], weights: Sequence[float | Tensor]) -> Tensor:
    """A weighted sum of detached values."""
    return add([value * weight for value, weight in zip(values, weights, strict=True)])


def weighted_sums(values: Sequence[Mapping[str, Tensor]], weights: Sequence[float | Tensor]) -> dict[str, Tensor]:
    """Weighted sums of values of the same name."""
    return {name: weighted_sum([value[name] for value in values], weights) for name in values[0]}
