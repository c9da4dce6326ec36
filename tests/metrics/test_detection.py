"""Detection scores against hand-made cases and an independent average precision."""

import math

import pytest
import torch
from torch import Tensor
from torchvision.ops import box_iou

from metrics.detection import DetectionMetrics, DetectionScores, operating_point

NAMES = ("person", "car")
BOX = [10.0, 10, 30, 50]
OTHER = [60.0, 20, 90, 40]


def _found(*entries: tuple[list[float], float, int]) -> dict[str, Tensor]:
    return {
        "boxes": torch.tensor([box for box, _, _ in entries]).reshape(-1, 4),
        "scores": torch.tensor([score for _, score, _ in entries]),
        "labels": torch.tensor([label for _, _, label in entries], dtype=torch.int64),
    }


def _wanted(*entries: tuple[list[float], int]) -> dict[str, Tensor]:
    return {
        "boxes": torch.tensor([box for box, _ in entries]).reshape(-1, 4),
        "labels": torch.tensor([label for _, label in entries], dtype=torch.int64),
    }


def _score(*images: tuple[dict[str, Tensor], dict[str, Tensor]]) -> DetectionScores:
    metrics = DetectionMetrics(NAMES)
    for index, (found, wanted) in enumerate(images):
        metrics.update([found], [wanted], ["made"], [str(index)])
    return metrics.compute_overall()


def test_perfect_detections_score_one() -> None:
    result = _score((_found((BOX, 0.9, 0), (OTHER, 0.8, 1)), _wanted((BOX, 0), (OTHER, 1))))
    assert (result.map50, result.map50_95, result.precision, result.recall) == pytest.approx((1, 1, 1, 1))
    assert result.classes["car"] == {"AP50": 1.0, "AP50_95": 1.0, "objects": 1.0, "detections": 1.0}
    assert result.threshold == pytest.approx(0.8)


def test_a_class_that_is_confused_scores_nothing() -> None:
    result = _score((_found((BOX, 0.9, 1)), _wanted((BOX, 0))))
    assert (result.map50, result.precision, result.recall) == (0, 0, 0)


def test_one_of_two_behind_a_false_one() -> None:
    found = _found(([200.0, 200, 220, 220], 0.9, 0), (BOX, 0.8, 0))
    result = _score((found, _wanted((BOX, 0), (OTHER, 0))))
    # Precision 1/2 at recall 1/2: 51 of COCO's 101 recall points have precision 1/2, the others none.
    assert result.map50 == pytest.approx(51 / 101 / 2, abs=1e-6)
    assert (result.precision, result.recall, result.threshold) == pytest.approx((0.5, 0.5, 0.8))


def test_the_overlap_decides() -> None:
    near = [10.0, 10, 30, 33]  # 23 of 40 rows: IoU .575, right at .5 and .55 alone
    result = _score((_found((near, 0.9, 0)), _wanted((BOX, 0))))
    assert result.map50 == pytest.approx(1)
    assert result.map50_95 == pytest.approx(0.2)


def test_classes_without_objects_are_left_out_of_the_mean() -> None:
    result = _score((_found((BOX, 0.9, 0), (OTHER, 0.8, 1)), _wanted((BOX, 0))))
    assert result.map50 == pytest.approx(1)
    assert math.isnan(result.classes["car"]["AP50"])
    assert result.classes["car"]["detections"] == 1


def test_nothing_to_find_is_undefined() -> None:
    result = _score((_found((BOX, 0.9, 0)), _wanted()), (_found(), _wanted()))
    assert math.isnan(result.map50)
    assert math.isnan(result.precision)
    assert result.images == 2


def test_a_name_counts_once() -> None:
    metrics = DetectionMetrics(NAMES)
    for _ in range(2):
        metrics.update([_found((BOX, 0.9, 0))], [_wanted((BOX, 0))], ["made"], ["same"])
    assert metrics.compute_overall().images == 1
    metrics.update([_found()], [_wanted((BOX, 0))], ["other"], ["same"])
    assert {name: result.images for name, result in metrics.compute().items()} == {"made": 1, "other": 1}


def test_labels_beyond_the_classes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"made/7 has a label outside of the 2 classes \(person, car\)"):
        DetectionMetrics(NAMES).update([_found((BOX, 0.9, 2))], [_wanted()], ["made"], ["7"])
    with pytest.raises(ValueError, match="one of each per image"):
        DetectionMetrics(NAMES).update([_found()], [], ["made"], ["7"])


def _random_image(seed: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(5, 2, generator=generator) * 100
    boxes = torch.cat([corners, corners + 10 + 30 * torch.rand(5, 2, generator=generator)], dim=1)
    moved = torch.cat([boxes + 4 * torch.randn(5, 2, generator=generator).repeat(1, 2), boxes[:3] + 40])
    labels = torch.randint(2, (5,), generator=generator)
    found = {
        "boxes": moved,
        "scores": torch.rand(8, generator=generator),
        "labels": torch.cat([labels, labels[:3]]),
    }
    return found, {"boxes": boxes, "labels": labels}


def _average_precision(images: list[tuple[dict[str, Tensor], dict[str, Tensor]]], label: int, level: float) -> float:
    """COCO's 101-point average precision, written plainly."""
    hits: list[tuple[float, bool]] = []
    total = 0
    for found, wanted in images:
        own = wanted["boxes"][wanted["labels"] == label]
        total += len(own)
        taken: set[int] = set()
        chosen = found["labels"] == label
        order = found["scores"][chosen].argsort(descending=True)
        for box, score in zip(found["boxes"][chosen][order], found["scores"][chosen][order], strict=True):
            overlaps = box_iou(box[None], own)[0].tolist() if len(own) else []
            free = [(overlap, index) for index, overlap in enumerate(overlaps) if index not in taken]
            best = max(free, default=(0.0, -1))
            if best[0] >= level:
                taken.add(best[1])
            hits.append((score.item(), best[0] >= level))
    hits.sort(key=lambda entry: -entry[0])
    curve, right = [], 0
    for rank, (_, hit) in enumerate(hits, start=1):
        right += hit
        curve.append((right / total, right / rank))
    points = [max((p for r, p in curve if r >= step / 100 - 1e-12), default=0.0) for step in range(101)]
    return sum(points) / 101


def test_random_boxes_score_as_an_independent_implementation_says() -> None:
    images = [_random_image(seed) for seed in range(12)]
    result = _score(*images)
    for label, name in enumerate(NAMES):
        assert result.classes[name]["AP50"] == pytest.approx(_average_precision(images, label, 0.5), abs=1e-4)
        levels = [0.5 + 0.05 * step for step in range(10)]
        mean = sum(_average_precision(images, label, level) for level in levels) / 10
        assert result.classes[name]["AP50_95"] == pytest.approx(mean, abs=1e-3)


def test_the_operating_point_has_the_best_f1() -> None:
    images = [_random_image(seed) for seed in range(6)]
    precision, recall, threshold = operating_point(images)
    best = 2 * precision * recall / (precision + recall)
    for level in (0.1, 0.3, 0.5, 0.7, 0.9):
        cut = [
            ({key: value[found["scores"] >= level] for key, value in found.items()}, wanted) for found, wanted in images
        ]
        p, r, _ = operating_point(cut)
        assert 2 * p * r / max(p + r, 1e-9) <= best + 1e-9
    assert 0 < threshold < 1
