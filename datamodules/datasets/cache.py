"""A reader whose pairs are decoded once: later visits cut views out of memory or of a mapped file."""

import copy
import hashlib
import itertools
import logging
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, Literal, Self, cast

import PIL
import torch
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor
from torch.utils.data import Dataset

from ivif.contracts.batch import IMAGE_KEYS, Sample, Targets
from ivif.datamodules.datasets.base import PairedDataset
from ivif.datamodules.datasets.cache_buffer import (
    FORMAT_VERSION,
    Pair,
    Plane,
    building,
    describe_size,
    fill_memory,
    lay_out,
    open_file,
    write_file,
)
from ivif.datamodules.datasets.io import image_header
from ivif.datamodules.datasets.prompts import PromptedDataset
from ivif.datamodules.datasets.synthetic import SyntheticDataset
from ivif.machine.processors import usable_processors

logger = logging.getLogger(__name__)

CacheMode = Literal["none", "ram", "disk"]

_DECODED_AT_ONCE: Final = 32
"""Pairs in flight while a cache is built."""


class CachedDataset(Dataset[Sample]):
    """The samples of a reader, value for value, from planes that were decoded once.

    Planes keep their type: uint8, or float32 where a file has more than 8 bits (four times the space). They are views,
    channels first: a crop touches only the memory, or the part of the file, that it shows. Do not write into them.
    Boxes are read from their label files at the first visit of each process, and then remembered.

    `ram` fills memory at every start; worker processes share it, training processes have a copy each. `disk` writes one
    file for each selection of pairs to `folder`, which later runs and other processes map; the file is built again when
    an image or a reading option has changed or when it is damaged. A pair whose checksum is wrong at its first
    visit is read from its own files, and the cache is removed (if it can be) so that the next start builds it.

    Args:
        reader: Pairs on disk, or generated ones; without `transforms`.
        mode: `ram` or `disk`.
        folder: Where `disk` keeps its files.
        processes: How many processes of this machine open the same pairs: of `ram`, each has a copy.

    Raises:
        CacheError: If memory or disk space is short, or the folder cannot be written.
        UnreadableFileError: If an image cannot be decoded.
        ValueError: If the reader has transforms: what they do at random would be frozen.
    """

    def __init__(
        self,
        reader: PairedDataset | SyntheticDataset,
        mode: Literal["ram", "disk"],
        folder: Path = Path(".cache"),
        processes: int = 1,
    ) -> None:
        if reader.transforms is not None:
            raise ValueError("A cached reader must have no transforms; apply them to the cached samples.")
        self.reader = reader
        self.dataset_name = reader.dataset_name
        self.classes = reader.classes
        self.has_labels = reader.has_labels
        self.pairing = reader.pairing
        self.path: Path | None = None
        self._identity = _identity(reader)
        self._pairs: list[Pair] = []
        self._buffer: Tensor | None = None
        if mode == "ram":
            self._fill(processes)
        else:
            options = {name: value for name, value in self._identity.items() if name != "files"}
            key = hashlib.sha256(repr((options, str(reader))).encode()).hexdigest()
            self.path = Path(folder) / f"{reader.dataset_name}-{key[:16]}.planes"
            self._open_or_build(self.path)
        self._positions = list(range(len(self._pairs)))
        self._verified = bytearray(len(self._pairs))
        self._is_damaged = False
        self._targets: dict[int, Targets] = {}

    @property
    def names(self) -> list[str]:
        """The names of the pairs, in order."""
        return self.reader.names

    def __len__(self) -> int:
        return len(self._positions)

    def __getitem__(self, index: int) -> Sample:
        position = self._positions[index]
        pair, buffer = self._pairs[position], self._planes()
        if self.path is not None and not self._verified[position]:
            if not pair.intact(buffer):
                return self._read_instead(index, self.path)
            self._verified[position] = 1
        sample: dict[str, Any] = {plane.key: plane.view(buffer) for plane in pair.planes}
        sample.update(pair.texts)
        if self.has_labels:
            sample["targets"] = self.load_targets(index)
        return cast("Sample", sample)

    def load_targets(self, index: int) -> Targets:
        """The objects of one pair."""
        position = self._positions[index]
        if position not in self._targets:
            self._targets[position] = self.reader.load_targets(index)
        return self._targets[position]

    def image_size(self, index: int) -> tuple[int, int]:
        """(height, width) of one pair, without opening its files."""
        height, width = self._pairs[self._positions[index]].planes[0].shape[-2:]
        return height, width

    def select(self, names: Iterable[str]) -> Self:
        """The same pairs, reduced to `names` and in their order; the planes are shared.

        Raises:
            SplitError: If a name is not among the pairs.
        """
        wanted = list(names)
        subset = copy.copy(self)
        subset._buffer = self._buffer  # a copy would map the file again
        subset.reader = self.reader.select(wanted)
        positions = dict(zip(self.names, self._positions, strict=True))
        subset._positions = [positions[name] for name in wanted]
        return subset

    def __repr__(self) -> str:
        return f"CachedDataset({self.reader!r}, {'ram' if self.path is None else self.path})"

    def __getstate__(self) -> dict[str, Any]:
        """Without the mapped file, which a process that gets a copy maps itself."""
        return self.__dict__ if self.path is None else {**self.__dict__, "_buffer": None}

    def _planes(self) -> Tensor:
        if self._buffer is None:
            self._open_or_build(cast("Path", self.path))
        return cast("Tensor", self._buffer)

    def _open_or_build(self, path: Path) -> None:
        opened = open_file(path, self._identity)
        if isinstance(opened, str):
            with building(path):
                opened = open_file(path, self._identity)  # another process may have built it meanwhile
                if isinstance(opened, str):
                    pairs, size = self._lay_out(f"to '{path}' ({opened})")
                    write_file(path, self._identity, pairs, size, self._decode())
                    opened = open_file(path, self._identity)
        if isinstance(opened, str):
            raise RuntimeError(f"'{path}' cannot be used although it was just built: {opened}.")
        self._pairs, self._buffer = opened

    def _fill(self, processes: int) -> None:
        pairs, size = self._lay_out("into memory")
        self._pairs, self._buffer = fill_memory(pairs, size, self._decode(), processes)

    def _lay_out(self, where: str) -> tuple[list[Pair], int]:
        pairs, size = lay_out(self.reader.names, _announced_planes(self.reader))
        # a warning, as nothing below it is shown: gigabytes are not taken without a word
        logger.warning("%s: %d pairs are decoded %s: %s.", self.dataset_name, len(pairs), where, describe_size(size))
        return pairs, size

    def _decode(self) -> Iterator[Sample]:
        """All samples in order, decoded by threads (PIL releases the interpreter while it inflates)."""
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        bar = Progress(*columns, console=Console(stderr=True), transient=True)
        with bar, ThreadPoolExecutor(usable_processors()) as pool:
            task = bar.add_task(escape(f"decoding {self.dataset_name}"), total=len(self.reader))
            indices = iter(range(len(self.reader)))
            while block := list(itertools.islice(indices, _DECODED_AT_ONCE)):
                for sample in pool.map(self.reader.__getitem__, block):
                    yield sample
                    bar.advance(task)

    def _read_instead(self, index: int, path: Path) -> Sample:
        if path.exists() and not self._is_damaged:
            self._is_damaged = True
            try:
                path.unlink(missing_ok=True)
                then = "the cache is removed, so that the next start builds it anew"
            except OSError as error:
                then = f"the cache cannot be removed ({error.strerror or error}); remove it, or set `loading.cache_dir`"
            name = self.reader.names[index]
            logger.warning("'%s' is damaged (first seen at '%s'): such pairs are read from their own files, and %s.",
                           path, name, then)  # fmt: skip
        return self.reader[index]


def cached(reader: Dataset[Sample], mode: CacheMode, folder: Path, processes: int = 1) -> Dataset[Sample]:
    """A reader with a cache beneath its prompts, if it has any; the reader itself for `none`.

    Args:
        reader: A reader of files or scenes, or a `PromptedDataset` around one.
        mode: Where decoded planes are kept.
        folder: Where `disk` keeps its files.
        processes: How many processes of this machine open the same pairs.

    Raises:
        CacheError: If memory or disk space is short, or the folder cannot be written.
    """
    if isinstance(reader, PromptedDataset):
        prompted = copy.copy(reader)
        prompted.reader = cast("CachedDataset", cached(cast("Dataset[Sample]", reader.reader), mode, folder, processes))
        return prompted
    if mode == "none" or not isinstance(reader, PairedDataset | SyntheticDataset):
        return reader
    return CachedDataset(reader, mode, folder, processes)


def _identity(reader: PairedDataset | SyntheticDataset) -> dict[str, Any]:
    """What decides the planes, of JSON types: versions, names, reading options, and each file's path, size and time."""
    versions = [FORMAT_VERSION, PIL.__version__, torch.__version__]  # PIL decodes, torch resizes
    identity: dict[str, Any] = {"version": versions, "names": reader.names}
    if isinstance(reader, PairedDataset):
        identity["thermal_range"] = repr(reader.thermal_range)
        identity["infrared_color"] = reader.reading.infrared_color
        files = (path for record in reader.records for path in (record.infrared, record.visible))
        identity["files"] = [_file_identity(path) for path in files]
    else:
        identity["first"] = reader[0]["content_id"] if len(reader) else ""
    return identity


def _file_identity(path: Path) -> Sequence[str | int]:
    try:
        status = path.stat()
    except OSError:
        return [str(path), -1, -1]  # the reader says what is wrong when it comes to this file
    return [str(path.absolute()), status.st_size, status.st_mtime_ns]


def _announced_planes(reader: PairedDataset | SyntheticDataset) -> Iterator[list[Plane]]:
    """Shape and type of every pair's planes, from the files' headers; generated scenes are all like the first."""
    if isinstance(reader, PairedDataset):
        for record in reader.records:
            most = reader.reading.max_pixels
            visible, infrared = image_header(record.visible, most), image_header(record.infrared, most)
            size = (visible.height, visible.width)
            yield [
                Plane("infrared", (1, *size), "float32" if infrared.deep else "uint8"),
                Plane("visible", (3, *size), "float32" if visible.deep else "uint8"),
            ]
    else:
        first = cast("dict[str, Any]", reader[0]) if len(reader) else {}
        planes = [Plane(key, tuple(first[key].shape), "uint8") for key in IMAGE_KEYS if key in first]
        for _ in range(len(reader)):
            yield planes
