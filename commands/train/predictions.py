"""What `predict` does before it computes: claims its output folder and leaves out the pairs that are done."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from ivif.callbacks.detection_files import PARTS_OF_PICTURES, YOLO_FOLDER, refuse_other_classes
from ivif.callbacks.prediction_record import RECORD, claim_pictures
from ivif.callbacks.prediction_shards import Shard
from ivif.callbacks.prediction_writer import PredictionWriter, picture_path
from ivif.commands.errors import UsageError
from ivif.commands.parsing.config_files import is_file
from ivif.commands.train.checkpoints import fingerprint
from ivif.commands.train.run_folder import lock_run_folder, unlock_folder
from ivif.commands.train.shards import claim_shard, held_shard, manifest_of, pictures_of, refuse_shards
from ivif.commands.train.thermal_range import without_auto
from ivif.datamodules.base import FusionDataModule
from ivif.datamodules.start_checks import files_of
from ivif.files.whole import remove_empty, remove_partial_files, write_whole
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
def held_output(folder: Path | None, shard: Shard | None = None) -> Iterator[None]:
    """Holds the folder that `predict` writes into; a refused command leaves none that it made.

    Args:
        folder: The folder; None for that of the run, which is held already.
        shard: What is written of it, beside other shards; None for all.

    Raises:
        UsageError: If another process writes there, or nobody can.
        ShardError: If all is to be written where shards were begun.
    """
    if folder is None:
        yield
        return
    if shard is not None:
        yield from held_shard(folder, shard)
        return
    made = lock_run_folder(folder, "output", "--output_dir")
    try:
        refuse_shards(folder)
        yield
    finally:
        unlock_folder(folder)
        remove_empty(made)


def skip_finished(
    writer: PredictionWriter,
    task: FusionTask,
    data: FusionDataModule,
    configs: Mapping[str, Mapping[str, Any]],
    checkpoint: Path | None,
    seed: int | None = None,
    shard: Shard | None = None,
) -> None:
    """Refuses to write over pictures of other weights, options or data; skips the pairs whose files are there.

    Without a folder of its own a run writes into its run folder, and there is nothing to claim. Nothing is written
    before the writer's first picture.

    Args:
        writer: Where and what is written.
        task: What fuses.
        data: Forgets the pairs that are done.
        configs: `class_path` and `init_args` of `model` and `data`, complete.
        checkpoint: The weights, or `None` for an untrained or weightless task.
        seed: What an untrained network was drawn from.
        shard: Of which pairs; None for all.

    Raises:
        FileExistsError: If the folder holds one of the pictures, made otherwise; says what differs.
        ShardError: If it has shards of another number, settings or pairs.
    """
    names = [reader.dataset_name for reader in data.stage_readers(data.predict_stage)]  # type: ignore[attr-defined]
    if writer.output_dir is None:
        writer.prepare = partial(_prepare, names)
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
    manifest = manifest_of(shard, made_by, task.class_names, folder, data) if shard else None
    pictures = list(pictures_of(folder, data))
    for place in {picture.parent for picture in pictures} if detects and writer.boxes.yolo else ():
        refuse_other_classes(place / YOLO_FOLDER, task.class_names)
    if shard and manifest:
        claim_shard(shard, manifest, writer, pictures)
    else:
        record = claim_pictures(folder, made_by, pictures, task.class_names)
        writer.prepare = partial(_prepare, names, record=record)
    skipped = data.skip_predictions(
        lambda dataset, name, several: writer.is_finished(picture_path(folder, dataset, name, several), detects)
    )
    if skipped:
        print(f"{skipped} fused images are already in '{folder}' and are skipped.")


def _prepare(dataset_names: Sequence[str], folder: Path, record: str = "") -> None:
    """Removes what killed processes left half written, and notes what comes."""
    remove_unfinished((folder, *(folder / name for name in dataset_names)))
    if record:
        write_whole(folder / RECORD, record)


def remove_unfinished(places: Iterable[Path]) -> None:
    """Removes what killed processes left half written in folders of pictures, and in those of their detections."""
    for place in places:
        for part in ("", *PARTS_OF_PICTURES):
            remove_partial_files(place / part, below=False)


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
    given = without_auto(config["init_args"])
    settings = {key: value for key, value in given.items() if key not in ("loading", "transforms")}
    settings["clip_size"] = data.transforms.clip_size
    reader = str(config["class_path"]).removeprefix("ivif.")  # as in records of before the rooms were one package
    return f"{reader} {json.dumps(settings, default=str, sort_keys=True)}"
