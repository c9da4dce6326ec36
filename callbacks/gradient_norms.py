"""How large gradients are, per level: the first thing to look at when one level drowns another."""

from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from ivif.running.logged_steps import logs_this_step


class GradientNorms(Callback):
    """Logs `train/gradient_norm`, in tasks with levels `train/<level>/gradient_norm`, before any clipping.

    Measured only at the steps whose values are logged: one norm over each optimiser's gradients there. Where a
    level makes several optimiser steps of one batch, the last counts.

    Args:
        enabled: Whether to measure at all.
    """

    def __init__(self, enabled: bool = True) -> None:
        self.enabled = enabled
        self._found: dict[str, Tensor] = {}
        self._wanted = False

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Asks a task with levels to show its gradients before it clips them."""
        if self.enabled and not pl_module.automatic_optimization:
            pl_module.watch_gradients = self._measure_level  # type: ignore[assignment]

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Decides whether this step is measured."""
        self._wanted = self.enabled and logs_this_step(trainer)
        self._found = {}

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Measures what the only optimiser is about to use; Lightning clips afterwards."""
        if pl_module.automatic_optimization:
            self._measure("train/gradient_norm", optimizer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Logs what was measured."""
        if self._found:
            pl_module.log_dict(self._found)

    def _measure_level(self, level: str, optimizer: torch.optim.Optimizer) -> None:
        self._measure(f"train/{level}/gradient_norm", optimizer)

    def _measure(self, name: str, optimizer: torch.optim.Optimizer) -> None:
        if not self._wanted:
            return
        parameters = (parameter for group in optimizer.param_groups for parameter in group["params"])
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        if gradients:
            self._found[name] = torch.nn.utils.get_total_norm(gradients)
