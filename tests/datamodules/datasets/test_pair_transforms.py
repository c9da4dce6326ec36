"""What joint transforms are made of."""

import pytest
import torch

from ivif.contracts.batch import Sample
from ivif.datamodules.datasets import pair_transforms
from ivif.datamodules.datasets.boxes import DEFAULT_RULE


def _sample() -> Sample:
    ramp = torch.arange(30, dtype=torch.uint8).view(1, 5, 6)
    return {
        "infrared": ramp,
        "visible": ramp.expand(3, 5, 6),
        "name": "a",
        "dataset": "d",
        "content_id": "c",
        "targets": {"boxes": torch.tensor([[1.0, 1.0, 4.0, 4.0]]), "labels": torch.tensor([2])},
        "mask": ramp,
        "saliency": ramp.expand(2, 5, 6).float() / 255,
    }


def test_a_window_inside_is_a_view() -> None:
    sample = _sample()
    shown = pair_transforms.window(sample, 1, 2, (3, 4), DEFAULT_RULE)
    assert torch.equal(shown["infrared"], sample["infrared"][:, 1:4, 2:6])
    assert shown["infrared"].data_ptr() == sample["infrared"][:, 1:, 2:].data_ptr()
    assert shown["targets"]["boxes"].tolist() == [[0, 0, 2, 3]]


@pytest.mark.parametrize(("top", "left"), [(-2, -1), (3, 4), (-2, 4), (-3, -2)])
def test_a_window_over_the_edge_is_grey_outside(top: int, left: int) -> None:
    sample = _sample()
    shown = pair_transforms.window(sample, top, left, (4, 4), DEFAULT_RULE)
    for row in range(4):
        for column in range(4):
            source = (row + top, column + left)
            inside = 0 <= source[0] < 5 and 0 <= source[1] < 6
            stored = int(sample["infrared"][0, source[0], source[1]]) if inside else None
            assert shown["infrared"][0, row, column] == (114 if stored is None else stored)
            assert shown["mask"][0, row, column] == (stored or 0)
            expected = (114 if stored is None else stored) / 255
            assert shown["saliency"][1, row, column].item() == pytest.approx(expected)


def test_planes_of_another_size_are_resized_with_the_pair() -> None:
    sample = _sample()
    sample["fused"] = torch.full((3, 10, 12), 9, dtype=torch.uint8)
    resized = pair_transforms.resize(sample, (10, 12), DEFAULT_RULE)
    assert resized["fused"].shape == (3, 10, 12)
    assert pair_transforms.frame_size(resized) == (10, 12)
    assert resized["targets"]["boxes"].tolist() == [[2, 2, 8, 8]]


def test_draws_reach_every_number() -> None:
    generator = torch.Generator().manual_seed(0)
    assert {pair_transforms.integer(3, generator) for _ in range(50)} == {0, 1, 2}
