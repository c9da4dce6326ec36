"""Stops a run that cannot fit before it starts, with the remedy."""

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info

from datamodules.free_memory import free_memory


class NotEnoughMemoryError(RuntimeError):
    """A training step needs more memory than is free."""


class MemoryGuard(Callback):
    """Compares the task's own estimate of a training step with what is free, and refuses a run that exceeds it.

    Args:
        enabled: Whether to refuse; off leaves it to the allocator.
    """

    def __init__(self, enabled: bool = True) -> None:
        self.enabled = enabled

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Checks once, before the first batch, and says what it found.

        Raises:
            NotEnoughMemoryError: With the figures and what to change.
        """
        size = getattr(trainer.datamodule, "training_size", lambda: None)()  # type: ignore[attr-defined]
        estimate = getattr(pl_module, "estimate_training_memory", None)
        if not self.enabled or size is None or estimate is None:
            return
        needed, free = estimate(*size), free_memory(trainer.strategy.root_device)
        if needed is None or free is None:
            return
        if needed <= free:
            rank_zero_info(
                f"A training step needs about {needed / 2**30:.1f} GiB; {free / 2**30:.1f} GiB are free on "
                f"{trainer.strategy.root_device}."
            )
            return
        batch_size, height, width = size
        raise NotEnoughMemoryError(
            f"A training step with batch {batch_size} and {height}x{width} crops needs about {needed / 2**30:.1f} "
            f"GiB, and {free / 2**30:.1f} GiB are free on {trainer.strategy.root_device}. Lower --loading.batch_size "
            f"or --transforms.crop, use --trainer.precision bf16-mixed, add the method's small preset "
            f"(such as --config configs/mgfusion_cpu.yaml), or set --memory_guard.enabled false to try all the same."
        )
