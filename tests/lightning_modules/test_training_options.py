"""Accumulation, clipping and half precision: the same step in less memory, for one optimiser and for several."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.plugins.precision import MixedPrecision

from ivif.bilevel import SCHEMES, BilevelConfig
from ivif.datamodules.configuration import LoadingConfig, TransformConfig
from ivif.datamodules.synthetic import SyntheticDataModule
from ivif.lightning_modules.mgfusion import MGFusionTask
from ivif.lightning_modules.optimization import AdamConfig, LevelConfig
from ivif.models.mgfusion import MGFusionConfig
from ivif.testing.batches import quiet_trainer, still
from tests.lightning_modules.tiny_bilevel import TinyBilevelTask


def _data(batch_size: int) -> SyntheticDataModule:
    loading, transforms = LoadingConfig(batch_size, num_workers=0), TransformConfig(crop=32)
    return SyntheticDataModule(train_length=8, size=(40, 48), loading=loading, transforms=transforms)


def _fit(folder: Path, task: Any, batch_size: int, **options: Any) -> dict[str, torch.Tensor]:
    settings: dict[str, Any] = {"max_epochs": 1, "limit_val_batches": 0} | options
    quiet_trainer(folder, **settings).fit(task, _data(batch_size))
    return {name: value.detach().clone() for name, value in task.named_parameters()}


def _mgfusion(**optimizer: Any) -> MGFusionTask:
    torch.manual_seed(0)
    network = MGFusionConfig(8, 1, 2, use_cii=False, use_cff=False)
    return still(MGFusionTask(network=network, optimizer=AdamConfig(**optimizer)))


def test_accumulated_batches_are_one_batch(tmp_path: Path) -> None:
    whole = _fit(tmp_path, _mgfusion(), 4)
    parts = _fit(tmp_path, _mgfusion(), 2, accumulate_grad_batches=2)
    other = _fit(tmp_path, _mgfusion(), 2)
    difference = max((whole[name] - parts[name]).abs().max().item() for name in whole)
    assert difference < 1e-5
    assert max((whole[name] - other[name]).abs().max().item() for name in whole) > 100 * difference


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_cut_batch_is_the_whole_batch_at_every_level(scheme: str, tmp_path: Path) -> None:
    runs = []
    for parts in (1, 2):
        torch.manual_seed(0)
        config = BilevelConfig(scheme=scheme, unit="step", warmup=1, synchronise_every=2, accumulate=parts)
        runs.append(_fit(tmp_path, still(TinyBilevelTask(config)), 4))
    assert max((runs[0][name] - runs[1][name]).abs().max().item() for name in runs[0]) < 1e-5


class _Norms(MGFusionTask):
    norms: list[float]

    def on_train_batch_end(self, *_: Any) -> None:
        grads = [p.grad.norm() for p in self.parameters() if p.grad is not None]
        self.norms = [*getattr(self, "norms", []), torch.stack(grads).norm().item()]


@pytest.mark.parametrize(("own", "trainer", "expected"), [(1e-3, None, 1e-3), (0.0, 2e-3, 2e-3)])
def test_one_optimiser_clips_by_its_own_number_or_the_trainers(
    own: float, trainer: float | None, expected: float, tmp_path: Path
) -> None:
    network = MGFusionConfig(8, 1, 2, use_cii=False, use_cff=False)
    task = _Norms(network=network, optimizer=AdamConfig(gradient_clip=own))
    _fit(tmp_path, task, 2, gradient_clip_val=trainer)
    assert task.norms == pytest.approx([expected] * 4, rel=1e-3)


class _LevelNorms(TinyBilevelTask):
    norms: list[float]

    def after_step(self, level: str) -> None:
        grads = [p.grad.norm() for p in self.level_modules()[level].parameters() if p.grad is not None]
        self.norms = [*getattr(self, "norms", []), torch.stack(grads).norm().item()]


def test_float16_clips_what_is_left_without_its_scale(tmp_path: Path) -> None:
    """With the scaler that a GPU has; its gradients are 65,536 times as large until they are stepped with."""
    level = LevelConfig(optimizer=AdamConfig(gradient_clip=1e-4))
    task = _LevelNorms(BilevelConfig(scheme="alternate", unit="step", warmup=0, lower_steps=1), level, level)
    before = {name: value.detach().clone() for name, value in task.named_parameters()}
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    after = _fit(tmp_path, task, 2, plugins=[MixedPrecision("16-mixed", "cpu", scaler)])
    assert task.norms == pytest.approx([1e-4] * 8, rel=1e-2)
    assert all(torch.isfinite(value).all() for value in after.values())
    assert any(not torch.equal(before[name], after[name]) for name in before)
