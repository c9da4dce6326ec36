"""Trains a task on generated scenes for two epochs in some processes, and saves what each process ended with."""

import sys
from importlib import import_module
from pathlib import Path

import torch
from lightning import LightningModule, Trainer

from ivif.datamodules.configuration import LoadingConfig, TransformConfig
from ivif.datamodules.synthetic import SyntheticDataModule
from ivif.testing.batches import quiet_trainer, still


def train(task: LightningModule, folder: Path, processes: int, batch_size: int, epochs: int = 2) -> Trainer:
    """Fits with BatchNorm in evaluation mode, so that statistics are the same for any number of processes."""
    torch.set_num_threads(1)
    data = SyntheticDataModule(
        train_length=8,
        size=(40, 48),
        loading=LoadingConfig(batch_size=batch_size, num_workers=0),
        transforms=TransformConfig(crop=32),
    )
    strategy = "ddp_find_unused_parameters_true" if processes > 1 else "auto"
    trainer = quiet_trainer(folder, devices=processes, strategy=strategy, max_epochs=epochs, limit_val_batches=0)
    trainer.fit(still(task), data)
    torch.save(task.state_dict(), folder / f"rank{trainer.global_rank}_of_{processes}.pt")
    return trainer


if __name__ == "__main__":
    module, _, name = sys.argv[1].partition(":")
    torch.manual_seed(0)
    tests = getattr(import_module(module), name)()
    train(tests.steady_task(), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
