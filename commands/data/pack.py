"""`ivif data pack`: a dataset as a few large files, which every data module reads by `root` alone."""

import errno
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.progress import track

from ivif.commands.data.pack_targets import Target, target_of
from ivif.commands.data.shard_writer import ShardWriter
from ivif.commands.errors import UsageError
from ivif.datamodules.base import FusionDataModule
from ivif.datamodules.datasets.base import PairedDataset
from ivif.datamodules.datasets.folder import FolderDataset
from ivif.datamodules.datasets.io import image_header
from ivif.datamodules.datasets.labels.formats import class_lists
from ivif.datamodules.datasets.packed.folders import options_of_folder
from ivif.datamodules.datasets.packed.table import PackedPair, Table, encode_record
from ivif.datamodules.datasets.pairs.records import PairRecord
from ivif.datamodules.datasets.prompt_files import Origin
from ivif.datamodules.datasets.prompts import PromptedDataset
from ivif.datamodules.datasets.temperatures import SIDECAR
from ivif.files.errors import DatasetNotFoundError, SplitError, UnreadableFileError
from ivif.files.names import printable
from ivif.files.packed import PackedFile, Place, content_digest
from ivif.files.pictures import reason

_NOTES: Final = 4_000_000
"""Bytes of labels and the like in one record: a start reads them all, and they should not come one by one."""

_MOST: Final = 2000
_LARGEST: Final = 2 * 10**9
"""Megabytes of a shard, and bytes of a record: litdata counts them with 32 bits."""


@dataclass(frozen=True)
class Content:
    """What is packed.

    Args:
        table: The dataset without its shards and places.
        pictures: Picture files by their paths in the dataset's folder.
        notes: The same of labels, and of what stands beside labels and pictures.
        max_pixels: Most pixels of a picture.
    """

    table: Table
    pictures: Mapping[str, Path]
    notes: Mapping[str, Path]
    max_pixels: int

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(path.stat().st_size for path in (*self.pictures.values(), *self.notes.values()))


def pack(datamodule: FusionDataModule, out: str, megabytes: float) -> int:
    """Writes a dataset's shards, its table and, last, litdata's index; says how to read them.

    Args:
        datamodule: Of one dataset of files.
        out: A folder or `s3://bucket/prefix`.
        megabytes: Size of a shard, roughly.

    Returns:
        The exit code, 0.

    Raises:
        UsageError: If it is no such dataset, the place holds something else or another pack, or cannot be written.
        DatasetError: If a file cannot be read, or the object store does not take it.
    """
    if not 0 < megabytes <= _MOST:
        raise UsageError(f"--shard_megabytes is {megabytes}; it must be above 0, and {_MOST} at most.")
    content, target = collect(datamodule), target_of(out)
    if (table := target.finished()) is not None:
        _refuse_other(content, table, out)
        print(f"{len(table.pairs)} pairs are in {out} already, the same as here: nothing was written.")
        return 0
    try:
        with target.writing(content.size) as staging:
            table = write(content, target, staging, max(1, round(megabytes * 1e6)))
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EPERM, errno.EFBIG):
            raise
        raise UsageError(
            f"Cannot write the shards to '{printable(out)}': {error.strerror}. Nothing of them stays there. Make room "
            f"or choose another --out, and give the command again."
        ) from error
    size = sum(shard.size for shard in table.shards)
    kept = f", {target.kept} of them there already" if target.kept else ""
    print(
        f"{len(table.pairs)} pairs in {len(table.shards)} shards of {size / 1e6:.1f} MB in all{kept}, in {out}.\n"
        f"Read them with the same --data, and --data.root {out}"
    )
    return 0


def collect(datamodule: FusionDataModule) -> Content:
    """All pairs of a dataset, in all of its official splits, and the files that reading them needs.

    Raises:
        UsageError: If there are several datasets, or none of files.
    """
    sources = datamodule.sources()
    reader = sources[0].open("all") if len(sources) == 1 else None
    if not isinstance(reader, PairedDataset):
        raise UsageError("`data pack` takes one dataset of files: give one, such as --data folder.yaml.")
    if any(isinstance(record.visible, PackedFile) for record in reader.records):
        raise UsageError(f"'{printable(reader.root)}' is packed already: its files can be copied as they are.")
    readers = {"all": reader}
    for split in reader.splits:
        try:
            readers.setdefault(split, reader if split == "all" else sources[0].open(split))
        except (DatasetNotFoundError, SplitError):
            continue
    pairs = _pairs(readers, _prompts(datamodule))
    notes = _notes(pair.label for pair in pairs) | _sidecars(pair.infrared for pair in pairs)
    files = [path for pair in pairs for path in (pair.infrared, pair.visible)]
    plain = {path: Path(os.path.normpath(path.absolute())) for path in (*files, *notes)}  # links stay as they are
    top = os.path.commonpath([path.parent for path in plain.values()])
    inner = {path: absolute.relative_to(top).as_posix() for path, absolute in plain.items()}
    sequences = _sequences(reader)
    known = {split: {_key(record) for record in each.records} for split, each in readers.items()}
    table = Table(
        reader.dataset_name,
        type(reader).__name__,
        tuple(readers),
        _options(reader),
        pairs=tuple(
            replace(
                _packed(pair, inner),
                sequence=sequences.get(pair.name),
                splits=tuple(split for split in readers if _key(pair) in known[split]),
            )
            for pair in pairs
        ),
    )
    pictures = {inner[path]: path for path in files}
    return Content(table, pictures, {inner[path]: path for path in notes}, reader.reading.max_pixels)


def write(content: Content, target: Target, staging: Path, size: int) -> Table:
    """Writes shards of roughly `size` bytes; returns the table with them.

    Raises:
        UnreadableFileError: If a file is no picture that could be read.
        OSError: If a shard cannot be written.
    """
    writer = ShardWriter(staging, size, target.deliver)
    parts: dict[str, tuple[int, int, Place]] = {}
    console = Console(stderr=True)
    for number, about in enumerate(track(list(_records(content)), "packing", console=console, transient=True)):
        paths = {path: content.pictures.get(path) or content.notes[path] for path in about["files"]}
        contents = [_read(path) for path in paths.values()]
        if sum(map(len, contents)) > _LARGEST:
            raise UsageError(f"'{printable(next(iter(paths.values())))}' is too large for a record ({_LARGEST} bytes).")
        digests = [content_digest(each) for each in contents]
        sizes = list(map(len, contents))
        files = [[path, *each] for path, *each in zip(paths, sizes, (one.hex() for one in digests), strict=True)]
        record, starts = encode_record({**about, "files": files}, contents)
        for (inner, path), start, length, digest in zip(paths.items(), starts, sizes, digests, strict=True):
            picture = image_header(path, content.max_pixels) if inner in content.pictures else None
            parts[inner] = (number, start, Place(0, 0, length, digest, picture and (*picture,)))
        writer.add(record)
    index = writer.close()
    places = {
        inner: replace(place, shard=writer.starts[number][0], offset=writer.starts[number][1] + start)
        for inner, (number, start, place) in parts.items()
    }
    table = replace(content.table, shards=tuple(writer.shards), places=places)
    target.finish(table.encode(), index)
    return table


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UnreadableFileError(path, reason(error)) from error


def _records(content: Content) -> Iterator[dict[str, Any]]:
    """What is in each record, by paths in the dataset's folder: notes first, then a record for each pair."""
    notes = list(content.notes)
    blocks = [total // _NOTES for total in accumulate(content.notes[path].stat().st_size for path in notes)]
    for block in dict.fromkeys(blocks):
        yield {"notes": True, "files": [path for path, own in zip(notes, blocks, strict=True) if own == block]}
    written: set[str] = set()
    for pair in content.table.pairs:
        files = [path for path in (pair.infrared, pair.visible) if path not in written]
        if files:  # pictures of several pairs are written once
            written.update(files)
            about = {"name": pair.name, "dataset": content.table.dataset, "prompt": pair.prompt, "label": pair.label}
            yield {**about, "infrared": pair.infrared, "visible": pair.visible, "files": files}


def _pairs(readers: Mapping[str, PairedDataset], prompts: Mapping[str, tuple[str, Origin | None]]) -> list[PairRecord]:
    """Pairs of all splits, each once, with their prompts."""
    found = dict.fromkeys(record for reader in readers.values() for record in reader.records)
    told = {record: prompts.get(record.name, (record.prompt, record.origin)) for record in found}
    return [replace(record, prompt=prompt, origin=origin) for record, (prompt, origin) in told.items()]


def _prompts(datamodule: FusionDataModule) -> dict[str, tuple[str, Origin | None]]:
    """Prompts that each pair has of its own, from a file, a folder or a list of pairs."""
    readers = [reader for reader in datamodule.stage_readers("all") if isinstance(reader, PromptedDataset)]
    named = [reader for reader in readers if reader.source.source in ("file", "folder", "pairs")]
    return {
        name: (reader.prompt(index), reader.origin(index))
        for reader in named
        for index, name in enumerate(reader.names)
    }


def _notes(labels: Iterator[Path | None]) -> dict[Path, None]:
    """Label files, and the lists beside them that say what ids mean."""
    files = dict.fromkeys(label for label in labels if label is not None)
    folders = dict.fromkeys(label.parent for label in files if label.suffix.lower() == ".txt")
    return files | dict.fromkeys(path for folder in folders for path, _ in class_lists(folder))


def _sidecars(infrared: Iterator[Path]) -> dict[Path, None]:
    """The files beside infrared pictures that say their unit."""
    beside = dict.fromkeys(path.with_name(SIDECAR) for path in infrared)
    return {path: None for path in beside if path.is_file()}


def _sequences(reader: PairedDataset) -> dict[str, str]:
    """The sequence of each pair, where an option says what it is."""
    if not isinstance(reader, FolderDataset) or not reader.layout.sequence:
        return {}
    return {name: sequence for sequence, names in reader.sequences().items() for name in names}


def _options(reader: PairedDataset) -> dict[str, Any]:
    if isinstance(reader, FolderDataset):
        return dict(options_of_folder(reader.layout, reader.classes, reader.label_reader.label_classes))
    return {name: getattr(reader, name) for name in reader.pair_options}


def _packed(record: PairRecord, inner: Mapping[Path, str]) -> PackedPair:
    label = None if record.label is None else inner[record.label]
    own = (record.label_names, record.key, record.split, record.prompt, record.origin)
    return PackedPair(record.name, inner[record.infrared], inner[record.visible], label, *own)


def _key(record: PairRecord) -> tuple[str, Path, Path | None]:
    return record.name, record.visible, record.label


def _refuse_other(content: Content, table: Table, out: str) -> None:
    """Refuses a place with a finished pack of anything else than what would be written.

    Raises:
        UsageError: If it is.
    """
    bare = replace(table, shards=(), places={})
    files = {**content.pictures, **content.notes}
    same = bare == content.table and set(files) == set(table.places)
    same = same and all(
        content_digest(path.read_bytes()) == table.places[inner].digest for inner, path in files.items()
    )
    if not same:
        raise UsageError(
            f"--out {printable(out)} holds a finished pack of {len(table.pairs)} pairs, other ones or with other files "
            f"than now. Choose another place, or remove it."
        )
