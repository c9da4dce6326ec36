"""Detection scores against hand-made cases and an independent average precision."""

import math
from pathlib import Path

import pytest
import torch
from torchvision.ops import box_iou

from ivif.contracts.batch import Detections, Targets
from ivif.metrics.detection import ClassScores, DetectionMetrics, DetectionScores
from ivif.testing.processes import run_python
from tests.processes import own_lines

NAMES = ("person", "car")
BOX = [10.0, 10, 30, 50]
OTHER = [60.0, 20, 90, 40]


def _found(*entries: tuple[list[float], float, int]) -> Detections:
    return {
        "boxes": torch.tensor([box for box, _, _ in entries]).reshape(-1, 4),
        "scores": torch.tensor([score for _, score, _ in entries]),
        "labels": torch.tensor([label for _, _, label in entries], dtype=torch.int64),
    }


def _wanted(*entries: tuple[list[float], int]) -> Targets:
    return {
        "boxes": torch.tensor([box for box, _ in entries]).reshape(-1, 4),
        "labels": torch.tensor([label for _, label in entries], dtype=torch.int64),
    }


def _score(*images: tuple[Detections, Targets]) -> DetectionScores:
    metrics = DetectionMetrics(NAMES)
    for index, (found, wanted) in enumerate(images):
        metrics.update([found], [wanted], ["made"], [str(index)])
    return metrics.report().overall


def test_perfect_detections_score_one() -> None:
    result = _score((_found((BOX, 0.9, 0), (OTHER, 0.8, 1)), _wanted((BOX, 0), (OTHER, 1))))
    assert (result.map50, result.map50_95, result.precision, result.recall) == pytest.approx((1, 1, 1, 1))
    assert result.classes["car"] == ClassScores(1.0, 1.0, 1.0, 1.0, 1, 1)
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
    assert math.isnan(result.classes["car"].ap50)
    assert result.classes["car"].detections == 1
    assert result.absent == ("car",)
    assert set(result.named()) == {
        *("mAP50", "mAP50_95", "precision", "recall", "score_threshold", "AP50/person", "AP50_95/person")
    }


def test_nothing_to_find_is_undefined() -> None:
    result = _score((_found((BOX, 0.9, 0)), _wanted()), (_found(), _wanted()))
    assert math.isnan(result.map50)
    assert math.isnan(result.precision)
    assert result.images == 2


def test_a_name_counts_once() -> None:
    metrics = DetectionMetrics(NAMES)
    for found in (_found((BOX, 0.9, 0)), _found()):
        metrics.update([found], [_wanted((BOX, 0))], ["made"], ["same"])
    assert metrics.report().overall.images == 1
    assert metrics.compute()["mAP50"] == pytest.approx(1)  # the first one counts
    metrics.update([_found()], [_wanted((BOX, 0))], ["other"], ["same"])
    report = metrics.report()
    assert {name: result.map50 for name, result in report.datasets.items()} == {"made": pytest.approx(1), "other": 0}
    assert report.overall.images == 2
    assert report.overall.map50 == pytest.approx(51 / 101)  # one of two found: precision 1 up to a recall of 1/2


def test_labels_beyond_the_classes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"made/7 have the labels \[2\], but there are 2 classes \(person, car\)"):
        DetectionMetrics(NAMES).update([_found((BOX, 0.9, 2))], [_wanted()], ["made"], ["7"])
    with pytest.raises(ValueError, match="Targets of made/7"):
        DetectionMetrics(NAMES).update([_found()], [_wanted((BOX, -1))], ["made"], ["7"])
    with pytest.raises(ValueError, match="other numbers of boxes"):
        DetectionMetrics(NAMES).update([_found()], [_wanted((BOX, 0)) | {"labels": torch.zeros(2)}], ["made"], ["7"])
    with pytest.raises(ValueError, match="one of each per image"):
        DetectionMetrics(NAMES).update([_found()], [], ["made"], ["7"])


CROWD = [100.0, 0, 200, 100]


def _crowded(*labels: int, objects: Targets | None = None) -> Targets:
    return {**(objects or _wanted((BOX, 0))), "ignored": _wanted(*((CROWD, label) for label in labels))}


def test_what_is_found_in_an_ignored_region_is_neither_right_nor_wrong() -> None:
    inside = [([110.0, 10, 140, 90], 0.95, 0), ([150.0, 10, 190, 90], 0.9, 0), ([90.0, 10, 120, 90], 0.85, 0)]
    found = _found(*inside, (BOX, 0.5, 0))
    apart = _score((found, _wanted((BOX, 0))))
    assert (apart.map50, apart.precision) == pytest.approx((0.25, 0.25))  # three false ones before the right one
    ignoring = _score((found, _crowded(0)))
    assert (ignoring.map50, ignoring.precision, ignoring.recall) == pytest.approx((1, 1, 1))
    # Two thirds of the third lie inside: at IoU .7 and above it is a false one before the right one, as COCO has it.
    assert ignoring.map50_95 == pytest.approx((4 * 1 + 6 / 2) / 10)
    assert ignoring.classes["person"].detections == 1
    assert _score((_found((BOX, 0.5, 0)), _crowded(0))).recall == 1  # nothing is missed there


def test_only_half_of_a_detection_in_a_region_of_its_class_is_left_out() -> None:
    beside = [60.0, 10, 110, 90]  # a fifth of it lies inside
    for box, region in ((beside, 0), (CROWD, 1)):
        result = _score((_found((box, 0.9, 0), (BOX, 0.5, 0)), _crowded(region)))
        assert (result.map50, result.precision) == pytest.approx((0.5, 0.5))
    within = _wanted((BOX, 0), ([110.0, 10, 140, 90], 0))
    result = _score((_found((BOX, 0.9, 0), ([110.0, 10, 140, 90], 0.8, 0)), _crowded(0, objects=within)))
    assert (result.map50, result.recall, result.classes["person"].detections) == pytest.approx((1, 1, 2))


def test_a_point_outside_a_region_and_a_class_of_regions_alone() -> None:
    point = [50.0, 50, 50, 50]
    assert _score((_found((point, 0.9, 0), (BOX, 0.5, 0)), _crowded(0))).precision == pytest.approx(0.5)
    result = _score((_found((BOX, 0.9, 0), (CROWD, 0.8, 1)), _crowded(1)))
    assert result.absent == ("car",)
    assert (result.map50, result.precision, result.objects) == pytest.approx((1, 1, 1))
    with pytest.raises(ValueError, match=r"Targets of made/7 have the labels \[5\]"):
        DetectionMetrics(NAMES).update([_found()], [_crowded(5)], ["made"], ["7"])


def _random_image(seed: int) -> tuple[Detections, Targets]:
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(5, 2, generator=generator) * 100
    boxes = torch.cat([corners, corners + 10 + 30 * torch.rand(5, 2, generator=generator)], dim=1)
    moved = torch.cat([boxes + 4 * torch.randn(5, 2, generator=generator).repeat(1, 2), boxes[:3] + 40])
    labels = torch.randint(2, (5,), generator=generator)
    found: Detections = {
        "boxes": moved,
        "scores": torch.rand(8, generator=generator),
        "labels": torch.cat([labels, labels[:3]]),
    }
    return found, {"boxes": boxes, "labels": labels}


def _average_precision(images: list[tuple[Detections, Targets]], label: int, level: float) -> float:
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
        assert result.classes[name].ap50 == pytest.approx(_average_precision(images, label, 0.5), abs=1e-4)
        levels = [0.5 + 0.05 * step for step in range(10)]
        mean = sum(_average_precision(images, label, level) for level in levels) / 10
        assert result.classes[name].ap50_95 == pytest.approx(mean, abs=1e-3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_half_precision_and_views_are_taken_as_copies(dtype: torch.dtype) -> None:
    table = torch.tensor([[*BOX, 0.9, 0.0], [*OTHER, 0.8, 1.0]], dtype=dtype)
    found: Detections = {"boxes": table[:, :4], "scores": table[:, 4], "labels": table[:, 5].long()}
    metrics = DetectionMetrics(NAMES)
    metrics.update([found], [_wanted((BOX, 0), (OTHER, 1))], ["made"], ["1"])
    table.zero_()
    assert metrics.compute()["mAP50_95"] == pytest.approx(1)


@pytest.mark.slow
def test_two_processes_score_as_one() -> None:
    script = Path(__file__).parent / "two_processes_detection.py"
    assert own_lines(run_python(script, 5, 1, 0)) == ["5 images: same", "1 images: same", "0 images: same"]
