"""Where checkpoints go: into the run's own folder."""

from pathlib import Path

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint


class RunCheckpoint(ModelCheckpoint):
    """Lightning's ModelCheckpoint, writing to `RUN_DIR/checkpoints/` with `last.ckpt` always there.

    Args:
        every_n_train_steps: Save every so many steps; `None` saves at the end of every epoch.
        save_top_k: How many checkpoints to keep beside `last.ckpt`.
        monitor: Logged value that ranks checkpoints; `None` keeps the newest.
        mode: Whether `monitor` is better low ("min") or high ("max").
    """

    def __init__(
        self,
        every_n_train_steps: int | None = None,
        save_top_k: int = 1,
        monitor: str | None = None,
        mode: str = "max",
    ) -> None:
        super().__init__(
            filename="epoch{epoch:04d}-step{step:07d}",
            auto_insert_metric_name=False,
            save_last=True,
            save_top_k=save_top_k,
            monitor=monitor,
            mode=mode,
            every_n_train_steps=every_n_train_steps,
            # Also where validation follows steps: else the steps after the last validation would be in no checkpoint.
            save_on_train_epoch_end=every_n_train_steps is None,
            enable_version_counter=False,
        )

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Chooses the folder."""
        if self.dirpath is None:
            self.dirpath = str(Path(trainer.default_root_dir) / "checkpoints")
        super().setup(trainer, pl_module, stage)
