"""All flips and turns at once."""

from typing import Literal

import pytest
import torch

from ivif.contracts.batch import Sample
from ivif.datamodules.datasets.flips import RandomTurn
from ivif.datamodules.datasets.transforms import (
    Compose,
    RandomHorizontalFlip,
    RandomRotate90,
    RandomVerticalFlip,
    Transform,
)


def _sample(height: int, width: int) -> Sample:
    visible = torch.arange(height * width * 3).remainder(251).to(torch.uint8).view(height, width, 3).permute(2, 0, 1)
    boxes = torch.tensor([[1.0, 2.0, 4.5, 7.0], [0.0, 0.0, 3.0, 1.0]])
    return {
        "infrared": torch.arange(height * width).view(1, height, width) / (height * width),
        "visible": visible,
        "name": "a",
        "dataset": "d",
        "content_id": "c",
        "targets": {"boxes": boxes, "labels": torch.tensor([0, 1])},
        "mask": visible[:1],
    }


@pytest.mark.parametrize("size", [(8, 8), (8, 12)])
@pytest.mark.parametrize(("flip", "rotate90"), [(True, True), (True, False), (False, True), ("horizontal", False)])
def test_it_is_the_three_in_a_row(size: tuple[int, int], flip: bool | Literal["horizontal"], rotate90: bool) -> None:
    three: list[Transform] = [RandomHorizontalFlip()] if flip else []
    three += [RandomVerticalFlip()] if flip is True else []
    three += [RandomRotate90()] if rotate90 else []
    results = set()
    for seed in range(40):
        generators = [torch.Generator().manual_seed(seed) for _ in range(2)]
        expected = Compose(three)(_sample(*size), generators[0])
        turned = RandomTurn(flip, rotate90)(_sample(*size), generators[1])
        assert torch.equal(turned["infrared"], expected["infrared"])
        assert torch.equal(turned["visible"], expected["visible"])
        assert torch.equal(turned["mask"], expected["mask"])
        assert torch.equal(turned["targets"]["boxes"], expected["targets"]["boxes"])
        assert turned["visible"].is_contiguous()
        assert torch.equal(*(generator.get_state() for generator in generators)), "it draws as often"
        results.add(turned["infrared"].numpy().tobytes())
    if flip == "horizontal":
        assert len(results) == 2
        return
    assert len(results) == (8 if flip and rotate90 and size[0] == size[1] else 4 if size[0] == size[1] or flip else 2)


def test_the_input_stays_as_it_is() -> None:
    sample = _sample(8, 8)
    for seed in range(8):
        RandomTurn()(sample, torch.Generator().manual_seed(seed))
    assert torch.equal(sample["visible"], _sample(8, 8)["visible"])
    assert torch.equal(sample["targets"]["boxes"], _sample(8, 8)["targets"]["boxes"])
