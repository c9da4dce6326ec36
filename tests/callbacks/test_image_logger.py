"""Panels reach dashboards with their boxes."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ivif.callbacks.image_logger import ImageLogger
from ivif.callbacks.wandb_run import WandbRun
from ivif.lightning_modules.detection import DetectionTask
from ivif.lightning_modules.detection_sources import DetectionSource
from ivif.testing.batches import quiet_trainer
from ivif.testing.processes import run_python
from tests.callbacks.detecting import BOX, DataWithBoxes, DetectingTask
from tests.wandb_records import history


def test_boxes_are_overlays_in_wandb(tmp_path: Path) -> None:
    logger = WandbRun("offline")
    logger.place(tmp_path, "test")
    callbacks = [ImageLogger(images_per_dataset=1, height=24)]
    trainer = quiet_trainer(tmp_path, logger=logger, callbacks=callbacks)
    trainer.test(DetectingTask(), DataWithBoxes(), verbose=False)
    (written,) = (tmp_path / "wandb").glob("offline-run-*")
    shown: dict[str, Any] = {}
    for row in history(written):
        shown |= {name: value for name, value in row.items() if name.startswith(("panels/", "boxes/"))}
    keys = {name.rpartition("/")[0] for name in shown}
    assert keys == {
        "panels/test/made/0000",
        "panels/test/other/0000",
        "boxes/test/made/0000",
        "boxes/test/other/0000",
    }
    (all_boxes,) = shown["boxes/test/made/0000/all_boxes"]
    assert set(all_boxes) == {"ground_truth", "predictions"}
    file = written / "files" / all_boxes["predictions"]["path"]
    assert Image.open(written / "files" / shown["boxes/test/made/0000/filenames"][0]).size == (32, 24)
    assert [float(part) for part in BOX[:2]] == _corner(file)


def _corner(path: Path) -> list[float]:
    (box,) = json.loads(path.read_text(encoding="utf-8"))["box_data"]
    assert box["box_caption"] == "person 0.90"
    assert box["scores"]["score"] == pytest.approx(0.9)
    return [box["position"]["minX"], box["position"]["minY"]]


@pytest.mark.slow
def test_only_the_first_of_two_processes_writes(tmp_path: Path) -> None:
    run_python(Path(__file__).with_name("ddp_dashboards.py"), tmp_path)
    assert len(list((tmp_path / "tensorboard").glob("events.*"))) == 1
    (written,) = (tmp_path / "wandb").glob("*run-*")
    rows = history(written)
    assert len([row["test/EN"] for row in rows if "test/EN" in row]) == 1
    (table,) = written.rglob("files/media/table/tables/test_per_image*.json")
    assert len(json.loads(table.read_text(encoding="utf-8"))["data"]) == 4
    assert len(list(written.rglob("files/media/images/boxes/test/synthetic/*.png"))) == 2


def test_a_detector_is_named_after_what_it_sees() -> None:
    task = DetectionTask(classes=["person"], source=DetectionSource("infrared"))
    assert task.method == "infrared+detector"
