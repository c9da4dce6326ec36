"""The frame around a bilevel solver: counting, schedules, logging, refusals, precision, resuming."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger

from ivif.bilevel import SCHEMES, BilevelConfig
from ivif.callbacks.run_checkpoint import RunCheckpoint
from ivif.contracts import plugins
from ivif.datamodules.configuration import LoadingConfig, TransformConfig
from ivif.datamodules.synthetic import SyntheticDataModule
from ivif.lightning_modules.non_finite import NonFiniteLossError
from ivif.lightning_modules.optimization import AdamConfig, LevelConfig, WarmupDecayConfig
from ivif.testing.batches import quiet_trainer
from tests.bilevel.foreign_scheme import installed
from tests.lightning_modules.tiny_bilevel import TinyBilevelTask

BY_STEPS = BilevelConfig(unit="step", warmup=2, synchronise_every=2)


def _task(scheme: str, **changes: Any) -> TinyBilevelTask:
    torch.manual_seed(7)
    return TinyBilevelTask(replace(BY_STEPS, scheme=scheme, **changes))


def _data(workers: int = 0) -> SyntheticDataModule:
    return SyntheticDataModule(
        train_length=8,
        size=(40, 48),
        loading=LoadingConfig(batch_size=2, num_workers=workers),
        transforms=TransformConfig(crop=32),
    )


def _fit(folder: Path, task: TinyBilevelTask, resume: Path | None = None, **options: Any) -> Trainer:
    settings: dict[str, Any] = {"max_epochs": 2, "limit_val_batches": 0} | options
    trainer = quiet_trainer(folder, **settings)
    trainer.fit(task, _data(), ckpt_path=resume, weights_only=True)
    return trainer


@pytest.mark.parametrize("scheme", SCHEMES)
def test_one_batch_is_one_step_of_the_run(scheme: str, tmp_path: Path) -> None:
    task = _task(scheme)
    trainer = _fit(tmp_path, task, max_epochs=-1, max_steps=5)
    assert trainer.global_step == 5
    assert {"lower", "upper"} <= set(task.steps)


def test_the_value_function_steps_all_three_players(tmp_path: Path) -> None:
    task = _task("value_function")
    _fit(tmp_path, task, max_epochs=-1, max_steps=5)
    assert task.steps[4:] == ["value", "value", "lower", "lower", "upper"] * 3  # after two iterations of warm-up


def test_a_foreign_scheme_trains_and_a_checkpoint_has_its_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plugins, "installed", installed)
    task = _task("trade", options={"share": 0.25})
    _fit(tmp_path, task, max_epochs=-1, max_steps=3).save_checkpoint(tmp_path / "last.ckpt")
    assert task.steps == ["lower", "upper"] * 3
    again = TinyBilevelTask.load_from_checkpoint(tmp_path / "last.ckpt", weights_only=True)
    assert again.bilevel_config == task.bilevel_config
    assert again.bilevel_config.options == {"share": 0.25}


class _StopError(Exception):
    """Stands for whatever ends a process."""


class _Stop(Callback):
    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if trainer.global_step == 5:
            raise _StopError


@pytest.mark.parametrize("scheme", SCHEMES)
def test_resumed_equals_undisturbed_bit_for_bit(scheme: str, tmp_path: Path) -> None:
    options: dict[str, Any] = {"enable_checkpointing": True}
    complete, stopped, again = _task(scheme), _task(scheme), _task(scheme)
    _fit(tmp_path / "complete", complete, callbacks=[RunCheckpoint(every_n_train_steps=1)], **options)
    with pytest.raises(_StopError):
        _fit(tmp_path / "stopped", stopped, callbacks=[_Stop(), RunCheckpoint(every_n_train_steps=1)], **options)
    checkpoint = tmp_path / "stopped" / "checkpoints" / "last.ckpt"
    _fit(tmp_path / "again", again, checkpoint, callbacks=[RunCheckpoint(every_n_train_steps=1)], **options)
    assert again.steps == complete.steps[len(complete.steps) - len(again.steps) :]
    for name, value in complete.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


def test_each_level_has_its_own_schedule(tmp_path: Path) -> None:
    rates: list[tuple[float, float]] = []

    class _Rates(Callback):
        def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
            lower, upper = trainer.optimizers[:2]
            rates.append((lower.param_groups[0]["lr"], upper.param_groups[0]["lr"]))

    decay = WarmupDecayConfig(start=1.0, peak=1.0, end=0.01, warmup_fraction=0.0, decay="exponential")
    rise = WarmupDecayConfig(start=0.0, peak=0.8, end=0.8, warmup_fraction=0.5)
    task = TinyBilevelTask(
        replace(BY_STEPS, scheme="alternate"), LevelConfig(schedule=decay), LevelConfig(AdamConfig(), rise)
    )
    _fit(tmp_path, task, callbacks=[_Rates()])
    assert [rate for rate, _ in rates] == pytest.approx([0.01 ** (step / 8) for step in range(8)])
    assert [rate for _, rate in rates] == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 0.8, 0.8, 0.8])


def test_a_level_is_clipped_by_its_own_norm(tmp_path: Path) -> None:
    norms: dict[str, list[float]] = {"lower": [], "upper": []}

    class _Task(TinyBilevelTask):
        def after_step(self, level: str) -> None:
            grads = [p.grad for p in self.level_modules()[level].parameters() if p.grad is not None]
            norms[level].append(torch.stack([grad.norm() for grad in grads]).norm().item())

    clipped = LevelConfig(optimizer=AdamConfig(gradient_clip=1e-3))
    _fit(tmp_path, _Task(replace(BY_STEPS, scheme="alternate"), LevelConfig(), clipped))
    assert norms["upper"] == pytest.approx([1e-3] * 8, rel=1e-3)
    assert min(norms["lower"]) > 2e-3


def test_terms_are_logged_by_level(tmp_path: Path) -> None:
    _fit(tmp_path, _task("value_function"), logger=CSVLogger(tmp_path, "", ""))
    log = (tmp_path / "metrics.csv").read_text().splitlines()
    columns = set(log[0].split(","))
    assert {"train/loss", "train/lower/mean", "train/upper/found", "train/value/mean", "train/lower/loss"} <= columns
    assert len(log) == 1 + 8


@pytest.mark.parametrize("level", ["lower", "upper", "value"])
def test_a_loss_that_is_no_number_stops_before_any_step(level: str, tmp_path: Path) -> None:
    task = _task("value_function", warmup=0)
    task.poison = level
    before = {name: value.clone() for name, value in task.state_dict().items() if "running" not in name}
    with pytest.raises(NonFiniteLossError, match=rf"The {level} level loss is not finite at step 0 .*synthetic/"):
        _fit(tmp_path, task)
    changed = [
        name
        for name, value in before.items()
        if "num_batches" not in name and not torch.equal(value, task.state_dict()[name])
    ]
    owner = {"lower": "fusion", "upper": "detector", "value": "value"}[level]
    assert not any(name.startswith(owner) for name in changed)


def test_bfloat16_trains(tmp_path: Path) -> None:
    task = _task("value_function")
    before = task.fusion.get_parameter("0.weight").detach().clone()
    _fit(tmp_path, task, precision="bf16-mixed")
    assert not torch.equal(before, task.fusion.get_parameter("0.weight"))
    assert all(torch.isfinite(value).all() for value in task.state_dict().values())


def test_accumulation_needs_no_other_data(tmp_path: Path) -> None:
    task = _task("joint", accumulate=2)
    assert _fit(tmp_path, task).global_step == 8
    assert task.steps.count("upper") == 8
