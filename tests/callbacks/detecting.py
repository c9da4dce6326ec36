"""A task that "detects" the objects of the first image of each dataset, and data with boxes in one dataset of two."""

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ivif.contracts.batch import Batch, Sample, StepOutput, collate
from ivif.lightning_modules.classic import ClassicFusionTask
from ivif.testing.batches import MadeData, MadePairs

BOX = [4.0, 4.0, 20.0, 16.0]


class DetectingTask(ClassicFusionTask):
    """Averages, and finds every `BOX` as a person with a score of .9 unless the pair's name is 0001."""

    scores_detection = True

    def __init__(self) -> None:
        super().__init__("average")
        self.class_names = ("person", "car")

    def fuse(self, batch: Batch) -> StepOutput:
        output = super().fuse(batch)
        output["detections"] = [
            {"boxes": torch.tensor([BOX]), "scores": torch.tensor([0.9]), "labels": torch.tensor([int(name == "0001")])}
            for name in batch["name"]
        ]
        return output


class _WithBoxes(Dataset[Sample]):
    def __init__(self, length: int) -> None:
        self.pairs = MadePairs(length)

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Sample:
        sample = self.pairs[index]
        sample["targets"] = {"boxes": torch.tensor([BOX]), "labels": torch.zeros(1, dtype=torch.int64)}
        return sample


class DataWithBoxes(MadeData):
    """`made` has one person per pair, `other` has no boxes at all."""

    def test_dataloader(self) -> list[DataLoader[Batch]]:
        readers: list[Dataset[Sample]] = [_WithBoxes(self.test), MadePairs(self.test - 1, (33, 41), "other")]
        return [DataLoader(reader, batch_size=1, collate_fn=collate) for reader in readers]  # type: ignore[arg-type]


def pixels(picture: Tensor) -> Tensor:
    """Rows and columns of a picture that are not black."""
    return picture.sum(dim=-1) > 0
