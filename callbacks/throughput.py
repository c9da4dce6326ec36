"""How fast a run is and what it holds: pairs per second, the share of time spent waiting for data, peak memory."""

import time
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer

from ivif.machine.peak_memory import peak_resident


class Throughput(Callback):
    """Logs `perf/pairs_per_second`, `perf/data_share` and `perf/peak_memory_gb` once per training epoch or test.

    Pairs are those of all processes, counted by the first. Time between the end of one step and the start of the next
    counts as waiting for data. Memory is the device's peak on CUDA, and the process's peak resident size elsewhere.
    """

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._pairs = 0
        self._waiting = 0.0
        self._working = 0.0
        self._mark = time.perf_counter()

    def _started(self) -> None:
        now = time.perf_counter()
        self._waiting += now - self._mark
        self._mark = now

    def _ended(self, batch: Any) -> None:
        now = time.perf_counter()
        self._working += now - self._mark
        self._mark = now
        self._pairs += len(batch["name"])

    def _report(self, trainer: Trainer) -> dict[str, float]:
        total = self._working + self._waiting
        if total <= 0 or not self._pairs:
            return {}
        return {
            "perf/pairs_per_second": trainer.world_size * self._pairs / total,
            "perf/data_share": self._waiting / total,
            "perf/peak_memory_gb": peak_memory(trainer.strategy.root_device) / 2**30,
        }

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the clock."""
        self._reset()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Ends the wait for data."""
        self._started()

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Ends the step."""
        self._ended(batch)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Validation inside an epoch is neither waiting nor working."""
        self._mark = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Logs the epoch's figures."""
        pl_module.log_dict(self._report(trainer), rank_zero_only=True)

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the clock."""
        self._reset()

    def on_test_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Ends the wait for data."""
        self._started()

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Ends the step (scoring included, for callbacks run in order)."""
        self._ended(batch)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Logs the test's figures."""
        pl_module.log_dict(self._report(trainer), rank_zero_only=True)


def peak_memory(device: torch.device) -> float:
    """Peak memory of this process in bytes: what it took of a CUDA device, on any other device its resident size."""
    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated(device))
    return float(peak_resident())
