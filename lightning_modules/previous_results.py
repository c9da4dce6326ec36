"""The store of last epoch's results that a method may be held near to (From Text to Pixels, eq 8)."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from ivif.contracts.batch import Batch
from ivif.contracts.run_files import STORE_RECORD, set_aside
from ivif.files.inside import read_inside
from ivif.files.whole import whole_file, write_whole
from ivif.image_ops.pictures import to_picture


class PreviousResults(Callback):
    """Fuses every training frame, whole and not augmented, at the end of each epoch, and keeps the lumas as pictures.

    The datamodule reads them in the next epoch (`previous_dir`). Each process writes its share; the record that makes
    the store valid is written when all are there. The store of an earlier epoch is set aside, and removed when no
    checkpoint goes back to the epoch that reads it: a resumed run reads what it would have read.

    Args:
        folder: Where the pictures go, as `FOLDER/<dataset>/<name>.png`.
        fuse: Frames -> lumas in [0, 1]; by default as the task fuses.
    """

    def __init__(self, folder: Path, fuse: Callable[[Batch], Tensor] | None = None) -> None:
        self.folder = Path(folder)
        self._fuse = fuse
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
            write_whole(record, json.dumps({"epoch": trainer.current_epoch}) + "\n")

    def _make_room(self) -> None:
        """Sets the present store aside in one step, and removes what no checkpoint needs."""
        present = stored_epoch(self.folder)
        if present is not None:
            aside = set_aside(self.folder, present)
            if stored_epoch(aside) == present:
                _remove(aside)
            if aside.exists():
                raise FileExistsError(
                    f"'{aside}' is there, and no store of epoch {present}. Move it away, or choose another "
                    f"previous_dir."
                )
            self.folder.rename(aside)
        for old in self.folder.parent.iterdir() if self.folder.parent.is_dir() else ():
            number = re.fullmatch(re.escape(self.folder.name) + r"-epoch(\d{4,})", old.name)
            if number and int(number[1]) < self._needed and stored_epoch(old) == int(number[1]):
                _remove(old)

    @torch.no_grad()
    def _write(self, trainer: Trainer, module: LightningModule, batch: Any) -> None:
        batch = trainer.strategy.batch_to_device(batch)
        fuse: Any = self._fuse or module.fuse_images
        fused = fuse(trainer.datamodule.on_after_batch_transfer(batch, 0))  # type: ignore[attr-defined]
        for dataset, name, picture in zip(batch["dataset"], batch["name"], fused.float(), strict=True):
            with whole_file(self.folder / dataset / f"{name}.png", durable=False) as stream:
                to_picture(picture).save(stream, format="PNG", compress_level=3)


def stored_epoch(folder: Path) -> int | None:
    """The epoch whose results a folder holds, as the record says that every store has; None if it is no store."""
    if folder.is_symlink():
        return None
    try:
        return int(json.loads(read_inside(folder / STORE_RECORD, folder))["epoch"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _remove(store: Path) -> None:
    """Removes a store, its record last: what a kill leaves of it is still known for a store."""
    for entry in store.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        elif entry.name != STORE_RECORD:
            entry.unlink(missing_ok=True)
    shutil.rmtree(store, ignore_errors=True)
