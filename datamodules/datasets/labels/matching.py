"""Which label file belongs to which pair."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ivif.datamodules.datasets.labels.formats import CLASS_LIST_FILES, LABEL_FORMATS, coco_stems, is_labelme
from ivif.datamodules.datasets.pairs.finding import stem_key
from ivif.datamodules.datasets.pairs.names import Modality, bare_folders, folded
from ivif.datamodules.datasets.pairs.picture_files import list_files, list_pictures
from ivif.datamodules.datasets.pairs.records import FoundPairs, PairRecord
from ivif.files.errors import LabelError
from ivif.files.names import printable


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
        source: A folder of one file per pair, found by the stem of its visible or infrared image, by the pair's name,
            or, in folders below, by its key; or a COCO json file, which labels all the pairs that it knows; None
            changes nothing.
        suffixes: The formats to look for in a folder, best first.
        shared: Whether the folder also serves pairs that are not among `found`: its other files are then no strays.

    Returns:
        The pairs with their labels, and the label files read for none: of no pair's name, or beside its label.

    Raises:
        LabelError: If two label files of one format serve one pair, or one file two pairs.
    """
    if source is None:
        return found
    labels = _images_by_stem([source]) if source.is_file() else _labels_by_stem(source, suffixes)
    stems = Counter(stem for record in found.records for stem in {stem_key(record.visible), stem_key(record.infrared)})
    records = [_labelled(record, labels, stems) for record in found.records]
    if shared or source.is_file():
        return replace(found, records=records)
    labels = {stem: file for stem, file in labels.items() if file.suffix.lower() != LABEL_FORMATS["coco"]}
    read = {record.label for record in records}
    waiting = {stem_key(path) for path in (*found.unmatched_visible, *found.unmatched_infrared)}
    strays = [file for stem, file in sorted(labels.items()) if file not in read and stem not in waiting]
    return replace(found, records=records, stray_labels=found.stray_labels + strays)


def named_image(record: PairRecord) -> PairRecord:
    """A pair whose label was listed beside it, with the image that a json file of many images knows.

    Raises:
        LabelError: If it knows neither.
    """
    if record.label is None or record.label.suffix.lower() != LABEL_FORMATS["coco"] or is_labelme(record.label):
        return record
    stems = coco_stems(record.label)
    if stem_key(record.visible) in stems:
        return record
    if stem_key(record.infrared) in stems:
        return replace(record, label_names="infrared")
    raise LabelError(
        f"'{printable(record.label)}' labels neither '{printable(record.visible.name)}' nor "
        f"'{printable(record.infrared.name)}', beside which it is listed. Correct the list."
    )


def _labelled(record: PairRecord, labels: Mapping[str, Path], stems: Mapping[str, int]) -> PairRecord:
    """The pair with the label of its visible image; one that only the infrared image's name leads to is that one's.

    A label that a list of pairs gives stays.
    """
    own = next((labels[name] for name in _own_names(record) if name in labels), None)
    if record.label or (own and own.suffix.lower() != LABEL_FORMATS["coco"]):
        return replace(record, label=record.label or own)
    images: tuple[tuple[Path, Modality], ...] = ((record.visible, "visible"), (record.infrared, "infrared"))
    for image, names in images:
        if label := labels.get(stem_key(image)):
            if stems[stem_key(image)] > 1:
                raise LabelError(
                    f"'{printable(label)}' labels '{printable(stem_key(image))}', which several pairs are called, "
                    f"'{printable(record.name)}' among them. Put labels into the folders of their pictures (below "
                    f"`layout.labels`: {printable('/'.join(record.key))}), or call them after pairs."
                )
            return replace(record, label=label, label_names=names)
    return replace(record, label=own) if own and is_labelme(own) else record


def _own_names(record: PairRecord) -> tuple[str, ...]:
    """What a label may be called after: the pair's key, with its folders, and its name."""
    return "/".join(record.key).casefold(), record.name.casefold()


def _labels_by_stem(folder: Path, suffixes: Sequence[str]) -> dict[str, Path]:
    labels: dict[str, Path] = {}
    below = all(file.name in CLASS_LIST_FILES for file in list_files(folder, suffixes))
    for suffix in dict.fromkeys(reversed(suffixes)):
        if suffix == LABEL_FORMATS["coco"]:
            labels |= _json_labels(folder, below)
            continue
        files: dict[str, Path] = {}
        for stem, file in _files_by_key(folder, suffix, below):
            if file.name in CLASS_LIST_FILES:
                continue
            if other := files.get(stem):
                raise LabelError(f"'{other}' and '{file}' label one pair. Keep one of them.")
            files[stem] = file
        labels |= files
    return labels


def _json_labels(folder: Path, below: bool) -> dict[str, Path]:
    """As `_images_by_stem`; in folders below, only LabelMe's count."""
    files = dict(_files_by_key(folder, LABEL_FORMATS["coco"], below))
    first = next(iter(files.values()), None)
    if not below or first is None:
        return _images_by_stem(list(files.values()))
    return files if is_labelme(first) else {}


def _files_by_key(folder: Path, suffix: str, below: bool) -> Iterator[tuple[str, Path]]:
    """The label files of a folder, or of those below it, each by its key there."""
    listing = list_pictures(folder, below, (suffix,))
    listing.refuse_nameless()
    for file in listing.pictures:
        yield "/".join(folded((*bare_folders(file.folders), file.path.stem))), file.path


def _images_by_stem(files: Sequence[Path]) -> dict[str, Path]:
    """The images that json files label, each with its file: LabelMe's by their names, COCO's by what stands in them.

    Several COCO files are one set of labels. Of LabelMe's, which may hold whole pictures, the first is looked at.

    Raises:
        LabelError: If two files label one image.
    """
    if files and is_labelme(files[0]):
        return {stem_key(file): file for file in files}
    labels: dict[str, Path] = {}
    for file in files:
        stems = coco_stems(file)
        if twice := sorted(stems & labels.keys()):
            others = f" and {len(twice) - 1} more" if len(twice) > 1 else ""
            raise LabelError(
                f"'{printable(labels[twice[0]])}' and '{printable(file)}' both label the image '{printable(twice[0])}'"
                f"{others}. Remove it from one of them, or name the one file that is meant in `layout.labels`."
            )
        labels |= dict.fromkeys(stems, file)
    return labels
