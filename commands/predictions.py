"""What `predict` does before it computes: claims its output folder and leaves out the pairs that are done."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from callbacks.checkpoint_io import remove_partial_files
from callbacks.detection_files import PARTS_OF_PICTURES
from callbacks.prediction_writer import PredictionWriter, check_record, picture_path
from commands.agreement import task_classes
from commands.checkpoints import fingerprint
from commands.run_folder import lock_run_folder, unlock_folder
from datamodules.base import FusionDataModule
from lightning_modules.base import FusionTask


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
    data_config: Mapping[str, Any],
    checkpoint: Path | None,
) -> None:
    """Refuses an output folder that other weights, options or data filled; skips the pairs whose files are there.

    Without a folder of its own a run writes into its run folder, and there is nothing to claim.

    Args:
        writer: Where and what is written.
        task: What fuses.
        data: Forgets the pairs that are done.
        data_config: `class_path` and `init_args` of the data.
        checkpoint: The weights, or `None` for an untrained or weightless task.

    Raises:
        FileExistsError: If the folder was filled otherwise; says what differs.
    """
    if writer.output_dir is None:
        return
    folder, detects = Path(writer.output_dir), bool(task_classes(task))
    made_by = {
        "task": type(task).__name__,
        "weights": fingerprint(checkpoint) if checkpoint else "untrained",
        "colour": "grey" if writer.grey else "rgb",
        "data": _data_settings(data, data_config),
    }
    if detects:
        made_by["boxes"] = writer.boxes.record()
    check_record(folder, made_by)
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


def _data_settings(data: FusionDataModule, config: Mapping[str, Any]) -> str:
    """What decides which pairs are read and how, in one line."""
    settings = {key: value for key, value in config["init_args"].items() if key not in ("loading", "transforms")}
    settings["resize"] = data.transforms.resize
    return f"{config['class_path']} {json.dumps(settings, default=str, sort_keys=True)}"
