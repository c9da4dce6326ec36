"""Detections in logs, tables, panels and W&B."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from ivif.callbacks.boxes import COLORS, above_score, draw_boxes, overlay
from ivif.callbacks.evaluator import Evaluator
from ivif.callbacks.image_logger import ImageLogger
from ivif.callbacks.tables import DetectionTable
from ivif.contracts.batch import Detections, Targets
from ivif.metrics.detection import DetectionMetrics
from ivif.testing.batches import quiet_trainer
from tests.callbacks.detecting import BOX, DataWithBoxes, DetectingTask

FOUND: Detections = {
    "boxes": torch.tensor([[10.0, 12, 30, 40]]),
    "scores": torch.tensor([0.5]),
    "labels": torch.tensor([1]),
}
NAMES = ("person", "car")


def test_validation_logs_detection_of_the_datasets_that_have_boxes(tmp_path: Path) -> None:
    trainer = quiet_trainer(tmp_path, callbacks=[Evaluator(metrics=["EN"])])
    logged = {
        key: value
        for part in trainer.validate(DetectingTask(), DataWithBoxes(), verbose=False)
        for key, value in part.items()
    }
    # Two of three persons found, both first in rank: precision 1 up to a recall of 2/3, 67 of 101 points.
    assert logged["val/mAP50"] == pytest.approx(67 / 101, abs=1e-6)
    assert logged["val/made/mAP50_95"] == pytest.approx(67 / 101, abs=1e-6)
    assert logged["val/AP50/person"] == logged["val/mAP50"]
    assert (logged["val/precision"], logged["val/recall"]) == pytest.approx((2 / 3, 2 / 3))
    assert logged["val/score_threshold"] == pytest.approx(0.9)
    assert "val/AP50/car" not in logged
    assert not any(key.startswith("val/other/AP") or key.startswith("val/other/mAP") for key in logged)
    table = pd.read_csv(tmp_path / "tables" / "val_detection.csv")
    assert table[(table["class"] == "person")]["AP50"].tolist() == pytest.approx([67 / 101], abs=1e-6)
    assert not (tmp_path / "tables" / "detection.csv").exists()


def test_detections_without_boxes_to_compare_are_spoken_of_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trainer = quiet_trainer(tmp_path, callbacks=[Evaluator(metrics=["EN"])])
    with caplog.at_level("INFO"):
        for _ in range(2):
            trainer.validate(DetectingTask(), DataWithBoxes(), verbose=False)
    assert sum("other has no boxes" in record.getMessage() for record in caplog.records) == 1
    assert not any("made has no boxes" in record.getMessage() for record in caplog.records)


def test_detections_need_names_for_their_classes(tmp_path: Path) -> None:
    task = DetectingTask()
    task.class_names = ()
    with pytest.raises(ValueError, match="set its `class_names`"):
        quiet_trainer(tmp_path, callbacks=[Evaluator(metrics=["EN"])]).validate(task, DataWithBoxes(), verbose=False)


def test_testing_writes_a_row_for_every_class(tmp_path: Path) -> None:
    trainer = quiet_trainer(tmp_path, callbacks=[Evaluator(test_metrics=["EN"], classic_rows=False)])
    trainer.test(DetectingTask(), DataWithBoxes(), verbose=False)
    table = pd.read_csv(tmp_path / "tables" / "detection.csv")
    assert table["class"].tolist() == ["mean", "person", "car"]
    assert table["dataset"].unique().tolist() == ["made"]
    person, car = table.iloc[1], table.iloc[2]
    assert (person["objects"], person["detections"], car["objects"], car["detections"]) == (3, 2, 0, 1)
    assert person["AP50"] == pytest.approx(67 / 101, abs=1e-6)
    assert np.isnan(car["AP50"])
    text = (tmp_path / "tables" / "detection.md").read_text(encoding="utf-8")
    assert "| made | average | person | 0.6634 | 0.6634 | 1.0000 | 0.6667 | 3 | 2 | 3 |" in text
    assert "at score 0.900" in text
    assert "left out of the mean: car." in text


def test_several_datasets_have_a_block_of_their_own_and_one_together(tmp_path: Path) -> None:
    metrics = DetectionMetrics(NAMES)
    for dataset in ("first", "second"):
        metrics.update([FOUND], [{"boxes": FOUND["boxes"], "labels": FOUND["labels"]}], [dataset], ["1"])
    DetectionTable("mine", metrics.report(), {"first": {(64, 48)}, "second": {(32, 24)}}).write(tmp_path)
    table = pd.read_csv(tmp_path / "detection.csv")
    assert table["dataset"].tolist() == ["first"] * 3 + ["second"] * 3 + ["all"] * 3
    assert table[table["class"] == "mean"]["images"].tolist() == [1, 1, 2]
    assert table[table["class"] == "mean"]["size"].tolist() == ["64x48", "32x24", "2 sizes (32x24 to 64x48)"]
    assert table[table["class"] == "mean"]["precision"].tolist() == [1, 1, 1]


def test_a_table_says_why_figures_are_missing() -> None:
    metrics = DetectionMetrics(NAMES)
    sizes = {"empty": {(64, 48)}, "wrong": {(64, 48)}}
    metrics.update([FOUND], [{"boxes": torch.zeros(0, 4), "labels": torch.zeros(0)}], ["empty"], ["1"])
    assert "no objects, so no score is defined" in DetectionTable("mine", metrics.report(), sizes).markdown()
    metrics.update([FOUND], [{"boxes": FOUND["boxes"], "labels": torch.zeros(1)}], ["wrong"], ["1"])
    assert "wrong: no detection is right" in DetectionTable("mine", metrics.report(), sizes).markdown()


def test_a_box_is_drawn_on_its_border_in_its_classs_colour() -> None:
    drawn = np.asarray(draw_boxes(Image.new("RGB", (80, 60)), FOUND, NAMES))
    colour = [int(COLORS[1][index : index + 2], 16) for index in (1, 3, 5)]
    assert drawn[40, 20].tolist() == colour
    assert drawn[30, 10].tolist() == colour
    assert drawn[30, 20].tolist() == [0, 0, 0]
    assert drawn[50:].max() == 0
    scaled = np.asarray(draw_boxes(Image.new("RGB", (160, 120)), FOUND, NAMES, 2.0))
    assert scaled[80, 40].tolist() == colour


def test_boxes_that_leave_the_picture_are_drawn_all_the_same() -> None:
    wild: Targets = {"boxes": torch.tensor([[-20.0, -5, 500, 300], [50, 40, 45, 38]]), "labels": torch.tensor([0, 1])}
    assert draw_boxes(Image.new("RGB", (80, 60)), wild, NAMES).size == (80, 60)


def test_only_one_object_of_a_class_bears_its_name() -> None:
    boxes = torch.tensor([[4.0, 60, 24, 90], [150, 60, 190, 110]])
    objects: Targets = {"boxes": boxes, "labels": torch.tensor([0, 0])}
    found: Detections = {"boxes": boxes, "labels": objects["labels"], "scores": torch.tensor([0.5, 0.9])}
    one, two = (
        np.asarray(draw_boxes(Image.new("RGB", (240, 160)), entry, NAMES)).max(axis=-1) for entry in (objects, found)
    )
    assert one[:58].any(axis=0).nonzero()[0].min() >= 148  # only above the larger one
    assert two[:58].any(axis=0).nonzero()[0].min() <= 8


def test_captions_avoid_each_other() -> None:
    boxes = torch.tensor([[40.0, 60, 60, 90], [42, 60, 62, 90]])
    found: Detections = {"boxes": boxes, "scores": torch.tensor([0.9, 0.8]), "labels": torch.tensor([0, 1])}
    drawn = np.asarray(draw_boxes(Image.new("RGB", (240, 160)), found, NAMES))
    red, blue = drawn[..., 0], drawn[..., 2]
    person, car = (red > 60) & (blue < 20), (blue > 60) & (red < 20)  # yellow and blue, blended with black
    assert person[40:58].sum() > 40
    assert car[40:58].sum() == 0
    assert car[93:115].sum() > 40


def test_weak_detections_are_left_out() -> None:
    assert len(above_score(FOUND, 0.5)["labels"]) == 1
    assert len(above_score(FOUND, 0.51)["labels"]) == 0


def test_an_overlay_names_class_score_and_pixels() -> None:
    (entry,) = overlay(FOUND, NAMES)["box_data"]
    assert entry["position"] == {"minX": 10, "minY": 12, "maxX": 30, "maxY": 40}
    assert (entry["class_id"], entry["box_caption"], entry["domain"]) == (1, "car 0.50", "pixel")
    assert overlay({"boxes": FOUND["boxes"], "labels": FOUND["labels"]}, NAMES)["class_labels"] == {
        0: "person",
        1: "car",
    }


def test_panels_show_objects_and_detections(tmp_path: Path) -> None:
    plain, boxed = tmp_path / "plain", tmp_path / "boxed"
    for folder, threshold in ((plain, 1.1), (boxed, 0.25)):
        logger = ImageLogger(1, height=48, box_threshold=threshold)
        quiet_trainer(folder, callbacks=[logger]).test(DetectingTask(), DataWithBoxes(), verbose=False)
    first, second = (
        np.asarray(Image.open(next(folder.rglob("made/0000.png")))).astype(int) for folder in (plain, boxed)
    )
    assert first.shape == second.shape == (48 + 22, 3 * 64 + 8, 3)
    changed = np.abs(first - second).max(axis=-1) > 30
    assert changed[:, 2 * 68 :].any()
    assert not changed[:, : 2 * 68].any()  # objects are drawn in both, detections in the fused picture alone
    left, top = int(BOX[0] * 2), int(BOX[1] * 2) + 22
    assert changed[top + 4 : top + 20, 2 * 68 + left].all()
