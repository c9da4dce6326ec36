"""What is answered where a detector is asked for and no classes are known: what this task and these data can do."""

from pathlib import Path

import pytest

from ivif.commands.errors import UsageError
from ivif.commands.train.compatibility import refuse_unknown_classes
from ivif.datamodules.base import FusionDataModule
from ivif.datamodules.datasets.base import ReadingConfig
from ivif.datamodules.folder import FolderDataModule
from ivif.datamodules.msrs import MSRSDataModule
from ivif.datamodules.tno import TNODataModule
from ivif.datamodules.unified import UnifiedDataModule

DETECTION = "ivif.lightning_modules.detection.DetectionTask"
FUSION = "ivif.lightning_modules.text_to_pixels.TextToPixelsTask"
ROOT = Path("nowhere")
OFF = ReadingConfig(labels=False)
NULL = "--model.detector null"


def _message(data: FusionDataModule, task: str) -> str:
    with pytest.raises(UsageError) as refused:
        refuse_unknown_classes(data, {"class_path": task, "init_args": {"detector": {"architecture": "yolov5n"}}})
    return str(refused.value)


@pytest.mark.parametrize(
    ("data", "named", "absent"),
    [
        (FolderDataModule(root=ROOT), ["layout.labels FOLDER", "classes '[person, car]'"], "msrs"),
        (FolderDataModule(root=ROOT, reading=OFF), ["layout.labels", "reading.labels true"], "msrs"),
        (MSRSDataModule(root=ROOT, reading=OFF), ["switched off", "--data.reading.labels true"], "msrs"),
        (TNODataModule(root=ROOT), ["have no boxes", "configs/data/msrs_detection.yaml"], "reading.labels"),
        (TNODataModule(root=ROOT, reading=OFF), ["have no boxes", "configs/data/msrs_detection.yaml"], "reading"),
        (UnifiedDataModule(root=ROOT), ["mixture", "--data.classes '[person]'", "one dataset with boxes"], "layout"),
    ],
    ids=["folder", "folder off", "msrs off", "tno", "tno off", "unified"],
)
def test_each_kind_of_data_has_its_remedy(data: FusionDataModule, named: list[str], absent: str) -> None:
    message = _message(data, FUSION)
    assert all(text in message for text in [*named, NULL])
    assert absent not in message


def test_a_task_that_needs_its_detector_is_not_told_to_leave_it_out() -> None:
    assert NULL not in _message(TNODataModule(root=ROOT), DETECTION)


@pytest.mark.parametrize("arguments", [{"detector": None}, {}])
def test_a_task_without_a_detector_needs_no_classes(arguments: dict[str, None]) -> None:
    refuse_unknown_classes(TNODataModule(root=ROOT), {"class_path": FUSION, "init_args": arguments})
