"""A run that is stopped at any batch and resumed ends with the very weights of an undisturbed one."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback, LightningModule, Trainer

from callbacks.run_checkpoint import RunCheckpoint
from datamodules.configuration import LoadingConfig, TransformConfig
from datamodules.synthetic import SyntheticDataModule
from lightning_modules.mgfusion import MGFusionTask
from models.mgfusion import MGFusionConfig
from tests.batches import quiet_trainer


class _StopError(Exception):
    """Stands for whatever ends a process."""


class _Stop(Callback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if trainer.global_step == self.step:
            raise _StopError


class _Names(Callback):
    def __init__(self) -> None:
        self.seen: list[list[str]] = []

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        self.seen.append(batch["name"])


def _run(folder: Path, workers: int, callbacks: list[Callback], resume: Path | None = None) -> MGFusionTask:
    torch.manual_seed(7)
    task = MGFusionTask(clip="random-tiny", network=MGFusionConfig(channels=8, blocks=1, heads=2))
    data = SyntheticDataModule(
        train_length=8,
        size=(40, 48),
        loading=LoadingConfig(batch_size=2, num_workers=workers),
        transforms=TransformConfig(crop=32, jitter=0.2),
    )
    trainer = quiet_trainer(
        folder,
        max_epochs=3,
        limit_val_batches=0,
        enable_checkpointing=True,
        callbacks=[*callbacks, RunCheckpoint(every_n_train_steps=1)],
    )
    trainer.fit(task, data, ckpt_path=resume, weights_only=True)
    return task


@pytest.mark.parametrize(("stop", "workers"), [(3, 0), (4, 0), (6, 0), (6, 2), (8, 2)])
def test_resumed_equals_undisturbed_bit_for_bit(stop: int, workers: int, tmp_path: Path) -> None:
    names, stopped, resumed = _Names(), _Names(), _Names()
    complete = _run(tmp_path / "complete", workers, [names])
    with pytest.raises(_StopError):
        _run(tmp_path / "stopped", workers, [stopped, _Stop(stop)])
    checkpoint = tmp_path / "stopped" / "checkpoints" / "last.ckpt"
    again = _run(tmp_path / "resumed", workers, [resumed], checkpoint)
    assert stopped.seen + resumed.seen == names.seen
    for name, value in complete.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
