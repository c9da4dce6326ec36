"""What `predict` does before it computes: claims its output folder and leaves out the pairs that are done."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ivif.callbacks.detection_files import PARTS_OF_PICTURES
from ivif.callbacks.prediction_writer import PredictionWriter, check_record, picture_path
from ivif.commands.errors import UsageError
from ivif.commands.parsing.config_files import is_file
from ivif.commands.train.checkpoints import fingerprint
from ivif.commands.train.run_folder import lock_run_folder, unlock_folder
from ivif.datamodules.base import FusionDataModule
from ivif.datamodules.start_checks import files_of
from ivif.files.whole import remove_partial_files
from ivif.lightning_modules.base import FusionTask


def refuse_sources(folder: Path, data: FusionDataModule, stage: str, option: str) -> None:
    """Refuses to write where a stage's files are read: they would be written over, or taken for results.

    Args:
        folder: Where is to be written.
        data: What reads.
        stage: Whose pairs are read.
        option: The option that chose the folder.

    Raises:
        UsageError: If one of the folders of pictures, labels or fused pictures is the folder, in it, or around it.
    """
    own = folder.resolve()
    for source in sorted(_source_folders(data, stage)):
        if own.is_relative_to(source) or source.is_relative_to(own):
            raise UsageError(
                f"{option} '{folder}': files are read from '{source}', and what is written there could replace them, "
                f"or be taken for them. Choose a folder apart from the data."
            )


def _source_folders(data: FusionDataModule, stage: str) -> set[Path]:
    files = (files_of(reader) for reader in data.stage_readers(stage))
    records = (record for reader in files if reader is not None for record in reader.records)
    folders = {path.parent for one in records for path in (one.infrared, one.visible, one.label) if path is not None}
    return {path.resolve() for path in (*folders, *([data.fused_dir] if data.fused_dir else []))}


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
    folder, detects = Path(writer.output_dir), bool(task.class_names)
    made_by = {
        "task": type(task).__name__,
        "weights": _weights(task, checkpoint, seed),
        "colour": "grey" if writer.grey else "rgb",
        "data": _data_settings(data, configs["data"]),
        **model_settings(type(task), configs["model"], checkpoint is not None),
    }
    if detects:
        made_by["boxes"] = writer.boxes.record()
    check_record(folder, made_by, claims, _pictures(folder, data))
    skipped = data.skip_predictions(
        lambda dataset, name, several: writer.is_finished(picture_path(folder, dataset, name, several), detects)
    )
    if skipped:
        print(f"{skipped} fused images are already in '{folder}' and are skipped.")


def _pictures(folder: Path, data: FusionDataModule) -> Iterable[Path]:
    """Where the fused image of every pair goes."""
    readers = data.stage_readers(data.predict_stage)
    for reader in readers:
        for name in reader.names:  # type: ignore[attr-defined]
            yield picture_path(folder, reader.dataset_name, name, len(readers) > 1)  # type: ignore[attr-defined]


def say_where(writer: PredictionWriter, folder: Path) -> None:
    """Prints what was written, and where."""
    print(f"Fused images: {writer.written} written to {folder}")
    for results in writer.results:
        print(f"Detections: {results}")


def _weights(task: FusionTask, checkpoint: Path | None, seed: int | None) -> str:
    if checkpoint is not None:
        return fingerprint(checkpoint)
    return f"untrained, seed {seed}" if task.needs_weights else "none"


def model_settings(task: type[FusionTask], config: Mapping[str, Any], trained: bool) -> dict[str, str]:
    """The options of a task that change what it predicts, each by its name on the command line.

    Args:
        task: Declares which options change training alone.
        config: `class_path` and `init_args`.
        trained: Whether there is a checkpoint, which replaces the weights that options name.
    """
    silent = {*task.part_files.values(), task.recompute_option} if trained else set()
    arguments = config.get("init_args") or {}
    settings = {key: value for key, value in arguments.items() if key not in task.training_options}
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
    reader = str(config["class_path"]).removeprefix("ivif.")  # as in records of before the rooms were one package
    return f"{reader} {json.dumps(settings, default=str, sort_keys=True)}"
