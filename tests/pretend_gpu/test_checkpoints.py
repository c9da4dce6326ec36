"""Checkpoints that are written on the pretend device, resumed there and read elsewhere; batches that are left out."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import SingleDeviceStrategy
from torch import Tensor

from ivif.callbacks.stop_requests import RunStoppedError
from ivif.lightning_modules.non_finite import SKIPPED
from tests.pretend_gpu.runs import build, data, state
from tests.pretend_gpu.trainers import PretendAccelerator, gpu_trainer
from tests.resuming import AskToStop, differences, last, make_task, train


def _on_device(folder: Path, kind: str, *callbacks: Callback, resume: Path | None = None) -> Trainer:
    strategy = SingleDeviceStrategy(device="gpu:0")
    return train(folder, kind, callbacks, resume, max_epochs=1, accelerator=PretendAccelerator(), strategy=strategy)


@pytest.mark.slow
def test_a_resumed_run_ends_like_one_that_was_not_stopped(gpu: torch.device, tmp_path: Path) -> None:
    """Codebook, running average, teacher, optimisers, the solver's state; what is saved here is read on a CPU."""
    _on_device(tmp_path / "whole", "text_to_pixels")
    with pytest.raises(RunStoppedError):
        _on_device(tmp_path / "resumed", "text_to_pixels", AskToStop(2))
    _on_device(tmp_path / "resumed", "text_to_pixels", resume=last(tmp_path / "resumed"))
    assert differences(tmp_path / "whole", tmp_path / "resumed") == []
    weights = torch.load(last(tmp_path / "whole"), map_location="cpu", weights_only=True)["state_dict"]
    assert int(weights["part.average.n_averaged"]) == 4 * int(weights["teacher.count"]) == 4
    task = make_task("text_to_pixels")
    task.load_state_dict(weights)
    loaded = task.state_dict()
    assert {value.device.type for value in loaded.values()} == {"cpu"}
    assert all(torch.equal(value, weights[name]) for name, value in loaded.items())


class _Poison(Callback):
    """Makes the terms of one batch's loss no numbers."""

    def __init__(self, batch: int) -> None:
        self.batch = batch
        self.seen = 0

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        name = "losses" if pl_module.automatic_optimization else "weighted"
        original = getattr(type(pl_module), name)
        self.seen += 1

        def poisoned(first: Any, *args: Any, **options: Any) -> Any:
            """Spoils what `losses` returns, or the terms that `weighted` is given."""
            if name == "weighted":
                return original(pl_module, _spoilt(first), *args, **options)
            return _spoilt(original(pl_module, first, *args))

        setattr(pl_module, name, poisoned if self.seen == self.batch else partial(original, pl_module))


def _spoilt(terms: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: term * torch.nan for name, term in terms.items()}


@pytest.mark.parametrize("kind", ["mgfusion", "text_to_pixels, value_function"])
def test_a_batch_that_is_no_number_is_left_out(kind: str, gpu: torch.device, tmp_path: Path) -> None:
    task = build(kind, tmp_path)
    task.on_non_finite = "skip"
    gpu_trainer(tmp_path, max_epochs=2, limit_val_batches=0, callbacks=[_Poison(2)]).fit(task, data(task))
    assert int(task.diagnostics[SKIPPED]) == 1
    assert all(value.isfinite().all() for value in state(task).values())
