"""Diagnostics reach the log at its interval."""

import csv
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from lightning.pytorch.loggers import CSVLogger

from ivif.bilevel import BilevelConfig
from ivif.callbacks.diagnostics import DiagnosticsLogger
from ivif.callbacks.gradient_norms import GradientNorms
from ivif.contracts.batch import Batch
from ivif.lightning_modules.mgfusion import MGFusionTask
from ivif.lightning_modules.optimization import AdamConfig, LevelConfig
from ivif.models.mgfusion import MGFusionConfig
from ivif.testing.batches import MadeData, quiet_trainer
from tests.lightning_modules.tiny_bilevel import TinyBilevelTask

NETWORK = MGFusionConfig(channels=8, heads=2, blocks=1, use_cii=False, use_cff=False)


class _Task(MGFusionTask):
    reads = 0

    def log_dict(self, dictionary: Any, *args: Any, **kwargs: Any) -> None:
        self.reads += any("codebook" in name for name in dictionary)
        super().log_dict(dictionary, *args, **kwargs)

    def training_step(self, batch: Batch, batch_idx: int) -> Any:
        self.diagnostics["codebook/perplexity"] = torch.tensor(10.0 + self.global_step)
        return super().training_step(batch, batch_idx)


def test_what_a_task_notes_is_logged_every_nth_step(tmp_path: Path) -> None:
    trainer = quiet_trainer(
        tmp_path,
        logger=CSVLogger(tmp_path, "", ""),
        callbacks=[DiagnosticsLogger()],
        log_every_n_steps=2,
        max_epochs=1,
        limit_val_batches=0,
    )
    task = _Task(network=NETWORK)
    trainer.fit(task, MadeData(train=12))
    assert task.reads == 3  # and not at all six steps
    with (tmp_path / "metrics.csv").open() as stream:
        rows = [row for row in csv.DictReader(stream) if row.get("train/codebook/perplexity")]
    assert [float(row["train/codebook/perplexity"]) for row in rows] == [11.0, 13.0, 15.0]


class _Sometimes(_Task):
    """Logs one value at its first step alone, and one for the whole epoch."""

    def training_step(self, batch: Batch, batch_idx: int) -> Any:
        if batch_idx == 0:
            self.log("train/first", 2.0)
        self.log("train/mean", float(batch_idx), on_step=False, on_epoch=True)
        return super().training_step(batch, batch_idx)


def test_a_row_holds_what_its_step_measured_and_an_epoch_all_of_it(tmp_path: Path) -> None:
    trainer = quiet_trainer(
        tmp_path,
        logger=CSVLogger(tmp_path, "", ""),
        callbacks=[DiagnosticsLogger()],
        max_epochs=2,
        limit_val_batches=0,
    )
    trainer.fit(_Sometimes(network=NETWORK), MadeData(train=6))
    with (tmp_path / "metrics.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    steps = [row for row in rows if row["train/loss"]]
    assert [row["train/first"] for row in steps] == ["2.0", "", "", "2.0", "", ""]
    assert [row["train/mean"] for row in rows if row["train/mean"]] == ["1.0", "1.0"]


@pytest.mark.parametrize(("value", "logged"), [(3.5, "3.5"), (torch.tensor([2.0], requires_grad=True), "2.0")])
def test_numbers_and_tensors_are_logged_even_in_a_trial_run(tmp_path: Path, value: Any, logged: str) -> None:
    task = _Task(network=NETWORK)
    task.diagnostics["bilevel/gap"] = value
    trainer = quiet_trainer(tmp_path, callbacks=[DiagnosticsLogger()], fast_dev_run=1)
    trainer.fit(task, MadeData())
    assert str(trainer.logged_metrics["train/bilevel/gap"].item()) == logged


def test_what_is_no_scalar_is_refused(tmp_path: Path) -> None:
    task = _Task(network=NETWORK)
    task.diagnostics["codebook/usage"] = torch.zeros(4)
    trainer = quiet_trainer(tmp_path, callbacks=[DiagnosticsLogger()], max_epochs=1, limit_val_batches=0)
    with pytest.raises(ValueError, match=r"'codebook/usage'\] must be a scalar, got a tensor of shape \(4,\)"):
        trainer.fit(task, MadeData())


def _norms(tmp_path: Path, task: Any, **options: Any) -> dict[str, list[float]]:
    trainer = quiet_trainer(
        tmp_path,
        logger=CSVLogger(tmp_path, "", ""),
        callbacks=[GradientNorms()],
        log_every_n_steps=2,
        max_epochs=1,
        limit_val_batches=0,
        **options,
    )
    trainer.fit(task, MadeData(train=8))
    with (tmp_path / "metrics.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    names = [name for name in rows[0] if name.endswith("gradient_norm")]
    return {name: [float(row[name]) for row in rows if row[name]] for name in names}


def test_gradient_norms_are_those_before_clipping(tmp_path: Path) -> None:
    class _Clipped(_Task):
        seen: ClassVar[list[float]] = []

        def configure_gradient_clipping(self, optimizer: Any, *values: Any, **named: Any) -> None:
            gradients = [p.grad for p in self.network.parameters() if p.grad is not None]
            self.seen.append(torch.cat([gradient.flatten() for gradient in gradients]).norm().item())
            super().configure_gradient_clipping(optimizer, *values, **named)

    task = _Clipped(network=NETWORK, optimizer=AdamConfig(gradient_clip=1e-4))
    assert _norms(tmp_path, task)["train/gradient_norm"] == pytest.approx(task.seen[1::2], rel=1e-4)


def test_each_level_has_its_gradient_norm(tmp_path: Path) -> None:
    scheme = BilevelConfig(scheme="joint")
    clipped = LevelConfig(optimizer=AdamConfig(gradient_clip=1e-6))
    found = _norms(tmp_path / "clipped", TinyBilevelTask(scheme, clipped, LevelConfig()))
    assert {name: len(values) for name, values in found.items()} == {
        "train/lower/gradient_norm": 2,
        "train/upper/gradient_norm": 2,
    }
    assert min(found["train/lower/gradient_norm"]) > 1e-5


def test_gradient_norms_that_are_switched_off_are_not_measured(tmp_path: Path) -> None:
    task = _Task(network=NETWORK)
    trainer = quiet_trainer(tmp_path, callbacks=[GradientNorms(enabled=False)], max_epochs=1, limit_val_batches=0)
    trainer.fit(task, MadeData())
    assert "train/gradient_norm" not in trainer.logged_metrics
