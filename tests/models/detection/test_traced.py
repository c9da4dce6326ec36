"""What exported files compute around a detector's network is what `predict` computes."""

import pytest
import torch

from ivif.models.detection import DetectorConfig, build_detector
from ivif.models.detection.postprocess import letterbox, suppress
from ivif.models.detection.traced import suppress_together, traced_letterbox
from tests.models.detection.lively import as_list, lively
from tests.models.detection.scenes import NAMES

SIZES = [(50, 70), (51, 77), (1, 31), (16, 16), (63, 61), (200, 333), (11, 704), (64, 96)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("longer", [None, 64, 100, 480])
def test_pictures_are_fitted_alike(size: tuple[int, int], longer: int | None) -> None:
    """11 x 704 to 480 is 7.5 rows, which double precision makes 7, and a quotient of integers 8."""
    images = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))
    (ours, ours_back), (theirs, theirs_back) = traced_letterbox(images, longer, 32), letterbox(images, longer, 32)
    torch.testing.assert_close(ours, theirs, rtol=0.0, atol=2e-5)
    boxes = torch.tensor([[-20.0, -9, 400, 500], [20, 30, 34, 46], [3, 3, 900, 40]])
    torch.testing.assert_close(ours_back.to_image(boxes), theirs_back.to_image(boxes))


@pytest.mark.parametrize(("longer", "limit"), [(None, 300), (160, 300), (100, 7)])
def test_a_list_holds_what_is_found_in_each_picture(longer: int | None, limit: int) -> None:
    detector = lively(DetectorConfig(image_size=longer, score_threshold=0.2, max_detections=limit))
    images = torch.rand(3, 3, 57, 90, generator=torch.Generator().manual_seed(1))
    listed, expected = detector.listed(images, torch.tensor(0.2)), as_list(detector.predict(images))
    assert len(expected.boxes) >= 3 * min(limit, 15)
    assert torch.equal(listed.pictures, expected.pictures)
    assert torch.equal(listed.labels, expected.labels)
    torch.testing.assert_close(listed.scores, expected.scores, rtol=0.0, atol=1e-5)
    torch.testing.assert_close(listed.boxes, expected.boxes, rtol=0.0, atol=1e-2)


def test_nothing_found_is_an_empty_list() -> None:
    listed = lively(DetectorConfig(image_size=None)).listed(torch.rand(2, 3, 40, 40), torch.tensor(1.0))
    assert [tuple(part.shape) for part in listed] == [(0, 4), (0,), (0,), (0,)]
    assert listed.labels.dtype == listed.pictures.dtype == torch.int64


def test_boxes_of_other_pictures_and_classes_suppress_nothing() -> None:
    one = torch.tensor([[0.0, 0, 10, 10], [1, 0, 11, 10], [-90, -90, 90, 90]])
    scores = torch.tensor([[[0.5, 0.0], [0.9, 0.2], [0.1, 0.3]], [[0.7, 0.6], [0.1, 0.4], [0.0, 0.0]]])
    listed = suppress_together(torch.stack([one, one]), scores, torch.tensor(0.15), 0.6, 2)
    assert listed.pictures.tolist() == [0, 0, 1, 1]
    assert listed.scores.tolist() == pytest.approx([0.9, 0.3, 0.7, 0.6])
    assert listed.labels.tolist() == [0, 1, 0, 1]
    for index in range(2):
        alone = suppress(one, scores[index], 0.15, 0.6, 2)
        assert torch.equal(listed.boxes[listed.pictures == index], alone["boxes"])


def test_only_the_surest_candidates_of_each_picture_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ivif.models.detection.traced.MOST_CANDIDATES", 2)
    boxes = torch.tensor([[0.0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10]])
    scores = torch.tensor([[[0.5], [0.7], [0.6]], [[0.9], [0.8], [0.95]]])
    listed = suppress_together(torch.stack([boxes, boxes]), scores, torch.tensor(0.1), 0.6, 300)
    assert listed.scores.tolist() == pytest.approx([0.7, 0.6, 0.95, 0.9])


@pytest.mark.parametrize("architecture", ["fcos_resnet50", "ssdlite320"])
def test_other_detectors_say_that_they_have_no_such_form(architecture: str) -> None:
    detector = build_detector(DetectorConfig(architecture=architecture), NAMES)
    assert not detector.can_be_traced
    with pytest.raises(NotImplementedError, match="TorchvisionDetector cannot be traced"):
        detector.listed(torch.zeros(1, 3, 32, 32), torch.tensor(0.1))
    with pytest.raises(NotImplementedError, match="does not tell its candidates"):
        detector.candidates(torch.zeros(1, 3, 32, 32))
