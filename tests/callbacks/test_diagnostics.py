"""Diagnostics reach the log at its interval."""

import csv
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.loggers import CSVLogger

from callbacks.diagnostics import DiagnosticsLogger
from datamodules.datasets.batch import Batch
from lightning_modules.mgfusion import MGFusionTask
from models.mgfusion import MGFusionConfig
from tests.batches import MadeData, quiet_trainer


class _Task(MGFusionTask):
    def training_step(self, batch: Batch, batch_idx: int) -> Any:
        self.diagnostics["codebook/perplexity"] = torch.tensor(10.0 + self.global_step)
        return super().training_step(batch, batch_idx)


def test_what_a_task_notes_is_logged_every_nth_step(tmp_path: Path) -> None:
    network = MGFusionConfig(channels=8, heads=2, blocks=1, use_cii=False, use_cff=False)
    trainer = quiet_trainer(
        tmp_path,
        logger=CSVLogger(tmp_path, "", ""),
        callbacks=[DiagnosticsLogger()],
        log_every_n_steps=2,
        max_epochs=1,
        limit_val_batches=0,
    )
    trainer.fit(_Task(network=network), MadeData(train=12))
    with (tmp_path / "metrics.csv").open() as stream:
        rows = [row for row in csv.DictReader(stream) if row.get("train/codebook/perplexity")]
    assert [float(row["train/codebook/perplexity"]) for row in rows] == [11.0, 13.0, 15.0]
