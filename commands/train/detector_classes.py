"""What to do where a detector is asked for, and the data name no classes."""

from collections.abc import Mapping
from typing import Any, get_args, get_type_hints

from ivif.commands.errors import UsageError
from ivif.contracts.class_paths import class_of
from ivif.datamodules.base import FusionDataModule
from ivif.datamodules.folder import FolderDataModule
from ivif.datamodules.unified import UnifiedDataModule

_WITH_BOXES = "Choose one dataset with boxes, such as --data configs/data/msrs_detection.yaml"


def refuse_unknown_classes(data: FusionDataModule, model: Mapping[str, Any]) -> None:
    """Refuses a task that is to detect objects of no known class.

    Args:
        data: Without classes.
        model: `class_path` and `init_args` of the task, complete.

    Raises:
        UsageError: If the task has a detector; says what these data and this task can do about it.
    """
    if (model.get("init_args") or {}).get("detector") is None:
        return
    task, remedy = class_of(str(model["class_path"])), _remedy(data)
    if type(None) in get_args(get_type_hints(task.__init__).get("detector")):
        remedy += ", or train fusion alone with --model.init_args.detector null"
    raise UsageError(f"{task.__name__} has a detector, and {_reason(data)}. {remedy}.")


def _reading_off(data: FusionDataModule) -> bool:
    """Whether data that have boxes, or may have them, are told not to read them."""
    reading, reader = getattr(data, "reading", None), getattr(data, "dataset_class", None)
    may_have = isinstance(data, FolderDataModule) or bool(getattr(reader, "classes", ()))
    return may_have and reading is not None and not reading.labels


def _reason(data: FusionDataModule) -> str:
    if isinstance(data, UnifiedDataModule):
        return "a mixture of datasets has no boxes, because what their labels mean differs"
    if _reading_off(data):
        return "the boxes of the data are switched off"
    if isinstance(data, FolderDataModule):
        return "nothing says where the boxes of your folder are and what their classes are called"
    return "the data have no boxes, so that no classes are known"


def _remedy(data: FusionDataModule) -> str:
    if isinstance(data, UnifiedDataModule):
        return _WITH_BOXES
    if isinstance(data, FolderDataModule):
        labels = "--data.init_args.layout.labels FOLDER --data.init_args.classes '[person, car]'"
        on = " --data.init_args.reading.labels true" if _reading_off(data) else ""
        return f"Give {labels}{on}"
    return "Leave --data.init_args.reading.labels true" if _reading_off(data) else _WITH_BOXES
