"""Two detectors' boxes together, beside a case that is counted by hand."""

from pathlib import Path

import pytest
import torch

from benchmarks import merged_boxes
from benchmarks.merged_boxes import Scored, joined, table, together
from ivif.contracts.batch import Detections, Targets
from ivif.metrics.detection import DetectionMetrics

PERSON, CAR = [0.0, 0.0, 20.0, 20.0], [30.0, 0.0, 60.0, 20.0]


def _found(*boxes: tuple[list[float], float, int]) -> Detections:
    return {
        "boxes": torch.tensor([box for box, _, _ in boxes]).reshape(-1, 4),
        "scores": torch.tensor([score for _, score, _ in boxes]),
        "labels": torch.tensor([label for _, _, label in boxes], dtype=torch.int64),
    }


def _detector(pictures: dict[str, Detections]) -> Scored:
    """Of pictures with a person and a car each."""
    metrics = DetectionMetrics(["person", "car"])
    wanted: Targets = {"boxes": torch.tensor([PERSON, CAR]), "labels": torch.tensor([0, 1])}
    for name, found in pictures.items():
        metrics.update([found], [wanted], ["made"], [name])
    return Scored(metrics)


def test_the_lower_of_two_boxes_of_one_class_goes_and_classes_stay_apart() -> None:
    near = [1.0, 0.0, 20.0, 20.0]
    both = joined(_found((PERSON, 0.4, 0)), _found((near, 0.9, 0), (near, 0.3, 1)), 0.6)
    assert both["scores"].tolist() == pytest.approx([0.9, 0.3])
    assert both["labels"].tolist() == [0, 1]


def test_what_each_misses_the_other_brings_and_the_oracle_chooses_by_picture() -> None:
    warm = _detector({"a": _found((PERSON, 0.9, 0)), "b": _found((PERSON, 0.9, 0), (CAR, 0.8, 1))})
    light = _detector({"a": _found((CAR, 0.9, 1)), "b": _found((PERSON, 0.9, 1))})
    rows = {"warm": warm, "light": light} | together(warm, light, 0.6)
    found = {str(row["row"]): row for row in table(rows, "warm")}
    assert found["warm"]["AP50"] == "0.752"  # every person, and one of two cars: 51 of 101 recall points
    assert found["joined"]["AP50 car"] != "1.000"  # the false car of the light detector comes with it
    assert found["joined"]["AP50 person"] == "1.000"
    assert (found["joined"]["recall"], found["oracle"]["recall"]) == ("1.000", "0.750")
    assert found["oracle"]["AP50"] == found["warm"]["AP50"]  # ties go to the first
    assert (found["warm"]["p"], found["oracle"]["p"]) == ("", "1.000")


def test_rows_of_other_pictures_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = {"warm": ("a", "b"), "light": ("a", "b"), "late": ("a",)}
    monkeypatch.setattr(
        merged_boxes, "_read", lambda _, row: _detector({name: _found((PERSON, 0.9, 0)) for name in rows[row]}).metrics
    )
    assert list(merged_boxes.read(tmp_path, ["warm", "light"])) == ["warm", "light"]
    with pytest.raises(SystemExit, match="late has 1 pictures, warm 2"):
        merged_boxes.read(tmp_path, ["warm", "late"])
