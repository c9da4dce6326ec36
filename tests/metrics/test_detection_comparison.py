"""The paired test of two detectors: its average precision beside COCO's, and what it tells apart."""

import pytest
import torch

from ivif.contracts.batch import Detections
from ivif.metrics.detection import DetectionMetrics
from ivif.metrics.detection_comparison import _ranking, average_precisions, exchange_test
from ivif.metrics.detection_threshold import Matches
from tests.metrics.test_detection_record import NAMES, drawn_image

PICTURES = 40


def _tested(seed: int, worse: float = 0.0) -> DetectionMetrics:
    """A detector that finds the objects of the pictures and others, each moved by up to `worse` pixels."""
    metrics = DetectionMetrics(NAMES)
    drawn = torch.Generator().manual_seed(seed)
    for index in range(PICTURES):
        other, wanted = drawn_image(index)
        boxes = wanted["boxes"] + worse * torch.rand(wanted["boxes"].shape, generator=drawn)
        found: Detections = {
            "boxes": torch.cat([boxes, other["boxes"]]),
            "labels": torch.cat([wanted["labels"], other["labels"]]),
            "scores": torch.rand(len(boxes) + len(other["boxes"]), generator=drawn),
        }
        metrics.update([found], [wanted], ["made"], [f"{index:02d}"])
    return metrics


def _matches(tested: DetectionMetrics) -> list[Matches]:
    return list(tested.matches().values())


def test_average_precision_is_that_of_coco() -> None:
    first, second = _tested(1), _tested(2, worse=12.0)
    for label, name in enumerate(NAMES):
        ranking = _ranking(_matches(first), _matches(second), label)
        unchanged = torch.zeros(1, PICTURES, dtype=torch.bool)
        found = [precision.item() for precision in average_precisions(ranking, unchanged)]
        assert found == [precision.item() for precision in reversed(average_precisions(ranking, ~unchanged))]
        expected = [tested.report().overall.classes[name].ap50 for tested in (first, second)]
        assert found == pytest.approx(expected, abs=1e-7)
        assert expected[0] > expected[1] > 0.01


def test_detectors_of_one_kind_do_not_differ_and_a_worse_one_does() -> None:
    alike = exchange_test([_matches(_tested(1))], [_matches(_tested(2))], len(NAMES))
    assert min(alike) > 0.05
    apart = exchange_test([_matches(_tested(1))], [_matches(_tested(2, worse=12.0))], len(NAMES))
    assert max(apart) < 0.01
    assert apart[0] == 1 / 1000
    assert exchange_test([_matches(_tested(1))], [_matches(_tested(1))], len(NAMES)) == [1.0] * 3


def test_p_is_evenly_spread_where_nothing_differs() -> None:
    found = torch.tensor(
        [exchange_test([_matches(_tested(2 * k))], [_matches(_tested(2 * k + 1))], 2, 99)[0] for k in range(60)]
    )
    assert 0.35 < found.mean() < 0.65
    assert 1 <= (found < 0.1).sum() <= 15


def test_seeds_are_averaged_before_pictures_are_exchanged() -> None:
    better, worse = _matches(_tested(1)), _matches(_tested(2, worse=12.0))
    balanced = exchange_test([better, worse], [worse, better], len(NAMES))
    assert balanced == [1.0] * 3
    assert exchange_test([better, better], [worse, worse], len(NAMES))[0] == 1 / 1000


def test_a_class_without_objects_has_no_p() -> None:
    both = _matches(_tested(1))
    assert exchange_test([both], [both], 3)[3] != exchange_test([both], [both], 3)[3]
