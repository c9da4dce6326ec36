"""What a task, its data and its trainer must agree on, settled here so that no configuration has to say it twice."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, Trainer
from lightning.pytorch.utilities import rank_zero_info

from ivif.callbacks.previous_results import PreviousResults
from ivif.callbacks.prompt_record import PromptRecord
from ivif.callbacks.run_checkpoint import RunCheckpoint
from ivif.commands.errors import UsageError
from ivif.commands.train.checkpoints import check_checkpoint
from ivif.datamodules.base import FusionDataModule
from ivif.datamodules.configuration import with_clip_size
from ivif.datamodules.datasets.labels import checked_class_names
from ivif.lightning_modules.base import FusionTask
from ivif.lightning_modules.bilevel_task import BilevelTask
from ivif.lightning_modules.initialization import initialise_from
from ivif.running.internals import allow_unused_parameters

logger = logging.getLogger(__name__)


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
            f"with the checkpoint's classes, or set --data.init_args.reading.labels=false to leave its boxes out."
        )
    return trained or names


def agree_on_views(task: FusionTask, data: FusionDataModule) -> None:
    """A task that looks at more than the crop (CLIP at whole frames, saliency) gets that from the datamodule."""
    encoder = getattr(task, "encoder", None)
    if encoder is not None and getattr(task, "clip_view", "crop") == "full":
        data.transforms = with_clip_size(data.transforms, encoder.image_size)
    if getattr(task, "needs_saliency", False) and data.transforms.crop is not None:
        data.transforms = replace(data.transforms, saliency=True)


def keep_results(task: FusionTask, data: FusionDataModule, run_folder: Path) -> list[Callback]:
    """The store of last epoch's results, where a task is held near to them: read by the data, written by a callback."""
    loss = getattr(task, "loss_config", None)
    if getattr(loss, "previous", None) != "memory":
        return []
    data.previous_dir = data.previous_dir or run_folder / "previous"
    return [PreviousResults(data.previous_dir)]


def record_prompts(task: FusionTask) -> list[Callback]:
    """What writes learnt prompts beside the checkpoints, where a task learns such."""
    learner = getattr(task, "learner", None)
    return [] if learner is None else [PromptRecord(learner.prompts)]


def start_from(task: FusionTask, path: Path, settings: Mapping[str, Any]) -> None:
    """Gives a task the weights of another run, and says which.

    Args:
        task: As built.
        path: `--init_from`.
        settings: The task's arguments: a detector or prompts with a file of their own keep what that file gave them.

    Raises:
        UsageError: If the checkpoint cannot be read.
        CheckpointMismatchError: If it does not fit.
        FrozenPartMismatchError: If it was trained with another encoder.
    """
    check_checkpoint(path, option="--init_from")
    own_files = {"part": ("detector", "weights"), "learner": ("prompts", "file")}
    keep = [part for part, (key, file) in own_files.items() if (settings.get(key) or {}).get(file)]
    transfer = initialise_from(task, torch.load(path, map_location="cpu", weights_only=True, mmap=True), keep)
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
        if isinstance(callback, RunCheckpoint) and "AP50" in (callback.monitor or "") and not task_classes(task):
            logger.info("No detector, no mAP: checkpoint.monitor '%s' gives way to the newest.", callback.monitor)
            callback.monitor = None


def task_classes(task: FusionTask) -> tuple[str, ...]:
    """The classes that a task detects; none if it does not."""
    return tuple(getattr(task, "class_names", ()))


def let_processes_differ(task: FusionTask, trainer: Trainer) -> None:
    """Under DDP, a bilevel step uses the parameters of one level at a time: the others must not be waited for."""
    if isinstance(task, BilevelTask):
        allow_unused_parameters(trainer)


def _trained_classes(checkpoint: Path | None) -> list[str]:
    if checkpoint is None:
        return []
    stored = torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)
    names = stored.get("hyper_parameters", {}).get("classes") or []
    return list(checked_class_names(map(str, names), f"The checkpoint '{checkpoint}'"))


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)
