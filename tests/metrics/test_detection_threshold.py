"""Matching, and the score at which a detector is best used."""

import math

import numpy as np
import pytest
import torch

from ivif.metrics.detection_threshold import Matches, best_threshold, class_at_threshold, match


def _matches(*entries: tuple[float, int, bool], objects: tuple[int, ...] = (0, 0, 1)) -> Matches:
    scores, labels, right = zip(*entries, strict=True) if entries else ((), (), ())
    return Matches(np.array(scores, np.float32), np.array(labels, np.int64), np.array(right, bool), np.array(objects))


def test_the_stronger_detection_takes_the_object_that_it_overlaps_most() -> None:
    objects = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 14]])
    boxes = torch.tensor([[0.0, 0, 10, 13], [0, 0, 10, 14], [0, 0, 10, 10], [0, 0, 10, 3]])
    scores = torch.tensor([0.9, 0.8, 0.7, 0.6])
    labels = torch.zeros(4, dtype=torch.int64)
    # The second one loses its own object to the first and takes the smaller one (IoU .71); none is left for the third.
    assert match(boxes, scores, labels, objects, labels[:2]).right.tolist() == [True, True, False, False]
    assert match(boxes, scores.flip(0), labels, objects, labels[:2]).right.tolist() == [False, True, True, False]
    assert not match(boxes, scores, labels + 1, objects, labels[:2]).right.any()


def test_the_point_has_the_best_f1_of_all_thresholds() -> None:
    generator = np.random.default_rng(0)
    images = [
        _matches(*((round(float(generator.random()), 1), 0, bool(generator.random() < 0.4)) for _ in range(9)))
        for _ in range(5)
    ]
    point = best_threshold(images)

    def at(threshold: float) -> tuple[float, float, float]:
        shown = [(image, image.scores >= np.float32(threshold)) for image in images]
        hits, found = sum(int(i.right[k].sum()) for i, k in shown), sum(int(k.sum()) for _, k in shown)
        return 2 * hits / (found + 15), hits / found, hits / 15

    values = {level / 10: at(level / 10) for level in range(10)}
    best = max(values, key=lambda level: values[level][0])
    assert point.threshold == pytest.approx(best)
    assert (point.precision, point.recall) == pytest.approx(values[best][1:])


def test_no_threshold_separates_equal_scores() -> None:
    point = best_threshold([_matches((0.5, 0, True), (0.5, 0, False), (0.5, 1, False))])
    assert (point.precision, point.recall) == pytest.approx((1 / 3, 1 / 3))


def test_classes_are_measured_at_the_common_threshold() -> None:
    images = [_matches((0.9, 0, True), (0.4, 0, True), (0.7, 1, False))]
    person, car, lamp = (class_at_threshold(images, label, 0.6) for label in range(3))
    assert (person.precision, person.recall) == (1.0, 0.5)
    assert (car.precision, car.recall) == (0.0, 0.0)
    assert math.isnan(lamp.precision)
    assert math.isnan(lamp.recall)


def test_without_objects_or_right_detections() -> None:
    assert math.isnan(best_threshold([_matches((0.9, 0, False), objects=())]).recall)
    assert best_threshold([_matches((0.9, 0, False))]).threshold == 1.0
    assert best_threshold([_matches()]).precision == 0.0
