"""Callbacks for runs that tests disturb: how long a step takes, and what each process ended with."""

import time
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer


class Pace(Callback):
    """Makes every step, and every batch of `predict`, take some seconds more.

    Args:
        seconds: How many.
    """

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Waits."""
        time.sleep(self.seconds)

    def on_predict_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Waits."""
        time.sleep(self.seconds)


class RankWeights(Callback):
    """Writes `RUN_FOLDER/rank<number>.pt` when training ends."""

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes this process's weights."""
        torch.save(pl_module.state_dict(), Path(trainer.default_root_dir) / f"rank{trainer.global_rank}.pt")


class SpawnedWorkers(Callback):
    """Lets loaders start their processes as macOS does, and Python 3.14 in a like way: anew, not as copies."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Sets it for the whole process."""
        torch.multiprocessing.set_start_method("spawn", force=True)


class LingeringFirst(Callback):
    """Keeps the first process busy after an error or a stop, as loggers that upload do.

    Args:
        seconds: For how long.
    """

    def __init__(self, seconds: float = 8.0) -> None:
        self.seconds = seconds

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Waits."""
        if trainer.is_global_zero:
            time.sleep(self.seconds)
