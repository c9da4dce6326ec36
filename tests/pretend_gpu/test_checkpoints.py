"""Checkpoints that are written on the pretend device, resumed there and read elsewhere; batches that are left out."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback, LightningModule, Trainer

from lightning_modules.finite import SKIPPED
from tests.pretend_gpu.runs import build, data, state
from tests.pretend_gpu.trainers import PretendAccelerator, gpu_trainer
from tests.resuming import AskToStop, differences, last, make_task, train


def _on_device(folder: Path, kind: str, *callbacks: Callback, resume: Path | None = None) -> Trainer:
    from lightning.pytorch.strategies import SingleDeviceStrategy

    strategy = SingleDeviceStrategy(device="gpu:0")
    return train(folder, kind, callbacks, resume, accelerator=PretendAccelerator(), strategy=strategy)


@pytest.mark.parametrize("kind", ["text_to_pixels", "promptfusion"])
def test_a_resumed_run_ends_like_one_that_was_not_stopped(kind: str, gpu: torch.device, tmp_path: Path) -> None:
    """And like the run on the CPU: codebook, averages, teacher, both optimisers, the solver's state."""
    _on_device(tmp_path / "whole", kind)
    _on_device(tmp_path / "resumed", kind, AskToStop(7))
    _on_device(tmp_path / "resumed", kind, resume=last(tmp_path / "resumed"))
    assert differences(tmp_path / "whole", tmp_path / "resumed") == []
    on_device = torch.load(last(tmp_path / "whole"), map_location="cpu", weights_only=True)
    train(tmp_path / "host", kind)
    on_host = torch.load(last(tmp_path / "host"), map_location="cpu", weights_only=True)
    weights, reference = on_device["state_dict"], on_host["state_dict"]
    assert [name for name in reference if not torch.equal(weights[name], reference[name])] == []
    assert any(name.endswith("n_averaged") for name in weights)
    task = make_task(kind)
    task.load_state_dict(weights)
    assert all(torch.equal(value, weights[name]) for name, value in task.state_dict().items())


class _Poison(Callback):
    """Makes the pictures of one batch no numbers."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if trainer.fit_loop.epoch_loop.batch_progress.total.ready == self.step:
            batch["infrared"].fill_(torch.nan)


@pytest.mark.parametrize("kind", ["mgfusion", "text_to_pixels, value_function"])
def test_a_batch_that_is_no_number_is_left_out(kind: str, gpu: torch.device, tmp_path: Path) -> None:
    task = build(kind, tmp_path)
    task.on_non_finite = "skip"
    gpu_trainer(tmp_path, max_epochs=1, limit_val_batches=0, callbacks=[_Poison(2)]).fit(task, data(task))
    assert int(task.diagnostics[SKIPPED]) == 1
    assert all(value.isfinite().all() for value in state(task).values())
