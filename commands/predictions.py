"""What `predict` does before it computes: claims its output folder and leaves out the pairs that are done."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from callbacks.checkpoint_io import remove_partial_files
from callbacks.detection_files import PARTS_OF_PICTURES
from callbacks.prediction_writer import PredictionWriter, check_record, picture_path
from commands.agreement import task_classes
from commands.checkpoints import fingerprint
from commands.config_files import is_file
from commands.run_folder import lock_run_folder, unlock_folder
from datamodules.base import FusionDataModule
from lightning_modules.base import FusionTask

_OF_TRAINING: Final = frozenset(
    [
        "bilevel",
        "crops",
        "feature_cache",
        "loss",
        "lower",
        "optimizer",
        "phases",
        "prompts",
        "schedule",
        "training",
        "upper",
    ]
)
"""Sections of a task's options that change how it is trained, and nothing of what trained weights predict."""

_REPLACED_BY_WEIGHTS: Final = frozenset(("detector.weights", "network.checkpoint_blocks"))
"""Options inside other sections that say nothing once there is a checkpoint."""


@contextmanager
def held_output(writer: PredictionWriter, folder: Path, dataset_names: Sequence[str]) -> Iterator[None]:
    """Holds the folder that `predict` writes into, and removes what killed processes left there half written.

    Args:
        writer: Where is written; what goes into the run folder is held with it.
        folder: The folder.
        dataset_names: Names of the folders in it, where there are several datasets.

    Raises:
        UsageError: If another process writes there, or nobody can.
    """
    own = writer.output_dir is not None
    if own:
        lock_run_folder(folder, "output", "--output_dir")
    try:
        for place in (folder, *(folder / name for name in dataset_names)):
            for part in ("", *PARTS_OF_PICTURES):
                remove_partial_files(place / part, below=False)
        yield
    finally:
        if own:
            unlock_folder(folder)


def skip_finished(
    writer: PredictionWriter,
    task: FusionTask,
    data: FusionDataModule,
    configs: Mapping[str, Mapping[str, Any]],
    checkpoint: Path | None,
    seed: int | None = None,
    claims: bool = True,
) -> None:
    """Refuses an output folder that other weights, options or data filled; skips the pairs whose files are there.

    Without a folder of its own a run writes into its run folder, and there is nothing to claim.

    Args:
        writer: Where and what is written.
        task: What fuses.
        data: Forgets the pairs that are done.
        configs: `class_path` and `init_args` of `model` and `data`, complete.
        checkpoint: The weights, or `None` for an untrained or weightless task.
        seed: What an untrained network was drawn from.
        claims: Whether this process, of several, notes in the folder what fills it.

    Raises:
        FileExistsError: If the folder was filled otherwise; says what differs.
    """
    if writer.output_dir is None:
        return
    folder, detects = Path(writer.output_dir), bool(task_classes(task))
    made_by = {
        "task": type(task).__name__,
        "weights": _weights(task, checkpoint, seed),
        "colour": "grey" if writer.grey else "rgb",
        "data": _data_settings(data, configs["data"]),
        **model_settings(configs["model"], checkpoint is not None),
    }
    if detects:
        made_by["boxes"] = writer.boxes.record()
    check_record(folder, made_by, claims)
    skipped = data.skip_predictions(
        lambda dataset, name, several: writer.is_finished(picture_path(folder, dataset, name, several), detects)
    )
    if skipped:
        print(f"{skipped} fused images are already in '{folder}' and are skipped.")


def say_where(writer: PredictionWriter, folder: Path) -> None:
    """Prints what was written, and where."""
    print(f"Fused images: {writer.written} written to {folder}")
    for results in writer.results:
        print(f"Detections: {results}")


def _weights(task: FusionTask, checkpoint: Path | None, seed: int | None) -> str:
    if checkpoint is not None:
        return fingerprint(checkpoint)
    return f"untrained, seed {seed}" if task.needs_weights else "none"


def model_settings(config: Mapping[str, Any], trained: bool) -> dict[str, str]:
    """The options of a task that change what it predicts, each by its name on the command line.

    Args:
        config: `class_path` and `init_args`.
        trained: Whether there is a checkpoint, which replaces the weights that options name.
    """
    silent = _REPLACED_BY_WEIGHTS if trained else frozenset()
    settings = {key: value for key, value in (config.get("init_args") or {}).items() if key not in _OF_TRAINING}
    return {f"model.init_args.{key}": value for key, value in _flat(settings) if key not in silent}


def _flat(settings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from ((f"{key}.{inner}", text) for inner, text in _flat(value))
        elif isinstance(value, str | Path) and is_file(str(value)):
            yield key, fingerprint(Path(value))  # `latest/checkpoints/last.ckpt` may be another file by now
        else:
            yield key, json.dumps(value, default=str)


def _data_settings(data: FusionDataModule, config: Mapping[str, Any]) -> str:
    """What decides which pairs are read and how, in one line."""
    settings = {key: value for key, value in config["init_args"].items() if key not in ("loading", "transforms")}
    settings["clip_size"] = data.transforms.clip_size
    return f"{config['class_path']} {json.dumps(settings, default=str, sort_keys=True)}"
