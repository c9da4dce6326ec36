"""A packed dataset is opened: its table is read, its shards are looked for, and pairs become records like others."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

from ivif.datamodules.datasets.packed.table import (
    INDEX,
    LARGEST,
    SHARD_NAME,
    TABLE,
    PackError,
    Table,
    check_index,
    decode_table,
)
from ivif.datamodules.datasets.pairs.names import Modality
from ivif.datamodules.datasets.pairs.records import FoundPairs, PairRecord
from ivif.datamodules.datasets.reading_config import ShardCache
from ivif.files.errors import DatasetNotFoundError, SplitError
from ivif.files.inside import OutsideFileError, read_inside
from ivif.files.names import printable
from ivif.files.object_store import Address, ObjectStore, StoreError, address_of
from ivif.files.packed import Pack, Shards
from ivif.files.places import home
from ivif.files.shards import LocalShards, RemoteShards

UNFINISHED: Final = ".packing"
"""A folder among the shards as long as they are being written."""

_KEPT: Final = 4
_tables: dict[bytes, Table] = {}


@dataclass(frozen=True)
class Identity:
    """What a pack must be to be read by a reader.

    Args:
        dataset: The reader's dataset, as samples name it.
        reader: The reader's class.
        options: Its own options that decide which files are pairs.
    """

    dataset: str
    reader: str
    options: Mapping[str, Any] = field(default_factory=dict)


def packed_pairs(root: Path, split: str, wanted: Identity, cache: ShardCache) -> FoundPairs | None:
    """The pairs of a split, where `root` is a packed dataset.

    Args:
        root: A folder, or an address in an object store.
        split: An official split of the dataset.
        wanted: Who reads it.
        cache: Where shards of an object store are kept.

    Returns:
        The pairs; None where `root` is a folder of files.

    Raises:
        PackError: If the pack is not finished, damaged, or of another dataset.
        UnreadableFileError: If a shard in a folder is missing or not whole.
        StoreError: If the object store does not give it.
        DatasetNotFoundError: If nothing is at that address, or the pack lacks an official split of the dataset.
        SplitError: If the pack has no pairs of that split, which is none of the dataset's own.
    """
    table = open_table(root)
    if table is None:
        if address := address_of(root):
            raise DatasetNotFoundError(
                wanted.dataset, root, [f"{address}/{INDEX}", f"{address}/{TABLE}"],
                remedy="Check the bucket and the prefix in `root`, or write it: `ivif data pack --out s3://...`.",
            )  # fmt: skip
        return None
    _refuse_other(root, table, wanted)
    pairs = [pair for pair in table.pairs if split in pair.splits]
    if not pairs and split in table.splits:
        raise SplitError(f"No pair in '{printable(root)}' is of '{split}': none was, when it was packed.")
    if not pairs:
        raise DatasetNotFoundError(
            wanted.dataset, root, [f"pairs of '{split}'"], remedy="Pack the dataset again, with all of its files."
        )
    pack = Pack(root, _shards(root, table, cache), table.places)
    return FoundPairs(
        [
            PairRecord(
                pair.name, pack.file(pair.infrared), pack.file(pair.visible),
                None if pair.label is None else pack.file(pair.label), cast("Modality", pair.label_names), pair.key,
                pair.split, pair.prompt, pair.origin, pair.sequence,
            )
            for pair in pairs
        ]
    )  # fmt: skip


def open_table(root: Path) -> Table | None:
    """What a packed dataset has; None where `root` is a folder of files, or nothing is there.

    Raises:
        PackError: If it is not finished, damaged, or no work of `ivif data pack`.
        StoreError: If the object store does not give it.
    """
    address = address_of(root)
    content = _of_store(ObjectStore(address)) if address else _of_folder(root)
    if content is None:
        return None
    index, text = content
    where = str(address or root)
    digest = hashlib.sha256(text).digest()
    table = _tables.get(digest) or decode_table(text, f"{where}/{TABLE}")
    check_index(index, table, f"{where}/{INDEX}")
    if digest not in _tables:
        while len(_tables) >= _KEPT:
            del _tables[next(iter(_tables))]
        _tables[digest] = table
    return table


def _of_folder(root: Path) -> tuple[bytes, bytes] | None:
    """Index and table in a folder."""
    if not root.is_dir():
        return None
    index, table = root / INDEX, root / TABLE
    if not table.is_file() and not (root / UNFINISHED).exists():
        if index.is_file() and any(SHARD_NAME.fullmatch(path.name) for path in root.iterdir()):
            raise PackError(
                f"'{printable(root)}' holds shards of litdata without '{TABLE}', which says what is in them: it is "
                f"missing, or `ivif data pack` did not write them. Pack the dataset with it."
            )
        return None
    if not index.is_file() or not table.is_file():
        raise _unfinished(str(root))
    try:
        return read_inside(index, root, LARGEST), read_inside(table, root, LARGEST)
    except (OutsideFileError, OSError) as error:
        raise PackError(f"Cannot read the packed dataset '{printable(root)}': {error}") from error


def _of_store(store: ObjectStore) -> tuple[bytes, bytes] | None:
    """The same at an address."""
    sizes = store.sizes()
    if INDEX not in sizes and not any(SHARD_NAME.fullmatch(name) for name in sizes):
        return None
    if INDEX not in sizes or TABLE not in sizes:
        raise _unfinished(str(store.address))
    for name in (INDEX, TABLE):
        if sizes[name] > LARGEST:
            raise StoreError(f"'{store.address}/{name}' has {sizes[name]} bytes, and {LARGEST} are read.")
    return store.read(INDEX), store.read(TABLE)


def _unfinished(where: str) -> PackError:
    return PackError(
        f"'{printable(where)}' is a packed dataset that is not finished: '{INDEX}', which is written last, or "
        f"'{TABLE}' is missing. Give the same `ivif data pack` once more, or copy all of its files."
    )


def _refuse_other(root: Path, table: Table, wanted: Identity) -> None:
    if (table.reader, table.dataset) != (wanted.reader, wanted.dataset):
        raise PackError(
            f"'{printable(root)}' was packed of {printable(table.dataset)} (read by {printable(table.reader)}), and is "
            f"read as {wanted.dataset} ({wanted.reader}). Give the --data, and its own options, of which it was packed."
        )
    for name, value in wanted.options.items():
        if table.options.get(name) != value:
            there = printable(table.options.get(name))
            raise PackError(
                f"'{printable(root)}' was packed with {name} '{there}', and `{name}` is '{value}'. Set it to "
                f"'{there}', or pack the dataset again."
            )


def _shards(root: Path, table: Table, cache: ShardCache) -> Shards:
    address = address_of(root)
    if address is None:
        return LocalShards(root, table.shards)
    return RemoteShards(ObjectStore(address), table.shards, _cache_folder(address, table, cache), cache.bytes)


def _cache_folder(address: Address, table: Table, cache: ShardCache) -> Path:
    """A folder for these shards alone: another pack at the same address has other digests."""
    key = hashlib.sha256(f"{address} {sorted(place.digest for place in table.places.values())}".encode()).hexdigest()
    return home() / cache.folder / key[:16]
