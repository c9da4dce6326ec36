"""Optimisers and learning-rate schedules as plain numbers, shared by all tasks."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR


@dataclass(frozen=True)
class AdamConfig:
    """Adam's numbers; the learning rate itself belongs to the schedule.

    Args:
        betas: Decay rates of the first and second moments.
        weight_decay: Decoupled weight decay (AdamW) when positive; 0 is plain Adam. It spares biases and normalisation
            (parameters of fewer than two dimensions).
        gradient_clip: Largest global gradient norm; 0 does not clip.

    Raises:
        ValueError: If a number is out of range.
    """

    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.0
    gradient_clip: float = 0.0

    def __post_init__(self) -> None:
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"optimizer.betas is {self.betas}; both must lie in [0, 1).")
        for name, value in (("weight_decay", self.weight_decay), ("gradient_clip", self.gradient_clip)):
            if not 0 <= value < math.inf:
                raise ValueError(f"optimizer.{name} is {value}; it must be a finite number of 0 or more.")

    def build(self, parameters: Iterable[nn.Parameter], learning_rate: float) -> torch.optim.Optimizer:
        """The optimiser over those parameters that require a gradient."""
        trainable = [parameter for parameter in parameters if parameter.requires_grad]
        if self.weight_decay > 0:
            decayed = [parameter for parameter in trainable if parameter.ndim > 1]
            spared = [parameter for parameter in trainable if parameter.ndim <= 1]
            groups: list[dict[str, Any]] = [{"params": decayed}, {"params": spared, "weight_decay": 0.0}]
            return torch.optim.AdamW(groups, learning_rate, betas=self.betas, weight_decay=self.weight_decay)
        return torch.optim.Adam(trainable, learning_rate, betas=self.betas)


@dataclass(frozen=True)
class WarmupDecayConfig:
    """Linear warm-up from `start` to `peak`, then decay to `end`, as a function of the run's relative progress.

    MGFusion section 4.2 gives 1e-4 -> 1e-3 over the first 20 of 100 epochs, then back to 1e-4; it states no shapes.
    Ours: linear, then half a cosine (or linear), updated at every step. Fractions instead of epochs, so that a shorter
    run keeps the shape. From Text to Pixels decays exponentially.

    Args:
        start: Learning rate at the first step.
        peak: Learning rate at the end of the warm-up.
        end: Learning rate at the end of the run.
        warmup_fraction: Share of the run that warms up, in [0, 1).
        decay: Shape of the way down.

    Raises:
        ValueError: If a number is out of range.
    """

    start: float = 1e-4
    peak: float = 1e-3
    end: float = 1e-4
    warmup_fraction: float = 0.2
    decay: Literal["cosine", "linear", "exponential"] = "cosine"

    def __post_init__(self) -> None:
        if not all(0 <= rate < math.inf for rate in (self.start, self.peak, self.end)) or self.peak == 0:
            raise ValueError(
                f"schedule: learning rates must be finite and not negative, and peak must be positive, got {self}."
            )
        if not 0 <= self.warmup_fraction < 1:
            raise ValueError(f"schedule.warmup_fraction is {self.warmup_fraction}; it must lie in [0, 1).")
        if self.decay == "exponential" and self.end == 0:
            raise ValueError("schedule.end is 0, which an exponential decay never reaches; give a small positive rate.")

    def learning_rate(self, progress: float) -> float:
        """The learning rate at a share `progress` of the run; 0 is its start, 1 and beyond its end."""
        progress = min(max(progress, 0.0), 1.0)
        if progress < self.warmup_fraction:
            return self.start + (self.peak - self.start) * progress / self.warmup_fraction
        remaining = (progress - self.warmup_fraction) / (1 - self.warmup_fraction)
        if self.decay == "exponential":
            return float(self.peak * (self.end / self.peak) ** remaining)
        weight = 0.5 * (1 + math.cos(math.pi * remaining)) if self.decay == "cosine" else 1 - remaining
        return self.end + (self.peak - self.end) * weight

    def build(self, optimizer: torch.optim.Optimizer, total_steps: Callable[[], int]) -> LambdaLR:
        """A scheduler to be stepped once per optimiser step; expects the optimiser's rate to be `peak`.

        Args:
            optimizer: What to schedule.
            total_steps: Length of the run in steps, asked after the first step at the earliest: asking a trainer any
                sooner makes it open its loaders, before a resumed run knows where it stands.
        """
        return LambdaLR(
            optimizer, lambda step: self.learning_rate(step / max(1, total_steps()) if step else 0.0) / self.peak
        )


@dataclass(frozen=True)
class LevelConfig:
    """How one level of a bilevel problem is optimised.

    Args:
        optimizer: Adam's numbers, and the level's own gradient clipping.
        schedule: Learning rate over the level's own part of the run.
    """

    optimizer: AdamConfig = AdamConfig()
    schedule: WarmupDecayConfig = WarmupDecayConfig()
