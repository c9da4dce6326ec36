"""What a test keeps of each picture: the scores of several tests together, and damage that is named."""

from pathlib import Path

import pytest
import torch

from ivif.contracts.batch import Detections, Targets
from ivif.metrics.detection import DetectionMetrics
from ivif.metrics.detection_record import read_metrics, to_bytes

NAMES = ("person", "car")


def drawn_image(seed: int) -> tuple[Detections, Targets]:
    """Up to nine detections and objects, some in ignored regions; some pictures have none of a kind."""
    drawn = torch.Generator().manual_seed(seed)
    found, objects, ignored = (int(torch.randint(low, 10, (), generator=drawn)) for low in (0, 0, 0))
    boxes, labels = [], []
    for count in (found, objects, ignored):
        corners = torch.rand(count, 2, generator=drawn) * 40
        boxes.append(torch.cat([corners, corners + 10 + torch.rand(count, 2, generator=drawn) * 20], dim=1))
        labels.append(torch.randint(0, 2, (count,), generator=drawn))
    scores = torch.rand(found, generator=drawn).sort(descending=True).values
    wanted: Targets = {"boxes": boxes[1], "labels": labels[1]}
    if ignored:
        wanted["ignored"] = {"boxes": boxes[2], "labels": labels[2]}
    return {"boxes": boxes[0], "scores": scores, "labels": labels[0]}, wanted


def _tested(seeds: range) -> DetectionMetrics:
    metrics = DetectionMetrics(NAMES)
    for seed in seeds:
        found, wanted = drawn_image(seed)
        metrics.update([found], [wanted], ["even" if seed % 2 == 0 else "odd"], [str(seed)])
    return metrics


def _write(path: Path, seeds: range) -> Path:
    path.write_bytes(to_bytes(_tested(seeds).report().images, NAMES))
    return path


def test_parts_together_score_as_the_whole(tmp_path: Path) -> None:
    parts = [_write(tmp_path / "first", range(7)), _write(tmp_path / "second", range(7, 20))]
    joined, whole = read_metrics(parts).report(), _tested(range(20)).report()
    assert joined.overall == whole.overall
    assert joined.datasets == whole.datasets
    assert joined.overall.images == 20
    assert 0 < joined.overall.map50 < 1


def test_damage_and_other_classes_are_named(tmp_path: Path) -> None:
    path = _write(tmp_path / "tested", range(3))
    other = tmp_path / "other"
    other.write_bytes(to_bytes(_tested(range(3)).report().images, ("person", "lamp")))
    with pytest.raises(ValueError, match=r"other' has the classes \('person', 'lamp'\)"):
        read_metrics([path, other])
    for content in (path.read_bytes()[:-4], b"", to_bytes(_tested(range(3)).report().images, NAMES)[:40] + b"x" * 90):
        other.write_bytes(content)
        with pytest.raises(ValueError, match="other' holds no detections of a test, or is damaged"):
            read_metrics([path, other])
