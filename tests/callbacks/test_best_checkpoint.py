"""Which checkpoints stay, by what and when."""

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback, LightningModule, Trainer

from ivif.bilevel import BilevelConfig
from ivif.callbacks.run_checkpoint import RunCheckpoint
from ivif.testing.batches import MadeData, quiet_trainer
from tests.lightning_modules.tiny_bilevel import TinyBilevelTask


class _Scores(Callback):
    """Logs a made-up score at each validation: best after the second epoch."""

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        pl_module.log("val/score", torch.tensor([0.2, 0.9, 0.5][trainer.current_epoch]))


def _fit(folder: Path, checkpoint: RunCheckpoint, **options: Any) -> set[str]:
    """Two levels, so by manual optimisation; four steps in each of three epochs."""
    settings = {"max_epochs": 3, "enable_checkpointing": True, "callbacks": [_Scores(), checkpoint]} | options
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*(could not find the monitored key|pre-optimization state).*")
        quiet_trainer(folder, **settings).fit(TinyBilevelTask(BilevelConfig(scheme="joint")), MadeData(train=8, test=2))
    return {path.name for path in (folder / "checkpoints").iterdir()}


@pytest.mark.parametrize("every", [None, 3])
def test_the_best_validation_stays_beside_the_newest_state(every: int | None, tmp_path: Path) -> None:
    checkpoint = RunCheckpoint(every_n_train_steps=every, monitor="val/score")
    assert _fit(tmp_path, checkpoint) == {"epoch0001-step0000008.ckpt", "last.ckpt"}
    assert float(checkpoint.best_model_score or 0) == pytest.approx(0.9)
    assert torch.load(checkpoint.best_model_path, weights_only=True)["global_step"] == 8
    assert torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 12


def test_without_validation_the_newest_state_stays(tmp_path: Path) -> None:
    assert _fit(tmp_path, RunCheckpoint(monitor="val/score"), limit_val_batches=0) == {"last.ckpt"}


def test_minutes_ask_for_checkpoints_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[int] = []
    save = Trainer.save_checkpoint

    def noted(self: Trainer, path: str, *rest: Any, **options: Any) -> None:
        saved.append(self.global_step)
        save(self, path, *rest, **options)

    monkeypatch.setattr(Trainer, "save_checkpoint", noted)
    checkpoint = RunCheckpoint(every_n_train_steps=1000, save_top_k=0, every_minutes=1e-9)
    _fit(tmp_path, checkpoint, max_epochs=1)
    assert saved == [1, 2, 3, 4]
    with pytest.raises(ValueError, match="every_minutes is 0"):
        RunCheckpoint(every_minutes=0)
