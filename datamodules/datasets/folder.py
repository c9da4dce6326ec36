"""Your own pairs: any two folders."""

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Final

from ivif.contracts.batch import Sample
from ivif.datamodules.datasets.base import DEFAULT_READING, PairedDataset, ReadingConfig
from ivif.datamodules.datasets.labels import LABEL_FORMATS, attach_labels, named_image
from ivif.datamodules.datasets.packed.folders import settle_folder
from ivif.datamodules.datasets.packed.opening import open_table
from ivif.datamodules.datasets.pairs.finding import find_child
from ivif.datamodules.datasets.pairs.known_layouts import remark
from ivif.datamodules.datasets.pairs.lists import COLUMNS, read_pairs
from ivif.datamodules.datasets.pairs.matching import Options, match_below, match_folders
from ivif.datamodules.datasets.pairs.names import INFRARED_FOLDERS, VISIBLE_FOLDERS, captured, compiled, sequence_of
from ivif.datamodules.datasets.pairs.records import FoundPairs
from ivif.datamodules.datasets.pairs.split_lists import listed_splits
from ivif.files.errors import DatasetNotFoundError, LabelError, PairingError, SplitError, plain_name
from ivif.files.names import printable

logger = logging.getLogger(__name__)

STAGES: Final = ("train", "val", "test")


@dataclass(frozen=True)
class FolderLayout:
    r"""Where the files are, relative to the root (or absolute).

    Args:
        infrared: Folder of the infrared images, or one of them; default: a common spelling (`ir`, `infrared`, ...),
            or, without any, whatever lies below the root and says in a folder or in its name what it is.
        visible: Folder of the visible images, or one of them; default: a common spelling (`vi`, `visible`, ...). The
            same as `infrared`, where one folder holds both.
        pattern: Regular expression, searched in both file names; its first group captures what partners share, e.g.
            `(\d+)` for `ir_0001.png` and `vis-0001.jpg`. Default: partners have the same stem. What it captures is
            the pair's name, too.
        labels: Folder of one label file per pair, or of COCO json files, or one COCO json; none: no boxes.
        pairs: List of pairs, in place of folders and pattern: a CSV file with the columns infrared and visible (at will
            label, prompt, split, name), or JSON lines of these keys (`.jsonl`).
        train_list: Names of the pairs of `train`: a text file, one a line, or a CSV file.
        val_list: The same of `val`.
        test_list: The same of `test`.
        sequence: Regular expression whose first group in a pair's name is its sequence, which is never divided between
            stages; default: the folders that pairs lie in, if there are several.
        label_format: `voc`, `yolo`, `coco` or `labelme`; default: whatever is found, in this order.
        name: The dataset's name in samples, tables and output folders.

    Raises:
        ValueError: If the format is unknown, or the name is no plain name.
    """

    infrared: str = ""
    visible: str = ""
    pattern: str = ""
    labels: str = ""
    label_format: str = ""
    name: str = "folder"
    pairs: str = ""
    train_list: str = ""
    val_list: str = ""
    test_list: str = ""
    sequence: str = ""

    def __post_init__(self) -> None:
        plain_name(self.name, "layout.name")
        if self.label_format and self.label_format not in LABEL_FORMATS:
            raise ValueError(f"layout.label_format is '{self.label_format}'; known: {', '.join(LABEL_FORMATS)}.")


DEFAULT_LAYOUT: Final = FolderLayout()

LAYOUT_OPTIONS: Final = Options("`layout.infrared`", "`layout.visible`", "`layout.pattern`", "`layout.pairs`")


def settled(
    root: Path, layout: FolderLayout, classes: Sequence[str], label_classes: Sequence[str]
) -> tuple[FolderLayout, tuple[str, ...], tuple[str, ...]]:
    """Layout, `classes` and `label_classes` as given; of a packed folder those that it was packed with.

    Raises:
        PackError: If the pack is damaged, or another layout is given.
    """
    given = layout, tuple(classes), tuple(label_classes)
    table = open_table(root)
    return given if table is None or table.reader != FolderDataset.__name__ else settle_folder(root, table, *given)


class FolderDataset(PairedDataset):
    """Pairs from any two folders, matched by stem or by a pattern; boxes optional.

    Link: none, the data are yours.

    Features: whatever you have. Folders `train`, `val` and `test` are splits, as are lists; `all` is every pair.

    Format: images of any supported kind; labels as VOC xml, YOLO txt, COCO json or LabelMe json.

    Classes: as given. What YOLO ids mean is said by `label_classes`, or by a `classes.txt` or `data.yaml` beside the
        labels; without either, ids follow the order of `classes`, which must then name all of them.

    Args:
        root: Folder that the layout's paths are relative to.
        split: `train`, `val`, `test`, where folders or lists say what they are, or `all`.
        transforms: Applied to each sample.
        reading: How files are read.
        layout: Where the files are and how they pair.
        classes: The classes to use; with labels these or `label_classes` are needed.
        label_classes: What the ids of YOLO files mean, in their order.

    Raises:
        SplitError: If no pair is of the split, or a list of names is not of these pairs.
        LabelError: If the layout names labels that are not there, no classes are given for them, or a class name cannot
            be shown or comes twice.
    """

    dataset_name = "folder"
    url = "DATASETS.md (your own folders)"
    license = "yours"
    splits: ClassVar[tuple[str, ...]] = (*STAGES, "all")
    layouts = (
        "ir/*, vi/* (or the folders in layout.infrared and layout.visible)",
        "any folders below, where their names or those of the pictures say what is infrared and what visible",
    )

    def __init__(
        self,
        root: str | Path,
        split: str = "all",
        transforms: Callable[[Sample], Sample] | None = None,
        reading: ReadingConfig = DEFAULT_READING,
        layout: FolderLayout = DEFAULT_LAYOUT,
        classes: Sequence[str] = (),
        label_classes: Sequence[str] = (),
    ) -> None:
        layout, classes, label_classes = settled(Path(root).expanduser(), layout, classes, label_classes)
        self.layout = layout
        self.dataset_name = layout.name
        super().__init__(root, split, transforms, reading, classes, label_classes)

    def names_of(self, split: str) -> list[str]:
        """The pairs that folders or lists put into a split."""
        return [record.name for record in self.records if record.split == split]

    def sequences(self) -> dict[str, list[str]]:
        """Names by sequence; one sequence where pairs have none.

        Raises:
            PairingError: If `layout.sequence` is no regular expression, or finds nothing in a name.
        """
        expression = compiled(self.layout.sequence, "`layout.sequence`")
        found: dict[str, list[str]] = {}
        for record in self.records:
            said = captured(expression, record.name) if expression else sequence_of(record.key)
            sequence = said if record.sequence is None else record.sequence
            if expression and not sequence:
                raise PairingError(
                    f"`layout.sequence`: '{self.layout.sequence}' finds no sequence in the name '{record.name}'. Names "
                    f"are like this one; the first group must match in each."
                )
            found.setdefault(sequence, []).append(record.name)
        return found

    def _find_pairs(self) -> FoundPairs:
        try:
            found = self._listed() if self.layout.pairs else self._matched()
        except (PairingError, DatasetNotFoundError) as error:
            if known := remark(self.root):
                raise PairingError(f"{error} {known}") from error
            raise
        lists = {stage: getattr(self.layout, f"{stage}_list") for stage in STAGES}
        if given := {stage: self.root / path for stage, path in lists.items() if path}:
            found = replace(found, records=listed_splits(found.records, given))
        splits = Counter(record.split for record in found.records)
        if splits[""] and splits["train"] and (splits["val"] or splits["test"]):
            logger.warning(
                "%d of %d pairs are of no split (by list, column or folder): no stage has them.",
                splits[""], splits.total(),
            )  # fmt: skip
        if self.layout.labels and self.reading.labels:
            found = self._labeled(found)
        if self.split == "all":
            return found
        records = [record for record in found.records if record.split == self.split]
        if not records:
            raise SplitError(
                f"No pair under '{self.root}' is of '{self.split}'. Call a folder '{self.split}', or list the names in "
                f"`layout.{self.split}_list`."
            )
        return replace(found, records=records)

    def _listed(self) -> FoundPairs:
        path = self.root / self.layout.pairs
        records, others = read_pairs(path, self.root)
        if others:
            logger.warning(
                "'%s': the column(s) %s are not read; known: %s.",
                path,
                ", ".join(map(printable, others)),
                ", ".join(COLUMNS),
            )
        if any(record.label for record in records) and self.reading.labels and not self.classes:
            raise LabelError(f"'{path}' has labels, which need class names: set `classes`, e.g. [person, car].")
        return FoundPairs([named_image(record) for record in records] if self.reading.labels else records)

    def _matched(self) -> FoundPairs:
        infrared = self._folder(self.layout.infrared, INFRARED_FOLDERS)
        visible = self._folder(self.layout.visible, VISIBLE_FOLDERS)
        found = None
        if infrared and visible:
            found = match_folders(infrared, visible, self.layout.pattern, LAYOUT_OPTIONS)
        elif self.root.is_dir() and not self.layout.infrared and not self.layout.visible:
            found = match_below(self.root, self.layout.pattern, LAYOUT_OPTIONS)
        if found is None:
            raise self._not_found()
        return found

    def _not_found(self) -> DatasetNotFoundError:
        remedy = (
            "Point `root` at the folder that holds yours. Folders of other names go into "
            "`layout.infrared` and `layout.visible` (DATASETS.md, your own folders)."
        )
        given = (("infrared", self.layout.infrared), ("visible", self.layout.visible))
        absent = [f"{path} (`layout.{kind}`)" for kind, path in given if path and not (self.root / path).exists()]
        return DatasetNotFoundError(self.dataset_name, self.root, absent or self.layouts, remedy=remedy)

    def _folder(self, given: str, spellings: Sequence[str]) -> Path | None:
        if not given:
            return find_child(self.root, spellings)
        place = self.root / given
        return place if place.exists() else None

    def _labeled(self, found: FoundPairs) -> FoundPairs:
        source = self.root / self.layout.labels
        if not source.exists():
            raise LabelError(f"'{source}' does not exist. Correct `layout.labels`, or leave it empty.")
        if source.is_file() and source.suffix.lower() != LABEL_FORMATS["coco"]:
            raise LabelError(f"'{source}' is no COCO json. Give the folder of the label files as `layout.labels`.")
        if not self.classes:
            raise LabelError(f"'{source}' needs class names: set `classes`, e.g. [person, car].")
        chosen = self.layout.label_format
        suffixes = (LABEL_FORMATS[chosen],) if chosen else tuple(LABEL_FORMATS.values())
        labeled = attach_labels(found, source, suffixes)
        if not any(record.label for record in labeled.records):
            raise LabelError(
                f"No label in '{source}' belongs to any of the {len(found.records)} pairs: looked for files of them "
                f"({' '.join(dict.fromkeys(suffixes))}), such as {found.records[0].visible.stem}"
                f"{suffixes[0]}, or for their names in a COCO json. Correct `layout.labels` or `layout.label_format`, "
                f"or rename the labels."
            )
        return labeled
