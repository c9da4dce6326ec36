"""The base of all readers: a dataset declares where its pairs are, the base pairs, checks and reads them."""

import copy
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import ClassVar, Final, Literal, Self

from torch.utils.data import Dataset, get_worker_info
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as geometry

from ivif.contracts.batch import Sample, Targets, empty_targets
from ivif.datamodules.datasets.boxes import DEFAULT_RULE, BoxRule
from ivif.datamodules.datasets.io import (
    combine_digests,
    image_size,
    read_image_and_digest,
    to_infrared,
    to_visible,
)
from ivif.datamodules.datasets.labels import LabelReader
from ivif.datamodules.datasets.pairing import (
    FoundPairs,
    PairingReport,
    PairRecord,
    candidate_roots,
    chosen,
    find_child,
    match_folders,
)
from ivif.datamodules.datasets.thermal import DEFAULT_THERMAL_RANGE, ThermalRange
from ivif.files.errors import (
    DatasetNotFoundError,
    LabelError,
    PairingError,
    SplitError,
    UnreadableFileError,
)
from ivif.files.pictures import MAX_PIXELS

__all__ = ["DEFAULT_READING", "PairRecord", "PairedDataset", "PairingReport", "ReadingConfig"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ReadingConfig:
    """How files are read, the same options for every dataset.

    Args:
        thermal_range: How infrared of more than 8 bits becomes [0, 1].
        labels: Read boxes where the dataset has them. Without, samples have no `targets`.
        missing_labels: A pair without a label file, where other pairs have one: `empty` takes it as an image without
            objects (one warning), `drop` leaves the pair out, `error` stops.
        unknown_labels: An object of a class that the dataset does not declare: `error` stops, `ignore` leaves it out.
        minimum_box_side: Boxes with a shorter side than this, in pixels and after clipping to the image, are dropped.
        strict: Stop if a file has no partner (otherwise one warning and an entry in the pairing report).
        max_pixels: Most pixels of an image; a file whose header announces more is refused before it is decoded.
    """

    thermal_range: ThermalRange = DEFAULT_THERMAL_RANGE
    labels: bool = True
    missing_labels: Literal["empty", "drop", "error"] = "empty"
    unknown_labels: Literal["error", "ignore"] = "error"
    minimum_box_side: float = 1.0
    strict: bool = False
    max_pixels: int = MAX_PIXELS

    def __post_init__(self) -> None:
        if self.max_pixels < 1:
            raise ValueError(f"reading.max_pixels is {self.max_pixels}; it must be 1 or more.")
        if self.missing_labels not in ("empty", "drop", "error"):
            raise ValueError(f"reading.missing_labels is '{self.missing_labels}'; known: empty, drop, error.")

    @property
    def box_rule(self) -> BoxRule:
        """What transforms keep of a box: the usual rule, but no smaller boxes than the reader takes."""
        return replace(DEFAULT_RULE, minimum_side=max(DEFAULT_RULE.minimum_side, self.minimum_box_side))


DEFAULT_READING: Final = ReadingConfig()


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

    Raises:
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
    folder_names: ClassVar[tuple[str, ...]] = ()
    """What the dataset's own folder is called, best first."""
    inner_folders: ClassVar[tuple[str, ...]] = ()
    """Sub-folders of the dataset that a user may have given as root."""
    yolo_names: tuple[str, ...] = ()
    """Order of the ids in its YOLO files; default: `classes`."""

    def __init__(
        self,
        root: str | Path,
        split: str = "all",
        transforms: Callable[[Sample], Sample] | None = None,
        reading: ReadingConfig = DEFAULT_READING,
    ) -> None:
        if split not in self.splits:
            raise SplitError(f"{type(self).__name__} has no split '{split}'; known: {', '.join(self.splits)}.")
        self.root = Path(root).expanduser()
        self.split = split
        self.transforms = transforms
        self.reading = reading
        self.label_reader = LabelReader(
            self.classes, self.yolo_names or self.classes, reading.unknown_labels, reading.minimum_box_side
        )
        found = self._find_pairs()
        self.has_labels = reading.labels and any(record.label for record in found.records)
        self.records, self.pairing = self._settle(found)
        self._salt = "" if reading.thermal_range == DEFAULT_THERMAL_RANGE else repr(reading.thermal_range)
        self._announced_resize = False

    def _find_pairs(self) -> FoundPairs:
        """Finds the pairs of `self.split` under `self.root`, with their label files."""
        raise NotImplementedError

    @property
    def names(self) -> list[str]:
        """The names of the pairs, in order."""
        return [record.name for record in self.records]

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Sample:
        record = self.records[index]
        most = self.reading.max_pixels
        visible_pixels, visible_digest = read_image_and_digest(record.visible, max_pixels=most)
        infrared_pixels, infrared_digest = read_image_and_digest(record.infrared, luma=True, max_pixels=most)
        try:
            visible = to_visible(visible_pixels)
        except ValueError as error:
            raise UnreadableFileError(record.visible, str(error)) from error
        try:
            infrared = to_infrared(infrared_pixels, self.reading.thermal_range)
        except ValueError as error:
            raise UnreadableFileError(record.infrared, str(error)) from error
        height, width = visible.shape[-2:]
        if infrared.shape[-2:] != (height, width):
            self._announce_resize(record, tuple(infrared.shape[-2:]), (height, width))
            infrared = geometry.resize(infrared, [height, width], InterpolationMode.BILINEAR, antialias=True)
        salt = self._salt if infrared.is_floating_point() else ""
        sample: Sample = {
            "infrared": infrared,
            "visible": visible,
            "name": record.name,
            "dataset": self.dataset_name,
            "content_id": combine_digests(infrared_digest, visible_digest, salt),
        }
        if self.has_labels:
            sample["targets"] = self._read_targets(record, (height, width))
        return sample if self.transforms is None else self.transforms(sample)

    def load_targets(self, index: int) -> Targets:
        """The objects of one pair, without decoding its images (their header is read for the size)."""
        return self._read_targets(self.records[index], self.image_size(index))

    def image_size(self, index: int) -> tuple[int, int]:
        """(height, width) of one pair, i.e. of its visible image, from the file's header."""
        return image_size(self.records[index].visible, self.reading.max_pixels)

    def select(self, names: Iterable[str]) -> Self:
        """The same dataset, reduced to `names` and in their order.

        Raises:
            SplitError: If a name is not among the pairs; lists the first of those missing.
        """
        known = {record.name: record for record in self.records}
        subset = copy.copy(self)
        subset.records = chosen(known, names, f"pairs of {self.dataset_name} ('{self.split}') under '{self.root}'")
        return subset

    def __repr__(self) -> str:
        labels = f", classes={list(self.classes)}" if self.has_labels else ""
        return f"{type(self).__name__}('{self.root}', split='{self.split}', pairs={len(self)}{labels})"

    def _read_targets(self, record: PairRecord, size: tuple[int, int]) -> Targets:
        if record.label is None or not self.reading.labels:
            return empty_targets()
        return self.label_reader.read(record.label, record.visible.stem, size)

    def _settle(self, found: FoundPairs) -> tuple[list[PairRecord], PairingReport]:
        """Unique names in order, the policy for missing labels, and what did not pair up."""
        records = sorted(found.records, key=lambda record: record.name)
        for previous, record in pairwise(sorted(records, key=lambda record: record.name.casefold())):
            if previous.name.casefold() == record.name.casefold():  # results of both would be one file on some systems
                raise PairingError(
                    f"Two pairs are called '{record.name}': '{previous.visible}' and '{record.visible}'. Names must be "
                    f"unique within a dataset, in any case: rename one, or use one split at a time."
                )
        unlabelled = tuple(record.name for record in records if record.label is None) if self.has_labels else ()
        report = PairingReport(
            tuple(found.unmatched_infrared),
            tuple(found.unmatched_visible),
            unlabelled,
            tuple(found.unread),
            tuple(found.stray_labels) if self.reading.labels else (),
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
            f"({', '.join(unlabelled[:3])}{', ...' if len(unlabelled) > 3 else ''})"
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
