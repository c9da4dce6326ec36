"""Letterbox, box formats and suppression against hand-made cases."""

import pytest
import torch

from models.detection.postprocess import GREY, letterbox, relative_boxes, suppress


def test_a_native_size_is_only_padded_to_the_stride() -> None:
    images = torch.rand(1, 3, 50, 70)
    inputs, box = letterbox(images, None, 32)
    assert inputs.shape == (1, 3, 64, 96)
    assert (box.top, box.left) == (7, 13)
    assert torch.equal(inputs[..., 7:57, 13:83], images)
    assert torch.allclose(inputs[..., 0, 0], torch.tensor(GREY))
    assert box.to_network(torch.tensor([[0.0, 0, 70, 50]])).tolist() == [[13, 7, 83, 57]]


def test_the_longer_side_becomes_the_size() -> None:
    inputs, box = letterbox(torch.rand(1, 3, 240, 320), 160, 32)
    assert inputs.shape == (1, 3, 128, 160)
    assert (box.scale_x, box.scale_y, box.top, box.left) == (0.5, 0.5, 4, 0)


@pytest.mark.parametrize("size", [(123, 77), (50, 70), (1, 31), (640, 480)])
@pytest.mark.parametrize("longer", [None, 64, 100])
def test_boxes_come_back(size: tuple[int, int], longer: int | None) -> None:
    _, box = letterbox(torch.zeros(1, 3, *size), longer, 32)
    boxes = torch.tensor([[0.0, 0, size[1], size[0]], [size[1] / 4, size[0] / 3, size[1] / 2, size[0] / 2]])
    assert torch.allclose(box.to_image(box.to_network(boxes)), boxes, atol=1e-3)


def test_detections_beyond_the_border_are_cut() -> None:
    _, box = letterbox(torch.zeros(1, 3, 50, 70), None, 32)
    assert box.to_image(torch.tensor([[0.0, 0, 96, 64]])).tolist() == [[0, 0, 70, 50]]


def test_targets_become_relative_centres() -> None:
    _, box = letterbox(torch.zeros(2, 3, 64, 96), None, 32)
    empty = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}
    one = {"boxes": torch.tensor([[24.0, 16, 72, 48]]), "labels": torch.tensor([2])}
    owners, labels, boxes = relative_boxes([empty, one], box, (64, 96))  # type: ignore[list-item]
    assert owners.tolist() == [1]
    assert labels.tolist() == [[2]]
    assert torch.allclose(boxes, torch.tensor([[0.5, 0.5, 0.5, 0.5]]))


def test_suppression_is_per_class_and_sorted() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [1, 0, 11, 10], [30, 30, 40, 40]])
    scores = torch.tensor([[0.5, 0.0], [0.9, 0.2], [0.3, 0.0]])
    kept = suppress(boxes, scores, 0.1, 0.6, 300)
    assert kept["scores"].tolist() == pytest.approx([0.9, 0.3, 0.2])
    assert kept["labels"].tolist() == [0, 0, 1]
    assert kept["boxes"][0].tolist() == [1, 0, 11, 10]
    assert len(suppress(boxes, scores, 0.1, 0.6, 1)["scores"]) == 1
    assert len(suppress(boxes, scores, 0.95, 0.6, 300)["scores"]) == 0
