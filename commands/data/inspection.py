"""Opens every file of a dataset: sizes, kinds of image, objects, content hashes, and what is broken."""

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ivif.contracts.batch import Sample, Targets
from ivif.datamodules.datasets.base import PairedDataset, PairRecord
from ivif.datamodules.datasets.infrared_color import infrared_plane
from ivif.datamodules.datasets.io import read_image, to_infrared, to_visible
from ivif.datamodules.datasets.plausibility import PictureFacts, picture_facts
from ivif.datamodules.datasets.temperatures import as_celsius
from ivif.datamodules.start_checks import files_of
from ivif.files.errors import DatasetError
from ivif.machine.processors import usable_processors

Pixels = NDArray[Any]


class PairSource(Protocol):
    """What can be checked: any dataset of samples with a name and classes."""

    @property
    def dataset_name(self) -> str:
        """Name of the dataset."""

    @property
    def classes(self) -> Sequence[str]:
        """Names of the classes, in the order of the labels."""

    def __len__(self) -> int:
        """How many pairs there are."""

    def __getitem__(self, index: int) -> Sample:
        """One pair."""


@dataclass(frozen=True)
class ImageReport:
    """One decoded image, or why it could not be decoded.

    Args:
        source: The file, or the pair's name where there is none.
        size: (height, width) in pixels.
        kind: Channels and bit depth, in words.
        digest: Hash of shape and pixels: equal for equal pictures, however they are stored.
        error: What is wrong; the other fields are empty then.
        facts: What the stored picture holds; None of pairs that are no files.
    """

    source: str
    size: tuple[int, int] = (0, 0)
    kind: str = ""
    digest: str = ""
    error: str = ""
    facts: PictureFacts | None = None


@dataclass(frozen=True)
class PairReport:
    """One pair: its images, its objects (None: no labels, or none readable), what is wrong with the label file."""

    name: str
    infrared: ImageReport
    visible: ImageReport
    targets: Targets | None = None
    label_error: str = ""

    @property
    def errors(self) -> list[str]:
        """Everything that is wrong with the pair's files."""
        return [text for text in (self.infrared.error, self.visible.error, self.label_error) if text]


def inspect(dataset: PairSource) -> Iterator[PairReport]:
    """Opens and decodes every pair, on all processors that it may use; a broken file becomes an entry, no exception.

    Args:
        dataset: The pairs. Where they are files on disk each file is read for itself, so that all faults are found.

    Yields:
        One report per pair, in order.
    """
    files = files_of(dataset)

    def one(index: int) -> PairReport:
        return _inspect_sample(dataset, index) if files is None else _inspect_files(files, index)

    with ThreadPoolExecutor(usable_processors()) as workers:
        yield from workers.map(one, range(len(dataset)))


def kind_of(pixels: Pixels) -> str:
    """Channels and bit depth in words, e.g. `grey 8 bit`, `grey as RGB 8 bit`, `RGB 16 bit`."""
    depth = "float" if pixels.dtype.kind == "f" else f"{8 * pixels.dtype.itemsize} bit"
    if pixels.ndim == 2:
        return f"grey {depth}"
    grey = np.array_equal(pixels[..., 0], pixels[..., 1]) and np.array_equal(pixels[..., 0], pixels[..., 2])
    return f"{'grey as RGB' if grey else 'RGB'} {depth}"


def _inspect_files(dataset: PairedDataset, index: int) -> PairReport:
    record = dataset.records[index]
    infrared = _inspect_file(record.infrared, dataset, infrared=True)
    visible = _inspect_file(record.visible, dataset, infrared=False)
    if not dataset.has_labels:
        return PairReport(record.name, infrared, visible)
    targets, error = _read_targets(dataset, index, record, visible)
    return PairReport(record.name, infrared, visible, targets, error)


def _inspect_file(path: Path, dataset: PairedDataset, *, infrared: bool) -> ImageReport:
    reading = dataset.reading
    try:
        pixels = read_image(path, max_pixels=reading.max_pixels)
    except DatasetError as error:
        return ImageReport(str(path), error=str(error))
    try:
        # what reading would refuse although it decodes, e.g. temperatures as floats without a range
        if infrared:
            measured, _ = infrared_plane(path, pixels, reading.infrared_color, reading.max_pixels)
            _ = to_infrared(measured, dataset.thermal_range)
        else:
            _ = to_visible(pixels)
    except DatasetError as error:  # of its colours, which tell that folders are swapped
        return ImageReport(str(path), error=str(error), facts=picture_facts(pixels, dataset.thermal_range))
    except ValueError as error:
        return ImageReport(str(path), error=f"Cannot use '{path}': {error}.")
    facts = picture_facts(as_celsius(path, pixels), dataset.thermal_range) if infrared else picture_facts(pixels)
    return replace(_report(str(path), pixels), facts=facts)


def _read_targets(
    dataset: PairedDataset, index: int, record: PairRecord, visible: ImageReport
) -> tuple[Targets | None, str]:
    if visible.error and record.label is not None:
        return None, ""  # boxes are checked against the image's size, which nobody knows
    try:
        return dataset.load_targets(index), ""
    except DatasetError as error:
        return None, str(error)


def _inspect_sample(dataset: PairSource, index: int) -> PairReport:
    try:
        sample = dataset[index]
    except DatasetError as error:
        name = f"{dataset.dataset_name}[{index}]"
        return PairReport(name, ImageReport(name, error=str(error)), ImageReport(name))
    name = sample["name"]
    infrared = sample["infrared"][0].numpy()
    visible = sample["visible"].permute(1, 2, 0).numpy()
    return PairReport(name, _report(name, infrared), _report(name, visible), sample.get("targets"))


def _report(source: str, pixels: Pixels) -> ImageReport:
    size = (pixels.shape[0], pixels.shape[1])
    # grey stored in three channels is the same picture as grey stored in one
    kind = kind_of(pixels)
    content = pixels[..., 0] if kind.startswith("grey as RGB") else pixels
    digest = hashlib.blake2b(f"{content.shape}{content.dtype}".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(content).data)
    return ImageReport(source, size, kind, digest.hexdigest())
