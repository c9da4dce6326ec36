"""Pictures with a bright box, and targets, for tests of detectors."""

import torch
from torch import Tensor

from ivif.contracts.batch import Targets

NAMES = ("person", "bicycle", "car")


def scenes(count: int = 2, size: tuple[int, int] = (64, 96)) -> tuple[Tensor, list[Targets]]:
    """Noise with one bright rectangle each, of alternating class."""
    generator = torch.Generator().manual_seed(0)
    images = 0.3 * torch.rand(count, 3, *size, generator=generator)
    targets: list[Targets] = []
    for index in range(count):
        left, top = 8 + 10 * index, 12 + 4 * index
        images[index, index % 3, top : top + 32, left : left + 40] = 1.0
        box = torch.tensor([[left, top, left + 40, top + 32]], dtype=torch.float32)
        targets.append({"boxes": box, "labels": torch.tensor([index % 3])})
    return images, targets


def nothing() -> Targets:
    """An image without objects."""
    return {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}
