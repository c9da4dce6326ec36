"""Tests a classic rule on five generated scenes, with one or two processes; run by test_evaluator.py."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch

from callbacks.evaluator import Evaluator
from datamodules.configuration import LoadingConfig
from datamodules.datasets.batch import Batch, StepOutput
from datamodules.datasets.synthetic import SyntheticDataset
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
    trainer.test(OneParameter(), data, verbose=False)


class OneParameter(ClassicFusionTask):
    """DDP refuses a module without parameters. "Finds" some of the objects, a little beside their places."""

    scores_detection = True

    def __init__(self) -> None:
        super().__init__("average")
        self.unused = torch.nn.Parameter(torch.zeros(1))
        self.class_names = SyntheticDataset.classes

    def fuse(self, batch: Batch) -> StepOutput:
        output = super().fuse(batch)
        output["detections"] = []
        for name, target in zip(batch["name"], batch["targets"], strict=True):
            generator = torch.Generator().manual_seed(sum(map(ord, name)))
            count = len(target["labels"])
            moved = target["boxes"] + 3 * torch.rand(count, 1, generator=generator)
            scores = torch.rand(count, generator=generator)
            output["detections"].append({"boxes": moved, "scores": scores, "labels": target["labels"]})
        return output


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
