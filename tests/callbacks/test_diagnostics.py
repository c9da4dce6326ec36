"""Diagnostics reach the log at its interval."""

import csv
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.loggers import CSVLogger

from callbacks.diagnostics import DiagnosticsLogger
from datamodules.datasets.batch import Batch
from lightning_modules.mgfusion import MGFusionTask
from models.mgfusion import MGFusionConfig
from tests.batches import MadeData, quiet_trainer


class _Task(MGFusionTask):
    reads = 0

    def log_dict(self, dictionary: Any, *args: Any, **kwargs: Any) -> None:
        self.reads += any("codebook" in name for name in dictionary)
        super().log_dict(dictionary, *args, **kwargs)

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
    task = _Task(network=network)
    trainer.fit(task, MadeData(train=12))
    assert task.reads == 3  # and not at all six steps
    with (tmp_path / "metrics.csv").open() as stream:
        rows = [row for row in csv.DictReader(stream) if row.get("train/codebook/perplexity")]
    assert [float(row["train/codebook/perplexity"]) for row in rows] == [11.0, 13.0, 15.0]


@pytest.mark.parametrize(("value", "logged"), [(3.5, "3.5"), (torch.tensor([2.0], requires_grad=True), "2.0")])
def test_numbers_and_tensors_are_logged_even_in_a_trial_run(tmp_path: Path, value: Any, logged: str) -> None:
    task = _Task(network=MGFusionConfig(channels=8, heads=2, blocks=1, use_cii=False, use_cff=False))
    task.diagnostics["bilevel/gap"] = value
    trainer = quiet_trainer(tmp_path, callbacks=[DiagnosticsLogger()], fast_dev_run=1)
    trainer.fit(task, MadeData())
    assert str(trainer.logged_metrics["train/bilevel/gap"].item()) == logged


def test_what_is_no_scalar_is_refused(tmp_path: Path) -> None:
    task = _Task(network=MGFusionConfig(channels=8, heads=2, blocks=1, use_cii=False, use_cff=False))
    task.diagnostics["codebook/usage"] = torch.zeros(4)
    trainer = quiet_trainer(tmp_path, callbacks=[DiagnosticsLogger()], max_epochs=1, limit_val_batches=0)
    with pytest.raises(ValueError, match=r"'codebook/usage'\] must be a scalar, got a tensor of shape \(4,\)"):
        trainer.fit(task, MadeData())
