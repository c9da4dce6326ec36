"""The store of last epoch's results that a method may be held near to (From Text to Pixels, eq 8)."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer

from callbacks.images import save_atomically, to_picture
from datamodules.datasets.batch import STORE_RECORD, set_aside


class PreviousResults(Callback):
    """Fuses every training frame, whole and not augmented, at the end of each epoch, and keeps the lumas as pictures.

    The datamodule reads them in the next epoch (`previous_dir`). Each process writes its share; the record that makes
    the store valid is written when all are there. The store of an earlier epoch is set aside, and removed when no
    checkpoint goes back to the epoch that reads it: a resumed run reads what it would have read.

    Args:
        folder: Where the pictures go, as `FOLDER/<dataset>/<name>.png`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self._needed = -1

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Notes which epoch's store this checkpoint needs; those before it go when the next one is written."""
        self._needed = trainer.current_epoch - 1

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes the store of this epoch."""
        record = self.folder / STORE_RECORD
        if trainer.is_global_zero:
            self._make_room()
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

    def _make_room(self) -> None:
        """Sets the present store aside in one step, and removes what no checkpoint needs."""
        record = self.folder / STORE_RECORD
        if record.is_file():
            epoch = int(json.loads(record.read_text(encoding="utf-8"))["epoch"])
            aside = set_aside(self.folder, epoch)
            shutil.rmtree(aside, ignore_errors=True)
            self.folder.rename(aside)
        for old in self.folder.parent.glob(f"{self.folder.name}-epoch*"):
            if int(old.name.rpartition("epoch")[2]) < self._needed:
                shutil.rmtree(old, ignore_errors=True)

    @torch.no_grad()
    def _write(self, trainer: Trainer, module: LightningModule, batch: Any) -> None:
        batch = trainer.strategy.batch_to_device(batch)
        fused = module.fuse_images(trainer.datamodule.on_after_batch_transfer(batch, 0))  # type: ignore[attr-defined, operator]
        for dataset, name, picture in zip(batch["dataset"], batch["name"], fused.float(), strict=True):
            save_atomically(to_picture(picture), self.folder / dataset / f"{name}.png")
