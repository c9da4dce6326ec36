"""Running averages of weights: what a detector is evaluated with."""

import math
from functools import partial
from typing import Self

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from models.layers.frozen import freeze


class WeightAverage(AveragedModel):
    """An exponential moving average of a module, buffers included: the module's copy, always in eval mode.

    After the n-th update the average keeps `decay * (1 - exp(-n / ramp))` of itself, so that a run shorter than `ramp`
    steps is not held back by the weights that it started from. BatchNorm's running statistics are averaged like
    weights; its integer counters are copied.

    It needs no gradient, so optimisers and DDP's search for unused parameters pass over it, and it is part of its
    owner's state dict. Under DDP every process averages the same weights.

    Args:
        module: What to average; the copy starts from its present state.
        decay: Share that the average keeps of itself once `ramp` is long past, in (0, 1).
        ramp: Updates over which the share grows, positive.
    """

    def __init__(self, module: nn.Module, decay: float, ramp: float) -> None:
        super().__init__(module, multi_avg_fn=partial(_update, decay=decay, ramp=ramp), use_buffers=True)
        freeze(self)

    def train(self, mode: bool = True) -> Self:
        """Stays in eval mode, whatever its owner does."""
        return super().train(False)


def kept_share(updates: float, decay: float, ramp: float) -> float:
    """The share of itself that the average keeps at an update: decay * (1 - exp(-updates / ramp)), in [0, decay)."""
    return -decay * math.expm1(-updates / ramp)


def _update(averaged: list[Tensor], current: list[Tensor], updates: Tensor | int, *, decay: float, ramp: float) -> None:
    if not torch.is_floating_point(averaged[0]):
        for counter, now in zip(averaged, current, strict=True):
            counter.copy_(now)
        return
    average = get_ema_multi_avg_fn(kept_share(float(updates), decay, ramp))  # type: ignore[no-untyped-call]
    average(averaged, current, updates)
