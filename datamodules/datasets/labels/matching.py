"""Which label file belongs to which pair."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ivif.datamodules.datasets.labels.formats import CLASS_LIST_FILES, LABEL_FORMATS, coco_stems
from ivif.datamodules.datasets.pairing import FoundPairs, list_files, stem_key
from ivif.files.errors import LabelError


def attach_labels(
    found: FoundPairs,
    source: Path | None,
    suffixes: Sequence[str] = tuple(LABEL_FORMATS.values()),
    *,
    shared: bool = False,
) -> FoundPairs:
    """Gives each pair its label file.

    Args:
        found: The pairs.
        source: A folder of one file per pair, found by the stem of its visible or infrared image; or a COCO json
            file, which labels all the pairs that it knows; None changes nothing.
        suffixes: The formats to look for in a folder, best first.
        shared: Whether the folder also serves pairs that are not among `found`: its other files are then no strays.

    Returns:
        The pairs with their labels, and the label files that belong to none.

    Raises:
        LabelError: If two label files of one format serve one pair.
    """
    if source is None:
        return found
    labels = dict.fromkeys(coco_stems(source), source) if source.is_file() else _labels_by_stem(source, suffixes)
    records = [
        replace(record, label=labels.get(stem_key(record.visible)) or labels.get(stem_key(record.infrared)))
        for record in found.records
    ]
    if shared or source.is_file():
        return replace(found, records=records)
    known = [record.visible for record in records] + [record.infrared for record in records]
    stems = {stem_key(path) for path in (*known, *found.unmatched_visible, *found.unmatched_infrared)}
    strays = [file for stem, file in sorted(labels.items()) if stem not in stems]
    return replace(found, records=records, stray_labels=found.stray_labels + strays)


def _labels_by_stem(folder: Path, suffixes: Sequence[str]) -> dict[str, Path]:
    labels: dict[str, Path] = {}
    for suffix in reversed(suffixes):
        files: dict[str, Path] = {}
        for file in list_files(folder, (suffix,)):
            if file.name in CLASS_LIST_FILES:
                continue
            if other := files.get(stem_key(file)):
                raise LabelError(f"'{other}' and '{file}' label one pair. Keep one of them.")
            files[stem_key(file)] = file
        labels |= files
    return labels
