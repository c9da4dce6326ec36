"""Whether a task, its data and its trainer fit together, settled here so that no configuration has to say it twice.

What a task needs it declares itself (`ivif.lightning_modules.declaration`).
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, get_args, get_type_hints

from lightning import Trainer
from lightning.pytorch.utilities import rank_zero_info

from ivif.callbacks.run_checkpoint import RunCheckpoint
from ivif.commands.errors import UsageError
from ivif.commands.train.checkpoints import check_checkpoint
from ivif.contracts.class_paths import class_of
from ivif.datamodules.base import FusionDataModule
from ivif.datamodules.configuration import with_clip_size
from ivif.datamodules.datasets.labels import checked_class_names
from ivif.datamodules.folder import FolderDataModule
from ivif.datamodules.unified import UnifiedDataModule
from ivif.files.archives import load_plain
from ivif.lightning_modules.base import FusionTask
from ivif.lightning_modules.initialization import initialise_from

logger = logging.getLogger(__name__)

_HALF: Final = ("16", "16-mixed", "16-true")
_WITH_BOXES: Final = "Choose one dataset with boxes, such as --data configs/data/msrs_detection.yaml"


def class_names(data: FusionDataModule, checkpoint: Path | None, scored: bool = True) -> list[str]:
    """Names of the labels for a task that detects: the trained detector's, else the data's; none without labels.

    Args:
        data: Names its classes.
        checkpoint: Names those of its detector.
        scored: Whether detections are compared with the data's labels, so that both must agree.

    Raises:
        UsageError: If a trained detector and the data's labels do not name the same classes.
    """
    names = list(data.classes)
    trained = _trained_classes(checkpoint)
    if scored and trained and names and names != trained:
        raise UsageError(
            f"The checkpoint detects {_listed(trained)}, but the data has the classes {_listed(names)}. Choose data "
            f"with the checkpoint's classes, or set --data.reading.labels=false to leave its boxes out."
        )
    return trained or names


def refuse_unknown_classes(data: FusionDataModule, model: Mapping[str, Any]) -> None:
    """Refuses a task that is to detect objects of no known class.

    Args:
        data: Without classes.
        model: `class_path` and `init_args` of the task, complete.

    Raises:
        UsageError: If the task has a detector; says what these data and this task can do about it.
    """
    task = class_of(str(model["class_path"]))
    option: str | None = getattr(task, "detector_option", None)
    if option is None or (model.get("init_args") or {}).get(option) is None:
        return
    remedy = _remedy(data)
    if type(None) in get_args(get_type_hints(task.__init__).get(option)):
        remedy += f", or train fusion alone with --model.{option} null"
    raise UsageError(f"{task.__name__} has a detector, and {_reason(data)}. {remedy}.")


def provide(task: FusionTask, data: FusionDataModule, previous: Path | None) -> None:
    """Has the data bring what a task needs: views for CLIP, saliency, the results of the last epoch.

    Args:
        task: As built.
        data: As configured; changed in place.
        previous: Where a training run keeps results, unless the data say where; None where nothing is trained.
    """
    needs = task.data_needs
    if needs.clip_size is not None:
        data.transforms = with_clip_size(data.transforms, needs.clip_size)
    if needs.saliency and data.transforms.crop is not None:
        data.transforms = replace(data.transforms, saliency=True)
    if needs.previous_results and previous is not None:
        data.previous_dir = data.previous_dir or previous


def refuse_options(task: FusionTask, settings: Mapping[str, Any], on_cpu: bool) -> None:
    """Refuses options of Lightning's trainer that the task does otherwise, or the device cannot.

    Args:
        task: The task that is to be trained.
        settings: The trainer's arguments.
        on_cpu: Whether the run computes on a CPU.

    Raises:
        ValueError: As the task's `check_trainer`.
        UsageError: If float16 is asked for on a CPU, where Lightning would take bfloat16.
    """
    task.check_trainer(settings.get("accumulate_grad_batches") or 1, settings.get("gradient_clip_val"))
    precision = str(settings.get("precision") or "")
    if on_cpu and precision in _HALF:
        raise UsageError(
            f"--trainer.precision {precision}: float16 needs a GPU. On a CPU take --trainer.precision bf16-mixed."
        )


def start_from(task: FusionTask, path: Path, settings: Mapping[str, Any]) -> None:
    """Gives a task the weights of another run, and says which.

    Args:
        task: As built.
        path: `--init_from`.
        settings: The task's arguments: parts with a file of their own (`part_files`) keep what that file gave them.

    Raises:
        UsageError: If the checkpoint cannot be read.
        CheckpointMismatchError: If it does not fit.
        FrozenPartMismatchError: If it was trained with another encoder.
    """
    check_checkpoint(path, option="--init_from")
    keep = [part for part, option in task.part_files.items() if _setting(settings, option)]
    transfer = initialise_from(task, load_plain(path), keep)
    said = f"Weights of {_listed(transfer.taken)} from {path}."
    if transfer.fresh:
        said += f" Not there, or for other classes, so they start anew: {_listed(transfer.fresh)}."
    if keep:
        said += f" From files of their own: {_listed(keep)}."
    if transfer.left:
        said += f" Not used: {_listed(transfer.left)}."
    rank_zero_info(said)


def watch_what_is_logged(task: FusionTask, trainer: Trainer) -> None:
    """A task that detects nothing logs no mAP: its checkpoints are then the newest ones, not those of the best mAP."""
    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, RunCheckpoint) and "AP50" in (callback.monitor or "") and not task.class_names:
            logger.info("No detector, no mAP: checkpoint.monitor '%s' gives way to the newest.", callback.monitor)
            callback.monitor = None


def _trained_classes(checkpoint: Path | None) -> list[str]:
    if checkpoint is None:
        return []
    stored = load_plain(checkpoint)
    names = stored.get("hyper_parameters", {}).get("classes") or []
    return list(checked_class_names(map(str, names), f"The checkpoint '{checkpoint}'"))


def _setting(settings: Mapping[str, Any], option: str) -> Any:
    """What an option such as `section.key` is set to; None where a section is off."""
    value: Any = settings
    for key in option.split("."):
        value = (value or {}).get(key)
    return value


def _reading_off(data: FusionDataModule) -> bool:
    """Whether data that have boxes, or may have them, are told not to read them."""
    reading, reader = getattr(data, "reading", None), getattr(data, "dataset_class", None)
    may_have = isinstance(data, FolderDataModule) or bool(getattr(reader, "classes", ()))
    return may_have and reading is not None and not reading.labels


def _reason(data: FusionDataModule) -> str:
    if isinstance(data, UnifiedDataModule):
        return "the classes of a mixture of datasets differ, and nothing says which to use"
    if _reading_off(data):
        return "the boxes of the data are switched off"
    if isinstance(data, FolderDataModule):
        return "nothing says where the boxes of your folder are and what their classes are called"
    return "the data have no boxes, so that no classes are known"


def _remedy(data: FusionDataModule) -> str:
    if isinstance(data, UnifiedDataModule):
        return f"Say which: --data.datasets '[m3fd, msrs, llvip]' --data.classes '[person]'. {_WITH_BOXES}"
    if isinstance(data, FolderDataModule):
        labels = "--data.layout.labels FOLDER --data.classes '[person, car]'"
        on = " --data.reading.labels true" if _reading_off(data) else ""
        return f"Give {labels}{on}"
    return "Leave --data.reading.labels true" if _reading_off(data) else _WITH_BOXES


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)
