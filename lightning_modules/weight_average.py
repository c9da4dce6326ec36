"""Running averages of weights: what a detector, or a fusion network that asks for it, is evaluated with."""

import math
from copy import deepcopy
from dataclasses import dataclass
from itertools import chain
from typing import ClassVar, Self

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from ivif.lightning_modules.host_counts import HostCountsMixin
from ivif.models.layers.frozen import freeze


class WeightAverage(HostCountsMixin, nn.Module):
    """An exponential moving average of a module, buffers included: the module's copy, always in eval mode.

    After the n-th update the average keeps `decay * (1 - exp(-n / ramp))` of itself, so that a run shorter than `ramp`
    steps is not held back by the weights that it started from. BatchNorm's running statistics are averaged like
    weights; its integer counters are copied.

    It needs no gradient, so optimisers and DDP's search for unused parameters pass over it, and it is part of its
    owner's state dict, with the layout of torch's `AveragedModel`, which looks at its counter on the device three times
    at each update. Under DDP every process averages the same weights.

    Args:
        module: What to average; the copy starts from its present state.
        decay: Share that the average keeps of itself once `ramp` is long past, in (0, 1).
        ramp: Updates over which the share grows, positive.
    """

    host_counts: ClassVar[tuple[str, ...]] = ("n_averaged",)

    def __init__(self, module: nn.Module, decay: float, ramp: float) -> None:
        super().__init__()
        self.module = freeze(deepcopy(module))
        self.decay = decay
        self.ramp = ramp
        self.n_averaged = 0
        self.train(False)

    @torch.no_grad()
    def update_parameters(self, module: nn.Module) -> None:
        """Takes the module's present weights and buffers into the average."""
        averaged, current = [], []
        for own, now in zip(_tensors(self.module), _tensors(module), strict=True):
            if own.is_floating_point():
                averaged.append(own)
                current.append(now)
            else:
                own.copy_(now)
        average = get_ema_multi_avg_fn(kept_share(self.n_averaged, self.decay, self.ramp))  # type: ignore[no-untyped-call]
        average(averaged, current, self.n_averaged)
        self.n_averaged += 1

    def train(self, mode: bool = True) -> Self:
        """Stays in eval mode, whatever its owner does."""
        return super().train(False)


@dataclass(frozen=True)
class AverageConfig:
    """Whether a network's weights are averaged over training, and how slowly.

    Args:
        decay: Share that the average keeps of itself at each step, in [0, 1); 0 keeps no average.
        ramp: Steps over which that share grows: decay * (1 - exp(-steps / ramp)).

    Raises:
        ValueError: If a number is out of range.
    """

    decay: float = 0.0
    ramp: float = 200.0

    def __post_init__(self) -> None:
        check_average("average.", self.decay, self.ramp)

    def of(self, module: nn.Module) -> WeightAverage | None:
        """An average of a module, if one is wanted."""
        return WeightAverage(module, self.decay, self.ramp) if self.decay else None


def check_average(prefix: str, decay: float, ramp: float) -> None:
    """Refuses a decay or a ramp that makes no average; `prefix` stands before the names of both options.

    Raises:
        ValueError: If a number is out of range.
    """
    if not 0 <= decay < 1:
        raise ValueError(f"{prefix}decay is {decay}; it must lie in [0, 1), 0 for none.")
    if not 0 < ramp < math.inf:
        raise ValueError(f"{prefix}ramp is {ramp}; it must be positive and finite.")


def kept_share(updates: float, decay: float, ramp: float) -> float:
    """The share of itself that the average keeps at an update: decay * (1 - exp(-updates / ramp)), in [0, decay)."""
    return -decay * math.expm1(-updates / ramp)


def _tensors(module: nn.Module) -> chain[Tensor]:
    return chain(module.parameters(), module.buffers())
