"""The store of last epoch's results that a method may be held near to (From Text to Pixels, eq 8)."""

import json
import os
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer

from callbacks.images import save_atomically, to_picture
from datamodules.datasets.batch import STORE_RECORD


class PreviousResults(Callback):
    """Fuses every training frame, whole and not augmented, at the end of each epoch, and keeps the lumas as pictures.

    The datamodule reads them in the next epoch (`previous_dir`). Each process writes its share; the record that makes
    the store valid is written when all are there. An interrupted write leaves no valid store: the epoch after a resume
    then goes without.

    Args:
        folder: Where the pictures go, as `FOLDER/<dataset>/<name>.png`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes the store of this epoch."""
        record = self.folder / STORE_RECORD
        if trainer.is_global_zero:
            record.unlink(missing_ok=True)
        trainer.strategy.barrier()
        training = pl_module.training
        pl_module.eval()
        for loader in trainer.datamodule.frame_loaders("train"):  # type: ignore[attr-defined]
            for batch in loader:
                self._write(trainer, pl_module, batch)
        pl_module.train(training)
        trainer.strategy.barrier()
        if trainer.is_global_zero:
            self.folder.mkdir(parents=True, exist_ok=True)
            partial = record.with_name(f".{STORE_RECORD}.{os.getpid()}.partial")
            partial.write_text(json.dumps({"epoch": trainer.current_epoch}) + "\n", encoding="utf-8")
            partial.replace(record)

    @torch.no_grad()
    def _write(self, trainer: Trainer, module: LightningModule, batch: Any) -> None:
        batch = trainer.strategy.batch_to_device(batch)
        fused = module.fuse_images(trainer.datamodule.on_after_batch_transfer(batch, 0))  # type: ignore[attr-defined, operator]
        for dataset, name, picture in zip(batch["dataset"], batch["name"], fused.float(), strict=True):
            save_atomically(to_picture(picture), self.folder / dataset / f"{name}.png")
