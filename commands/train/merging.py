"""Joins the shards of a folder: their records become that of the folder, their detections one file."""

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from ivif.callbacks.detection_files import DetectionFiles, gather
from ivif.callbacks.prediction_record import RECORD, claim_pictures
from ivif.callbacks.prediction_shards import (
    SHARDS,
    Manifest,
    Shard,
    ShardError,
    begun_shards,
    read_manifest,
    settings_of_boxes,
    whole_of,
)
from ivif.callbacks.prediction_writer import PredictionWriter
from ivif.commands.train.predictions import remove_unfinished
from ivif.commands.train.run_folder import lock_run_folder, refuse_held, unlock_folder
from ivif.files.whole import write_whole


def merge(output: Path) -> tuple[int, int, list[Path]]:
    """Joins the shards of a folder, if all are done; it is then as one `predict` of all pairs had left it.

    A merge that is stopped at any moment is made again: the records of the shards go last.

    Returns:
        How many pictures and shards there are, and the files with the detections of all pictures.

    Raises:
        UsageError: If a process still writes there.
        ShardError: If a shard is missing or not done, a picture is gone, or shards do not fit together.
        FileExistsError: If the record of the folder says that another command made one of the pictures.
    """
    lock_run_folder(output, "output", "OUT")
    try:
        shards = begun_shards(output)
        for shard in shards:
            refuse_held(shard.folder(output))
        manifests = {shard: read_manifest(shard, output) for shard in shards}
        one, names = whole_of(manifests, output)
        _refuse_lost(manifests, output)
        pictures = [output / name for name in names]
        record = claim_pictures(output, one.made_by, pictures, one.classes, noted=set(names))
        remove_unfinished({picture.parent for picture in pictures})
        results = gather(output)
        write_whole(output / RECORD, record)
        shutil.rmtree(output / SHARDS)
    finally:
        unlock_folder(output)
    return len(names), len(shards), results


def _refuse_lost(manifests: Mapping[Shard, Manifest], output: Path) -> None:
    """Refuses shards of which a picture, or a file of its detections, is no longer there.

    Raises:
        ShardError: Names the first.
    """
    for shard, manifest in manifests.items():
        boxes = settings_of_boxes(manifest)
        writer = PredictionWriter(output, boxes=DetectionFiles(**(boxes or {})))
        if lost := _first_lost(manifest.pictures, output, writer, boxes is not None):
            raise ShardError(
                f"Shard {shard} was done, but '{output / lost}' or a file that belongs to it is gone. Run it with "
                f"--shard {shard} again, which makes what is missing, and join them then."
            )


def _first_lost(names: Iterable[str], output: Path, writer: PredictionWriter, detects: bool) -> str:
    return next((name for name in names if not writer.is_finished(output / name, detects)), "")
