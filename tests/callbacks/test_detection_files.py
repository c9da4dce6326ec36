"""Detections on disk: what the files hold, and that they are gathered, resumed and read back."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from faster_coco_eval import COCO, COCOeval_faster
from PIL import Image

from ivif.callbacks.boxes import above_score
from ivif.callbacks.detection_files import DetectionFiles, gather
from ivif.callbacks.images import save_atomically
from ivif.callbacks.prediction_writer import PredictionWriter
from ivif.contracts.batch import Detections
from ivif.datamodules.datasets.folder import FolderDataset, FolderLayout
from ivif.metrics.detection import DetectionMetrics
from ivif.testing.batches import quiet_trainer
from ivif.testing.processes import run_python
from tests.callbacks.detecting import BOX, DataWithBoxes, DetectingTask

FOUND: Detections = {
    "boxes": torch.tensor([[2.0, 4.0, 12.0, 24.0], [0.0, 0.0, 40.0, 30.0]]),
    "scores": torch.tensor([0.75, 0.125]),
    "labels": torch.tensor([1, 0]),
}
NAMES = ("person", "car")
PICTURE = Image.new("RGB", (40, 50), (10, 20, 30))


def _predict(folder: Path, boxes: DetectionFiles = DetectionFiles()) -> PredictionWriter:
    writer = PredictionWriter(folder, boxes=boxes)
    trainer = quiet_trainer(folder, callbacks=[writer])
    trainer.predict(DetectingTask(), DataWithBoxes(), return_predictions=False)
    return writer


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def test_a_picture_has_a_file_of_its_detections(tmp_path: Path) -> None:
    DetectionFiles().write(FOUND, PICTURE, tmp_path / "0007.png", NAMES)
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*")] == ["detections/0007.json"]
    assert _read(tmp_path / "detections" / "0007.json") == {
        "file_name": "0007.png",
        "width": 40,
        "height": 50,
        "detections": [
            {"category_id": 2, "category_name": "car", "bbox": [2.0, 4.0, 10.0, 20.0], "score": 0.75},
            {"category_id": 1, "category_name": "person", "bbox": [0.0, 0.0, 40.0, 30.0], "score": 0.125},
        ],
    }


def test_yolo_lines_are_shares_of_the_picture_and_sure_ones_only(tmp_path: Path) -> None:
    DetectionFiles(yolo=True).write(FOUND, PICTURE, tmp_path / "a.png", NAMES)
    assert (tmp_path / "labels" / "a.txt").read_text(encoding="utf-8") == "1 0.175000 0.280000 0.250000 0.400000\n"
    assert (tmp_path / "labels" / "classes.txt").read_text(encoding="utf-8") == "person\ncar\n"
    DetectionFiles(yolo=True, score=0.9).write(FOUND, PICTURE, tmp_path / "a.png", NAMES)
    assert (tmp_path / "labels" / "a.txt").read_text(encoding="utf-8") == ""


def test_a_pair_may_not_take_the_place_of_the_list_of_classes(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"named 'classes'.*list of classes"):
        DetectionFiles(yolo=True).write(FOUND, PICTURE, tmp_path / "classes.png", NAMES)


def test_yolo_texts_are_labels_that_our_own_reader_takes(tmp_path: Path) -> None:
    DetectionFiles(yolo=True, score=0.0).write(FOUND, PICTURE, tmp_path / "ir" / "a.png", ("car", "person"))
    for folder in ("ir", "vi"):
        save_atomically(PICTURE.convert("L") if folder == "ir" else PICTURE, tmp_path / folder / "a.png")
    layout = FolderLayout(labels="ir/labels", label_format="yolo")
    targets = FolderDataset(tmp_path, layout=layout, classes=("person", "car"))[0]["targets"]
    assert targets["labels"].tolist() == [0, 1]  # by name: the files count car first
    assert torch.allclose(targets["boxes"], FOUND["boxes"], atol=1e-3)


def test_drawn_pictures_differ_where_a_sure_box_is(tmp_path: Path) -> None:
    DetectionFiles(draw=True).write(FOUND, PICTURE, tmp_path / "a.png", NAMES)
    changed = (np.asarray(Image.open(tmp_path / "boxes" / "a.png")) != np.asarray(PICTURE)).any(axis=-1)
    assert changed[4:25, 2].all()
    assert changed[24, 2:13].all()
    assert not changed[2:20, 39].any()  # the right edge of the unsure box


def test_gathered_detections_are_coco_results(tmp_path: Path) -> None:
    for name in ("12", "7"):
        DetectionFiles().write(FOUND, PICTURE, tmp_path / f"{name}.png", NAMES)
    (results,) = gather(tmp_path)
    entries = _read(results)
    assert results == tmp_path / "detections.json"
    assert entries[0] == {
        "image_id": 12,
        "file_name": "12.png",
        "category_id": 2,
        "category_name": "car",
        "bbox": [2.0, 4.0, 10.0, 20.0],
        "score": 0.75,
    }
    assert [(entry["image_id"], entry["category_name"]) for entry in entries] == [
        (12, "car"),
        (12, "person"),
        (7, "car"),
        (7, "person"),
    ]


def test_nothing_found_is_an_empty_list(tmp_path: Path) -> None:
    nothing = above_score(FOUND, 1)
    DetectionFiles(yolo=True, draw=True).write(nothing, PICTURE, tmp_path / "a.png", NAMES)
    assert _read(gather(tmp_path)[0]) == []
    assert (tmp_path / "labels" / "a.txt").read_text(encoding="utf-8") == ""
    assert (np.asarray(Image.open(tmp_path / "boxes" / "a.png")) == np.asarray(PICTURE)).all()


def test_predict_writes_them_per_dataset(tmp_path: Path) -> None:
    writer = _predict(tmp_path, DetectionFiles(yolo=True))
    assert writer.results == [tmp_path / name / "detections.json" for name in ("made", "other")]
    entries = _read(tmp_path / "made" / "detections.json")
    assert [(entry["image_id"], entry["category_name"]) for entry in entries] == [
        (0, "person"),
        (1, "car"),
        (2, "person"),
    ]
    assert entries[0]["bbox"] == [BOX[0], BOX[1], BOX[2] - BOX[0], BOX[3] - BOX[1]]
    assert sorted(path.name for path in (tmp_path / "other" / "labels").iterdir()) == [
        "0000.txt",
        "0001.txt",
        "classes.txt",
    ]


def test_coco_tools_read_them_and_find_our_own_map(tmp_path: Path) -> None:
    _predict(tmp_path)
    left, top, right, bottom = BOX
    truth = {
        "images": [{"id": index, "width": 32, "height": 24} for index in range(3)],
        "categories": [{"id": 1, "name": "person"}, {"id": 2, "name": "car"}],
        "annotations": [
            {
                "id": index + 1,
                "image_id": index,
                "category_id": 1,
                "bbox": [left, top, right - left, bottom - top],
                "area": (right - left) * (bottom - top),
                "iscrowd": 0,
            }
            for index in range(3)
        ],
    }
    coco = COCO(truth)
    evaluation = COCOeval_faster(coco, coco.loadRes(str(tmp_path / "made" / "detections.json")), "bbox")
    for step in (evaluation.evaluate, evaluation.accumulate, evaluation.summarize):
        step()
    metrics = DetectionMetrics(NAMES)
    for index in range(3):
        box = torch.tensor([BOX])
        label = torch.tensor([int(index == 1)])
        metrics.update(
            [{"boxes": box, "scores": torch.tensor([0.9]), "labels": label}],
            [{"boxes": box, "labels": torch.tensor([0])}],
            ["made"],
            [f"{index:04d}"],
        )
    assert evaluation.stats[0] == pytest.approx(metrics.report().overall.map50_95, abs=1e-6)
    assert evaluation.stats[0] == pytest.approx(67 / 101, abs=1e-6)


def test_a_pair_is_done_when_all_its_files_are_there(tmp_path: Path) -> None:
    writer = _predict(tmp_path, DetectionFiles(yolo=True, draw=True))
    picture = tmp_path / "made" / "0000.png"
    assert writer.is_finished(picture, detects=True)
    for path in (picture.parent / "detections" / "0000.json", picture.parent / "labels" / "0000.txt"):
        path.unlink()
        assert not writer.is_finished(picture, detects=True)
        assert writer.is_finished(picture, detects=False)


def test_a_picture_is_written_after_its_detections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a run that is killed between the two does the pair again."""

    def stop(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("ivif.callbacks.prediction_writer.save_atomically", stop)
    with pytest.raises(OSError, match="disk full"):
        _predict(tmp_path)
    assert (tmp_path / "made" / "detections" / "0000.json").is_file()
    assert not list(tmp_path.rglob("*.png"))


def test_a_task_that_detects_nothing_writes_none(tmp_path: Path) -> None:
    assert gather(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_a_score_is_a_share() -> None:
    with pytest.raises(ValueError, match=r"boxes\.score is 25\.0"):
        DetectionFiles(score=25.0)


@pytest.mark.slow
def test_two_processes_write_what_one_writes(tmp_path: Path) -> None:
    script = Path(__file__).parent / "ddp_prediction.py"
    for devices in (1, 2):
        run_python(script, tmp_path / str(devices), devices)
    one, two = (
        {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.*") if path.is_file()}
        for folder in (tmp_path / "1" / "out", tmp_path / "2" / "out")
    )
    assert one == two
    assert len({entry["file_name"] for entry in _read(tmp_path / "2" / "out" / "detections.json")}) == 5
    assert len(one) == 5 * 4 + 2  # of each scene picture, detections, labels, drawn boxes; results and class list
