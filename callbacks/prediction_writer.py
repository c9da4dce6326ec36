"""Writes fused images as PNG files, resumable and never half written."""

import json
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer

from callbacks.images import save_atomically, to_picture
from datamodules.datasets.batch import Batch, StepOutput
from image_ops.color import luma

RECORD = "predictions.json"
"""File in the output folder that says what made the pictures there."""


class PredictionWriter(Callback):
    """Saves every fused image of `predict` as `OUTPUT/<stem>.png`, at the visible image's own size.

    With several datasets each gets a folder of its name. A record in the folder says which weights made the pictures:
    finished files of the same weights are skipped by the command line before anything is computed, and a folder that
    other weights filled is refused.

    Args:
        output_dir: Where to write; `None` writes to `RUN_DIR/fused/`.
        grey: Save the fused luma alone instead of colour.
    """

    def __init__(self, output_dir: Path | None = None, grey: bool = False) -> None:
        self.output_dir = output_dir
        self.grey = grey
        self.written = 0

    def folder(self, trainer: Trainer) -> Path:
        """The folder of this run's pictures."""
        return Path(self.output_dir) if self.output_dir is not None else Path(trainer.default_root_dir) / "fused"

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Writes the pictures of one batch."""
        several = len(trainer.num_predict_batches) > 1
        self._write(self.folder(trainer), outputs, batch, several)

    def _write(self, folder: Path, outputs: StepOutput, batch: Batch, several: bool) -> None:
        fused = luma(outputs["fused"]) if self.grey else outputs["fused"]
        for image, dataset, name in zip(fused, batch["dataset"], batch["name"], strict=True):
            save_atomically(to_picture(image), picture_path(folder, dataset, name, several))
            self.written += 1


def picture_path(folder: Path, dataset: str, name: str, several: bool) -> Path:
    """Where the fused image of a pair goes."""
    return (folder / dataset if several else folder) / f"{name}.png"


def check_record(folder: Path, made_by: dict[str, str]) -> None:
    """Claims an output folder for one set of weights, or refuses it when other weights filled it.

    Raises:
        FileExistsError: If the record there names other weights or options.
    """
    record = folder / RECORD
    if record.is_file():
        found = json.loads(record.read_text(encoding="utf-8"))
        if found != made_by:
            differing = ", ".join(
                f"{key} {found.get(key)!r} there, {made_by.get(key)!r} now"
                for key in sorted(found.keys() | made_by.keys())
                if found.get(key) != made_by.get(key)
            )
            raise FileExistsError(
                f"'{folder}' holds pictures made otherwise ({differing}). Choose another --output_dir, or remove the "
                f"folder."
            )
        return
    folder.mkdir(parents=True, exist_ok=True)
    record.write_text(json.dumps(made_by, indent=2) + "\n", encoding="utf-8")
