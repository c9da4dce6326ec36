"""Scalars that tasks leave beside their losses, such as a codebook's perplexity."""

from collections.abc import Mapping
from typing import Any

from lightning import Callback, LightningModule, Trainer


class DiagnosticsLogger(Callback):
    """Logs `task.diagnostics` as `train/<name>`, at the trainer's own interval."""

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Logs what the task noted in this step."""
        interval = int(getattr(trainer, "log_every_n_steps", 0)) or 1
        found: Mapping[str, Any] = getattr(pl_module, "diagnostics", {})
        if found and trainer.global_step % interval == 0:
            pl_module.log_dict({f"train/{name}": float(value) for name, value in found.items()})
