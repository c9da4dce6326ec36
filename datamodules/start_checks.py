"""What a run looks at before its first step: every label file, and a few pictures of every dataset."""

import logging
from collections import Counter
from collections.abc import Sequence
from typing import Final

from lightning import Trainer
from torch.utils.data import Dataset

from ivif.contracts.batch import Sample
from ivif.datamodules.datasets.base import PairedDataset
from ivif.datamodules.datasets.io import read_image
from ivif.datamodules.datasets.plausibility import PictureFacts, depth_findings, picture_facts, picture_findings
from ivif.datamodules.datasets.stored import StoredPlanes, dataset_of
from ivif.datamodules.datasets.temperatures import as_celsius
from ivif.files.errors import LabelError, UnreadableFileError

logger = logging.getLogger(__name__)

MOST_PAIRS: Final = 12
"""Pairs of a dataset whose pictures are decoded before a run: `ivif data check` looks at all."""


def files_of(dataset: object) -> PairedDataset | None:
    """The reader of the files behind a dataset, which may be wrapped (to add prompts); None for generated pairs."""
    if isinstance(dataset, PairedDataset):
        return dataset
    return next((value for value in vars(dataset).values() if isinstance(value, PairedDataset)), None)


def look_over(readers: Sequence[Dataset[Sample]], stage: str, *, detects: bool) -> None:
    """Reads all labels of a stage (what they say is kept) and some of its pictures; warns of what looks wrong.

    Args:
        readers: Of the stage.
        stage: `train`, `val`, `test` or `all`.
        detects: Whether a detector is to learn from these pairs, or to be validated on them.

    Raises:
        LabelError: If a label file cannot be used, or a detector would learn from pairs without a single box.
    """
    files = [reader for dataset in readers if (reader := files_of(dataset))]
    boxes = sum((_count_boxes(reader) for reader in files), Counter[int]())
    for reader in files:
        indices = spread(len(reader), MOST_PAIRS)
        seen = f" ({len(indices)} of {len(reader)} pairs looked at)"
        lines = [(line, "") for line in reader.label_reader.tally.lines()]
        for line, note in lines + [(line, seen) for line in _picture_lines(reader, indices)]:
            logger.warning("%s %s: %s%s.", stage, reader.dataset_name, line, note)
    if detects and files and len(files) == len(readers):
        _compare_classes(files, stage, boxes)


def check_stored(readers: Sequence[Dataset[Sample]], pictured: Sequence[Dataset[Sample]]) -> None:
    """Looks for the stored picture of every pair, where pairs have stored pictures.

    Raises:
        StoredPlaneError: If one is missing.
    """
    for reader, planes in zip(readers, pictured, strict=True):
        if isinstance(planes, StoredPlanes):
            planes.check(dataset_of(reader), reader.names)  # type: ignore[attr-defined]


def detected_classes(trainer: Trainer | None) -> Sequence[str]:
    """The classes of the detector that is trained, where there is one."""
    return tuple(getattr(trainer and trainer.lightning_module, "class_names", ()))


def spread(length: int, most: int) -> list[int]:
    """At most so many positions in a list of that length, evenly."""
    count = min(length, most)
    return [position * length // count for position in range(count)]


def _compare_classes(files: Sequence[PairedDataset], stage: str, boxes: Counter[int]) -> None:
    """Refuses to train a detector that sees no box, and names the classes of which it sees none."""
    if stage == "train" and not boxes:
        raise LabelError(_no_boxes(files))
    absent = [name for label, name in enumerate(files[0].classes) if not boxes[label]]
    if absent:
        what = "learnt" if stage == "train" else "scored"
        logger.warning("%s: no box of class %s; it cannot be %s.", stage, ", ".join(absent), what)


def _count_boxes(reader: PairedDataset) -> Counter[int]:
    """Boxes of each label."""
    count: Counter[int] = Counter()
    if not reader.has_labels:
        return count
    for index, record in enumerate(reader.records):
        if record.label is not None:
            try:
                count.update(reader.load_targets(index)["labels"].tolist())
            except UnreadableFileError:  # its picture: loading will say so, where it is needed
                continue
    return count


def _picture_lines(reader: PairedDataset, indices: Sequence[int]) -> list[str]:
    infrared: list[PictureFacts] = []
    visible: list[PictureFacts] = []
    thermal_range, most = reader.thermal_range, reader.reading.max_pixels
    for index in indices:
        record = reader.records[index]
        try:
            pictures = [read_image(path, max_pixels=most) for path in (record.infrared, record.visible)]
            measured = as_celsius(record.infrared, pictures[0])
            facts = picture_facts(measured, thermal_range), picture_facts(pictures[1])
        except (UnreadableFileError, ValueError):  # as above
            continue
        infrared.append(facts[0])
        visible.append(facts[1])
    declared = reader.label_reader.tally.channels
    return picture_findings(infrared, visible, reader.reading) + depth_findings(declared, infrared, visible)


def _no_boxes(files: Sequence[PairedDataset]) -> str:
    names = ", ".join(reader.dataset_name for reader in files)
    labelled = sum(record.label is not None for reader in files for record in reader.records)
    if not labelled:
        places = "; ".join(reader.where_boxes_were_looked_for for reader in files)
        return f"A detector cannot learn from {names}: no pair has a label file. {places}."
    pairs = sum(map(len, files))
    lines = "; ".join(line for reader in files for line in reader.label_reader.tally.lines())
    return (
        f"A detector cannot learn from {names}: the label files of {labelled} of {pairs} training pairs hold no box "
        f"that is used{f' ({lines})' if lines else ''}. See with `ivif data check` what is there, and give pairs with "
        f"boxes of {', '.join(files[0].classes)}."
    )
