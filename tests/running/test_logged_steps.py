"""Values of a step are given to Lightning where something reads them, and else only at an end."""

from pathlib import Path
from typing import Any

import pytest
from lightning import Callback
from lightning.pytorch.loggers import CSVLogger

from ivif.bilevel import BilevelConfig
from ivif.lightning_modules.mgfusion import MGFusionTask
from ivif.lightning_modules.optimization import LevelConfig
from ivif.models.mgfusion import MGFusionConfig
from ivif.testing.batches import MadeData, quiet_trainer
from tests.lightning_modules.tiny_bilevel import TinyBilevelTask


class _Noted:
    """The batches whose terms are logged, counted over epochs."""

    batch: int = 0

    def log_dict(self, dictionary: Any, *args: Any, **kwargs: Any) -> None:
        self.logged = [*getattr(self, "logged", []), self.batch]
        super().log_dict(dictionary, *args, **kwargs)  # type: ignore[misc]

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        self.batch += 1
        super().on_train_batch_start(batch, batch_idx)  # type: ignore[misc]


class _Fusion(_Noted, MGFusionTask):
    pass


class _Levels(_Noted, TinyBilevelTask):
    pass


class _Watcher(Callback):
    monitor = "train/loss"


def _fusion() -> Any:
    return _Fusion(network=MGFusionConfig(channels=8, heads=2, blocks=1, use_cii=False, use_cff=False))


def _levels() -> Any:
    return _Levels(BilevelConfig(scheme="joint"), LevelConfig(), LevelConfig())


@pytest.mark.parametrize("make", [_fusion, _levels])
@pytest.mark.parametrize(
    ("options", "logged"),
    [
        ({"max_epochs": 2}, [5, 10]),
        ({"max_steps": 7}, [5, 7]),
        ({"max_epochs": 2, "callbacks": [_Watcher()]}, [3, 5, 6, 9, 10]),
        ({"max_epochs": 2, "enable_progress_bar": True}, [3, 5, 6, 9, 10]),
        ({"max_epochs": 2, "logger": True}, [3, 5, 6, 9, 10]),
        ({"max_epochs": 2, "logger": True, "log_every_n_steps": 0}, [5, 10]),
        ({"fast_dev_run": 3, "enable_progress_bar": True}, [1, 2, 3]),
    ],
    ids=["unread", "unread, cut short", "watched", "bar", "logger", "logger without steps", "trial"],
)
def test_values_are_logged_where_they_are_read(
    make: Any, options: dict[str, Any], logged: list[int], tmp_path: Path
) -> None:
    if options.get("logger"):
        options = options | {"logger": CSVLogger(tmp_path, "", "")}
    task = make()
    trainer = quiet_trainer(tmp_path, **{"log_every_n_steps": 3, "limit_val_batches": 0} | options)
    trainer.fit(task, MadeData(train=10))
    assert sorted(set(task.logged)) == logged
    assert float(trainer.callback_metrics["train/loss"]) > 0
