"""Letterbox, box formats and suppression against hand-made cases."""

import pytest
import torch

from ivif.contracts.batch import Targets
from ivif.models.detection.postprocess import GREY, letterbox, relative_boxes, suppress
from tests.models.detection.scenes import nothing


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


def test_an_odd_size_by_hand() -> None:
    """51 x 77 to 100 wide: 66.23 rows become 66, so that the two scales differ; 30 rows and 28 columns are missing."""
    inputs, box = letterbox(torch.full((1, 3, 51, 77), 0.9), 100, 32)
    assert inputs.shape == (1, 3, 96, 128)
    assert (box.left, box.top, box.width, box.height) == (14, 15, 77, 51)
    assert (box.scale_x, box.scale_y) == pytest.approx((100 / 77, 66 / 51))
    picture = (inputs - 0.9).abs().amax(dim=(0, 1)) < 1e-6
    assert picture[15:81, 14:114].all()
    assert picture.sum() == 66 * 100
    assert (inputs[0, :, ~picture] == GREY).all()
    assert box.to_network(torch.tensor([[7.7, 5.1, 77, 51]]))[0].tolist() == pytest.approx([24, 21.6, 114, 81])
    assert box.to_image(torch.tensor([[24, 21.6, 114, 81]]))[0].tolist() == pytest.approx([7.7, 5.1, 77, 51], abs=1e-4)


def test_the_rows_that_an_odd_padding_leaves_over_go_below() -> None:
    inputs, box = letterbox(torch.zeros(1, 3, 63, 61), None, 32)
    assert (box.top, box.left) == (0, 1)
    assert (inputs[0, 0, -1] == GREY).all()
    assert (inputs[0, 0, :, -2:] == GREY).all()


@pytest.mark.parametrize("longer", [None, 32, 90])
def test_every_pixel_of_the_image_gets_a_gradient(longer: int | None) -> None:
    images = torch.rand(1, 3, 45, 61, requires_grad=True)
    inputs, _ = letterbox(images, longer, 32)
    (gradient,) = torch.autograd.grad(inputs.sum(), images)
    assert gradient.min() > 0


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
    one: Targets = {"boxes": torch.tensor([[24.0, 16, 72, 48]]), "labels": torch.tensor([2])}
    owners, labels, boxes = relative_boxes([nothing(), one], box, (64, 96))
    assert owners.tolist() == [1]
    assert labels.tolist() == [[2]]
    assert torch.allclose(boxes, torch.tensor([[0.5, 0.5, 0.5, 0.5]]))


def test_targets_of_images_without_any() -> None:
    _, box = letterbox(torch.zeros(2, 3, 64, 96), None, 32)
    owners, labels, boxes = relative_boxes([nothing(), nothing()], box, (64, 96))
    assert (owners.shape, labels.shape, boxes.shape) == ((0,), (0, 1), (0, 4))


def test_suppression_is_per_class_and_sorted() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [1, 0, 11, 10], [30, 30, 40, 40]])
    scores = torch.tensor([[0.5, 0.0], [0.9, 0.2], [0.3, 0.0]])
    kept = suppress(boxes, scores, 0.1, 0.6, 300)
    assert kept["scores"].tolist() == pytest.approx([0.9, 0.3, 0.2])
    assert kept["labels"].tolist() == [0, 0, 1]
    assert kept["boxes"][0].tolist() == [1, 0, 11, 10]
    assert len(suppress(boxes, scores, 0.1, 0.6, 1)["scores"]) == 1
    assert len(suppress(boxes, scores, 0.95, 0.6, 300)["scores"]) == 0
