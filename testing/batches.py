"""Batches without files, tiny trainers, and networks whose statistics stand still."""

from pathlib import Path
from typing import Any, TypeVar

import torch
from lightning import LightningDataModule, Trainer
from torch import nn
from torch.utils.data import DataLoader, Dataset

from ivif.contracts.batch import Batch, Sample, batch_to_float, collate
from ivif.machine.process_group import leave_process_group_at_exit

ModuleT = TypeVar("ModuleT", bound=nn.Module)


def make_sample(index: int, size: tuple[int, int] = (24, 32), grey: bool = False, dataset: str = "made") -> Sample:
    """A smooth 8-bit pair that depends on the index alone."""
    generator = torch.Generator().manual_seed(index)
    height, width = size
    rows, columns = torch.meshgrid(torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij")
    phase = torch.rand(4, generator=generator)
    infrared = 0.5 + 0.4 * torch.sin(6 * rows + 6.28 * phase[0]) * torch.cos(5 * columns)
    visible = torch.stack([0.5 + 0.4 * torch.sin(7 * columns * (c + 1) + 6.28 * phase[c + 1]) for c in range(3)])
    visible = visible[:1].expand(3, -1, -1) if grey else visible
    return {
        "infrared": (infrared[None] * 255).round().byte(),
        "visible": (visible * 255).round().byte().contiguous(),
        "name": f"{index:04d}",
        "dataset": dataset,
        "content_id": f"{dataset}-{index}-{height}x{width}",
    }


def make_batch(count: int = 2, size: tuple[int, int] = (24, 32), grey: bool = False) -> Batch:
    """A batch as a task sees it."""
    return batch_to_float(collate([make_sample(index, size, grey) for index in range(count)]))


class MadePairs(Dataset[Sample]):
    """Samples 0..length-1 of `make_sample`."""

    def __init__(self, length: int, size: tuple[int, int] = (24, 32), dataset: str = "made") -> None:
        self.length = length
        self.size = size
        self.dataset_name = dataset

    def __len__(self) -> int:
        """How many there are."""
        return self.length

    def __getitem__(self, index: int) -> Sample:
        return make_sample(index, self.size, dataset=self.dataset_name)


class MadeData(LightningDataModule):
    """One training batch size, evaluation one by one; two test datasets of different sizes."""

    def __init__(self, train: int = 4, test: int = 3) -> None:
        super().__init__()
        self.train = train
        self.test = test

    def train_dataloader(self) -> DataLoader[Batch]:
        return DataLoader(MadePairs(self.train), batch_size=2, collate_fn=collate)  # type: ignore[arg-type]

    def val_dataloader(self) -> list[DataLoader[Batch]]:
        return self.test_dataloader()

    def test_dataloader(self) -> list[DataLoader[Batch]]:
        readers = [MadePairs(self.test), MadePairs(self.test - 1, (33, 41), "other")]
        return [DataLoader(reader, batch_size=1, collate_fn=collate) for reader in readers]  # type: ignore[arg-type]

    def predict_dataloader(self) -> list[DataLoader[Batch]]:
        return self.test_dataloader()

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        return batch_to_float(batch)


def still(task: ModuleT) -> ModuleT:
    """Keeps every BatchNorm in evaluation mode, so that statistics do not depend on the number of processes."""
    for part in task.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.eval()
            part.train = lambda _mode=True, part=part: part  # type: ignore[method-assign, misc]
    return task


def quiet_trainer(folder: Path, **options: Any) -> Trainer:
    """A CPU trainer without bars and logs; options override."""
    settings: dict[str, Any] = {
        "accelerator": "cpu",
        "devices": 1,
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": False,
        "default_root_dir": folder,
        "use_distributed_sampler": False,
        "inference_mode": False,
        "log_every_n_steps": 1,
    }
    leave_process_group_at_exit()
    return Trainer(**(settings | options))
