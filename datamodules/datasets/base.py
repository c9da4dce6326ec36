"""The base of all readers: a dataset declares where its pairs are, the base pairs, checks and reads them."""

import copy
import logging
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
from torch.utils.data import Dataset, get_worker_info

from ivif.contracts.batch import Sample, Targets, empty_targets
from ivif.datamodules.datasets import pair_transforms
from ivif.datamodules.datasets.infrared_color import infrared_plane
from ivif.datamodules.datasets.io import (
    combine_digests,
    image_size,
    read_image_and_digest,
    to_infrared,
    to_visible,
)
from ivif.datamodules.datasets.labels import LabelReader, chosen_classes
from ivif.datamodules.datasets.measured_range import MeasuredRange
from ivif.datamodules.datasets.packed.opening import Identity, packed_pairs
from ivif.datamodules.datasets.pairs.finding import candidate_roots, chosen, find_child
from ivif.datamodules.datasets.pairs.matching import match_folders
from ivif.datamodules.datasets.pairs.records import FoundPairs, PairingReport, PairRecord, by_name, first_of
from ivif.datamodules.datasets.picture_ids import picture_id
from ivif.datamodules.datasets.prompt_files import PromptEntry
from ivif.datamodules.datasets.reading_config import DEFAULT_READING, ReadingConfig
from ivif.datamodules.datasets.temperatures import unit_of
from ivif.datamodules.datasets.thermal import BY_TYPE, ThermalRange
from ivif.files.errors import (
    DatasetNotFoundError,
    LabelError,
    PairingError,
    SplitError,
    UnreadableFileError,
)

__all__ = ["DEFAULT_READING", "PairRecord", "PairedDataset", "PairingReport", "ReadingConfig"]

logger = logging.getLogger(__name__)


class PairedDataset(Dataset[Sample]):
    """Registered infrared-visible pairs on disk.

    A dataset declares the class attributes and `_find_pairs`; everything else is here. `__getitem__` gives a `Sample`
    of planes as stored: uint8, or float32 in [0, 1] where a file has more than 8 bits; views of the decoded arrays,
    not contiguous (transforms and `collate` make them so): do not write into them.

    Args:
        root: Folder of the dataset, or one a level above or below it.
        split: One of `splits`.
        transforms: Applied to each sample.
        reading: How files are read.
        classes: The classes to use, in this order; default: all that the dataset has.
        label_classes: What the ids in its YOLO files mean, in their order; default: what a list beside them or the
            dataset says.

    Raises:
        LabelError: If the dataset has no such classes.
        SplitError: If `split` is none of `splits`.
        DatasetNotFoundError: If the folders are not there.
        PairingError: If they hold no images or no pair.
    """

    dataset_name: str = ""
    url: ClassVar[str] = ""
    license: ClassVar[str] = ""
    classes: tuple[str, ...] = ()
    splits: ClassVar[tuple[str, ...]] = ("all",)
    layouts: ClassVar[tuple[str, ...]] = ()
    """Official layouts, for the error message, relative to the root."""
    label_places: tuple[str, ...] = ()
    """Where its boxes are looked for, relative to the root; () for a dataset without any."""
    folder_names: ClassVar[tuple[str, ...]] = ()
    """What the dataset's own folder is called, best first."""
    inner_folders: ClassVar[tuple[str, ...]] = ()
    """Sub-folders of the dataset that a user may have given as root."""
    yolo_names: tuple[str, ...] = ()
    """Order of the ids in its YOLO files; default: `classes`."""
    pair_options: ClassVar[tuple[str, ...]] = ()
    """Its own options that decide which files are pairs: attributes that a packed copy must have been made with."""

    def __init__(
        self,
        root: str | Path,
        split: str = "all",
        transforms: Callable[[Sample], Sample] | None = None,
        reading: ReadingConfig = DEFAULT_READING,
        classes: Sequence[str] = (),
        label_classes: Sequence[str] = (),
    ) -> None:
        if split not in self.splits:
            raise SplitError(f"{type(self).__name__} has no split '{split}'; known: {', '.join(self.splits)}.")
        self.root = Path(root).expanduser()
        self.split = split
        self.transforms = transforms
        self.reading = reading
        declared, ids = self.classes, self.yolo_names or self.classes
        self.classes = chosen_classes(classes, label_classes or declared, self.dataset_name)
        self.label_reader = LabelReader(
            self.classes, ids or self.classes, reading.unknown_labels, reading.minimum_box_side,
            declared=declared, label_classes=label_classes, declared_sizes=reading.declared_sizes,
            ignored_classes=reading.ignored_classes,
        )  # fmt: skip
        options = {name: getattr(self, name) for name in self.pair_options}
        wanted = Identity(self.dataset_name, type(self).__name__, options)
        found = packed_pairs(self.root, split, wanted, reading.shards) or self._find_pairs()
        self.has_labels = reading.labels and any(record.label for record in found.records)
        self.records, self.pairing = self._settle(found)
        self.measured_range = MeasuredRange(reading, [record.infrared for record in self.records])
        self._announced_resize = False
        self._sizes: dict[str, tuple[int, int]] = {}

    def _find_pairs(self) -> FoundPairs:
        """Finds the pairs of `self.split` under `self.root`, with their label files."""
        raise NotImplementedError

    @property
    def thermal_range(self) -> ThermalRange:
        """How infrared of more than 8 bits is scaled; `auto` is what the whole dataset's pictures gave."""
        return self.measured_range.get()

    @cached_property
    def names(self) -> list[str]:
        """The names of the pairs, in order; the list itself is not to be changed."""
        return [record.name for record in self.records]

    @property
    def listed_prompts(self) -> dict[str, PromptEntry]:
        """Prompts by name, where a list of pairs or a packed dataset has them."""
        given = ((record.name, record.prompt, record.origin) for record in self.records if record.prompt is not None)
        return {name: PromptEntry(self.dataset_name, name, prompt, origin) for name, prompt, origin in given}

    @property
    def where_boxes_were_looked_for(self) -> str:
        """A clause for messages about a dataset without boxes."""
        return f"Boxes were looked for in {', '.join(self.label_places)} under '{self.root}'"

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Sample:
        record = self.records[index]
        most = self.reading.max_pixels
        visible_pixels, visible_digest = read_image_and_digest(record.visible, max_pixels=most)
        infrared_pixels, infrared_digest = read_image_and_digest(record.infrared, luma=True, max_pixels=most)
        measured, palette = infrared_plane(record.infrared, infrared_pixels, self.reading.infrared_color, most)
        try:
            visible = to_visible(visible_pixels)
        except ValueError as error:
            raise UnreadableFileError(record.visible, str(error)) from error
        try:
            infrared = to_infrared(measured, BY_TYPE if measured.dtype == np.uint8 else self.thermal_range)
        except ValueError as error:
            raise UnreadableFileError(record.infrared, str(error)) from error
        height, width = visible.shape[-2:]
        if infrared.shape[-2:] != (height, width):
            self._announce_resize(record, tuple(infrared.shape[-2:]), (height, width))
            infrared = pair_transforms.fit(infrared, (height, width))
        salt = self._salt(record) if infrared.is_floating_point() else palette
        sample: Sample = {
            "infrared": infrared,
            "visible": visible,
            "name": record.name,
            "dataset": self.dataset_name,
            "content_id": combine_digests(infrared_digest, visible_digest, salt),
            "picture_ids": picture_id(infrared_pixels) + picture_id(visible_pixels),
        }
        if self.has_labels:
            sample["targets"] = self._read_targets(record, (height, width))
        return sample if self.transforms is None else self.transforms(sample)

    def load_targets(self, index: int) -> Targets:
        """The objects of one pair, without decoding its images (their header is read for the size)."""
        return self._read_targets(self.records[index], self.image_size(index))

    def image_size(self, index: int) -> tuple[int, int]:
        """(height, width) of one pair, i.e. of its visible image, from the file's header, which is read once."""
        record = self.records[index]
        if record.name not in self._sizes:
            self._sizes[record.name] = image_size(record.visible, self.reading.max_pixels)
        return self._sizes[record.name]

    def select(self, names: Iterable[str]) -> Self:
        """The same dataset, reduced to `names` and in their order.

        Raises:
            SplitError: If a name is not among the pairs; lists the first of those missing.
        """
        known = {record.name: record for record in self.records}
        subset = copy.copy(self)
        subset.__dict__.pop("names", None)
        subset.records = chosen(known, names, f"pairs of {self.dataset_name} ('{self.split}') under '{self.root}'")
        return subset

    def __repr__(self) -> str:
        labels = f", classes={list(self.classes)}" if self.has_labels else ""
        return f"{type(self).__name__}('{self.root}', split='{self.split}', pairs={len(self)}{labels})"

    def _read_targets(self, record: PairRecord, size: tuple[int, int]) -> Targets:
        if record.label is None or not self.reading.labels:
            return empty_targets()
        if record.label_names == "visible":
            return self.label_reader.read(
                record.label, record.visible.stem, size, partner=record.infrared.stem,
                infrared_size=partial(image_size, record.infrared, self.reading.max_pixels),
            )  # fmt: skip
        named = image_size(record.infrared, self.reading.max_pixels)
        stem, partner = record.infrared.stem, record.visible.stem
        return self.label_reader.read(record.label, stem, size, named=named, partner=partner)

    def _settle(self, found: FoundPairs) -> tuple[list[PairRecord], PairingReport]:
        """Unique names in order, the policy for missing labels, and what did not pair up."""
        records = by_name(found.records)
        unlabelled = tuple(record.name for record in records if record.label is None) if self.has_labels else ()
        report = PairingReport(
            tuple(found.unmatched_infrared),
            tuple(found.unmatched_visible),
            unlabelled,
            tuple(found.unread),
            tuple(found.stray_labels) if self.reading.labels else (),
            tuple(found.unmarked),
            tuple(found.passed_over),
        )
        if not report.complete:
            message = f"{type(self).__name__} under '{self.root}': {report.describe()}."
            if self.reading.strict:
                raise PairingError(f"{message} Add the partners or remove the files (`reading.strict` is on).")
            logger.warning("%s They are left out.", message)
        for line in report.describe_unused():
            logger.warning("%s under '%s': %s. They are left out.", type(self).__name__, self.root, line)
        return self._apply_label_policy(records, unlabelled), report

    def _apply_label_policy(self, records: list[PairRecord], unlabelled: Sequence[str]) -> list[PairRecord]:
        if not unlabelled:
            return records
        message = (
            f"{len(unlabelled)} of {len(records)} pairs of {type(self).__name__} ('{self.split}') have no label file "
            f"({first_of(unlabelled)})"
        )
        if self.reading.missing_labels == "error":
            raise LabelError(f"{message}. Add the files, or set `reading.missing_labels` to 'empty' or 'drop'.")
        if self.reading.missing_labels == "drop":
            logger.warning("%s; they are left out.", message)
            return [record for record in records if record.label is not None]
        logger.warning("%s; they count as images without objects.", message)
        return records

    def _announce_resize(self, record: PairRecord, infrared: tuple[int, ...], visible: tuple[int, int]) -> None:
        worker = get_worker_info()
        if not self._announced_resize and (worker is None or worker.id == 0):
            logger.warning(
                "%s: infrared is resized to the visible image's size where it differs, first '%s' (%dx%d to %dx%d).",
                self.dataset_name, record.name, infrared[1], infrared[0], visible[1], visible[0],
            )  # fmt: skip
        self._announced_resize = True

    def _salt(self, record: PairRecord) -> str:
        """What beside the files decides the pixels of infrared of more than 8 bits."""
        scaled = "" if self.thermal_range.mode == "type" else repr(self.thermal_range)
        unit = unit_of(record.infrared)
        return scaled if unit == "counts" else f"{scaled} {unit}"

    def _roots(self) -> list[Path]:
        return candidate_roots(self.root, self.folder_names, self.inner_folders)

    def _not_found(self) -> DatasetNotFoundError:
        return DatasetNotFoundError(type(self).__name__, self.root, self.layouts, self.url)

    def _match_parts(self, part: Callable[[Path, str], FoundPairs | None]) -> tuple[Path, FoundPairs]:
        """The pairs that `part(root, split)` finds in the first root that has any; the split `all` is all the others.

        Raises:
            DatasetNotFoundError: If no root has any.
        """
        wanted = [split for split in self.splits if split != "all"] if self.split == "all" else [self.split]
        for root in self._roots():
            parts = [found for split in wanted if (found := part(root, split))]
            if parts:
                return root, sum(parts, FoundPairs())
        raise self._not_found()

    def _match_first(self, infrared: Sequence[str], visible: Sequence[str]) -> tuple[Path, FoundPairs]:
        """Pairs the first root that has both folders.

        Raises:
            DatasetNotFoundError: If none has.
        """
        for root in self._roots():
            infrared_folder, visible_folder = find_child(root, infrared), find_child(root, visible)
            if infrared_folder and visible_folder:
                return root, match_folders(infrared_folder, visible_folder)
        raise self._not_found()
