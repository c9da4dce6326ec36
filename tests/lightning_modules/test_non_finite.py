"""Losses and gradients that are no numbers: the run stops with their names, or leaves the batch out and counts it."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.plugins import MixedPrecision
from torch import Tensor

from ivif.bilevel import BilevelConfig
from ivif.lightning_modules.base import FusionTask
from ivif.lightning_modules.mgfusion import MGFusionTask
from ivif.lightning_modules.non_finite import SKIPPED, NonFiniteLossError
from ivif.models.mgfusion import MGFusionConfig
from ivif.testing.batches import MadeData, quiet_trainer
from tests.lightning_modules.tiny_bilevel import TinyBilevelTask


class _Poisoned(MGFusionTask):
    """Its loss, or its gradient alone, is no number at some steps."""

    def __init__(self, steps: set[int], gradient_only: bool = False) -> None:
        super().__init__(clip="random-tiny", network=MGFusionConfig(channels=8, blocks=1, heads=2))
        self.steps = steps
        self.gradient_only = gradient_only

    def losses(self, fused: Tensor, batch: Any) -> dict[str, Tensor]:
        terms = super().losses(fused, batch)
        if self.global_step in self.steps:
            spoilt = torch.sqrt((fused - fused.detach()).abs().sum()) if self.gradient_only else fused.sum() * torch.inf
            terms["gradient"] = terms["gradient"] + spoilt
        return terms


class _Weights(Callback):
    """A weight before and after each step."""

    def __init__(self) -> None:
        self.seen: list[Tensor] = []

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self.seen.append(torch.cat([own.detach().flatten().clone() for own in pl_module.parameters()]))


def _fit(task: FusionTask, folder: Path, steps: int = 4) -> list[Tensor]:
    weights = _Weights()
    torch.manual_seed(0)
    trainer = quiet_trainer(folder, max_steps=steps, limit_val_batches=0, callbacks=[weights])
    trainer.fit(task, MadeData(train=2))
    return weights.seen


@pytest.mark.parametrize("gradient_only", [False, True])
def test_a_run_stops_with_names_before_a_weight_changes(gradient_only: bool, tmp_path: Path) -> None:
    task = _Poisoned({2}, gradient_only)
    named = r"gradient is not finite at step 2 for network\." if gradient_only else r"at step 2 \(.*gradient=inf"
    with pytest.raises(NonFiniteLossError, match=rf"{named}.*made/0000, made/0001"):
        _fit(task, tmp_path)
    assert task.global_step == 2
    assert all(torch.isfinite(own).all() for own in task.parameters())


@pytest.mark.parametrize("gradient_only", [False, True])
def test_such_batches_are_left_out_and_counted_if_asked_for(gradient_only: bool, tmp_path: Path) -> None:
    task = _Poisoned({1, 2}, gradient_only)
    task.on_non_finite = "skip"
    first, second, third, fourth = _fit(task, tmp_path)
    assert not torch.equal(first, second)
    assert torch.equal(second, third)
    assert torch.equal(third, fourth)
    assert float(task.diagnostics[SKIPPED]) == 2
    assert task.global_step == 4


def test_accumulated_batches_that_are_all_left_out_make_no_step(tmp_path: Path) -> None:
    task = _Poisoned({1})
    task.on_non_finite = "skip"
    weights = _Weights()
    trainer = quiet_trainer(
        tmp_path, max_steps=3, limit_val_batches=0, accumulate_grad_batches=2, max_epochs=-1, callbacks=[weights]
    )
    trainer.fit(task, MadeData(train=4))
    after = weights.seen[::2]  # before each pair of batches
    assert len(after) == 3
    assert not torch.equal(after[0], after[1])
    assert torch.equal(after[1], after[2])  # Adam's momentum would move them
    assert float(task.diagnostics[SKIPPED]) == 2


def test_float16_stops_when_its_scale_is_not_the_reason(tmp_path: Path) -> None:
    task = _Poisoned(set(range(100)), gradient_only=True)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
    trainer = quiet_trainer(
        tmp_path, max_epochs=9, limit_val_batches=0, plugins=[MixedPrecision("16-mixed", "cpu", scaler)]
    )
    with pytest.raises(NonFiniteLossError, match=r"gradient is not finite at step .* for network\."):
        trainer.fit(task, MadeData(train=2))
    assert scaler.get_scale() == 0.5


def test_a_level_is_left_out_with_its_statistics(tmp_path: Path) -> None:
    task = TinyBilevelTask(BilevelConfig(scheme="joint"))
    task.on_non_finite, task.poison = "skip", "upper"
    statistics = {name: value.clone() for name, value in task.named_buffers()}
    weights = {name: value.detach().clone() for name, value in task.detector.named_parameters()}
    _fit(task, tmp_path, steps=3)
    assert float(task.diagnostics[SKIPPED]) == 3
    assert all(torch.equal(value, statistics[name]) for name, value in task.named_buffers())
    assert all(torch.equal(value, weights[name]) for name, value in task.detector.named_parameters())


def test_a_run_that_only_leaves_out_ends(tmp_path: Path) -> None:
    task = _Poisoned(set(range(100)))
    task.on_non_finite, task.skips_allowed = "skip", 3
    with pytest.raises(NonFiniteLossError, match="3 batches before it were left out"):
        _fit(task, tmp_path, steps=100)
    assert float(task.diagnostics[SKIPPED]) == 3
