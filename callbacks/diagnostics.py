"""Logs what tasks note beside their losses, such as a codebook's perplexity."""

from collections.abc import Mapping
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer

from ivif.running.internals import forget_logged
from ivif.running.logged_steps import logs_this_step


class DiagnosticsLogger(Callback):
    """Logs each entry of `task.diagnostics` as `train/<name>`, at the steps that reach the trainer's loggers.

    A task fills that dictionary (name -> scalar) in its training step, with tensors left where they are: only at those
    steps are they read. A task without the dictionary is left alone.

    A logged step also holds only what was measured in it: of itself, Lightning logs each value again until the end of
    the epoch, a phase's losses long after the phase, and a run that is resumed in between would not.
    """

    def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
        """Forgets what earlier steps have logged, sums over an epoch excepted."""
        forget_logged(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Logs what the task noted in this step.

        Raises:
            ValueError: If an entry is no scalar.
        """
        diagnostics: Mapping[str, Any] = getattr(pl_module, "diagnostics", {})
        if not diagnostics or not logs_this_step(trainer):
            return
        pl_module.log_dict({f"train/{name}": _scalar(name, value) for name, value in diagnostics.items()})


def _scalar(name: str, value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        if value.numel() != 1:
            raise ValueError(f"diagnostics['{name}'] must be a scalar, got a tensor of shape {tuple(value.shape)}.")
        return value.detach()
    return float(value)
