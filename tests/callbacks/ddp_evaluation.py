"""Tests a classic rule on five generated scenes, with one or two processes; run by test_evaluator.py."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch

from callbacks.evaluator import Evaluator
from datamodules.configuration import LoadingConfig
from datamodules.synthetic import SyntheticDataModule
from lightning_modules.classic import ClassicFusionTask
from tests.batches import quiet_trainer


def main(folder: Path, devices: int) -> None:
    """Five is odd: with two processes the sampler repeats one scene, which must count once."""
    torch.set_num_threads(1)
    data = SyntheticDataModule(
        train_length=2, evaluation_length=5, size=(48, 56), loading=LoadingConfig(batch_size=1, num_workers=0)
    )
    trainer = quiet_trainer(
        folder,
        devices=devices,
        strategy="ddp" if devices > 1 else "auto",
        callbacks=[Evaluator(test_metrics=["EN", "SCD", "Qabf"])],
    )
    trainer.test(_OneParameter(), data, verbose=False)


class _OneParameter(ClassicFusionTask):
    """DDP refuses a module without parameters."""

    def __init__(self) -> None:
        super().__init__("average")
        self.unused = torch.nn.Parameter(torch.zeros(1))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
