"""Lightning on the pretend device: it moves modules and batches there by itself, as it does to a GPU."""

from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.accelerators.accelerator import Accelerator
from lightning.pytorch.strategies import SingleDeviceStrategy

from ivif.testing.batches import quiet_trainer
from tests.pretend_gpu.device import install
from tests.pretend_gpu.waits import Waits, counted


class PretendAccelerator(Accelerator):
    """The pretend device, as Lightning sees one."""

    def setup_device(self, device: torch.device) -> None:
        """Nothing to choose."""

    def teardown(self) -> None:
        """Nothing to give back."""

    @staticmethod
    def parse_devices(devices: Any) -> list[int]:  # noqa: ARG004
        return [0]

    @staticmethod
    def get_parallel_devices(devices: Any) -> list[torch.device]:  # noqa: ARG004
        return [install()]

    @staticmethod
    def auto_device_count() -> int:
        return 1

    @staticmethod
    def is_available() -> bool:
        return True

    @staticmethod
    def name() -> str:
        return "pretend"


def gpu_trainer(folder: Path, **options: Any) -> Trainer:
    """`quiet_trainer`, on the pretend device."""
    strategy = SingleDeviceStrategy(device=install())
    return quiet_trainer(folder, **({"accelerator": PretendAccelerator(), "strategy": strategy} | options))


class WaitsPerStep(Callback):
    """Counts what the host waits for from the beginning of each training step to the beginning of the next.

    So the transfer of the next batch and all callbacks belong to a step; the last one of an epoch has its end as well.
    """

    def __init__(self) -> None:
        self.steps: list[Waits] = []
        self._counting: Any = None

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Begins a step."""
        self._close()
        self._counting = counted()
        self.steps.append(self._counting.__enter__())

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Ends the last one."""
        self._close()

    def _close(self) -> None:
        if self._counting is not None:
            self._counting.__exit__(None, None, None)
            self._counting = None
