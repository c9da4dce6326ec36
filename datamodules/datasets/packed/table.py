"""The table of a packed dataset: which pairs there are, and where each of their files lies.

A text of JSON lines: the digest of all that follows, the dataset with its shards, a line for each file, one for each
pair. It comes from strangers as the shards do, so every value is checked and none names a place outside of the pack.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Final, TypeVar, cast

from ivif.datamodules.datasets.prompt_files import ORIGINS, Origin
from ivif.files.errors import DatasetError, plain_name
from ivif.files.names import LONGEST_FILE_NAME, is_utf8, printable
from ivif.files.packed import DIGEST_BYTES, Place
from ivif.files.shards import Shard

T = TypeVar("T")

TABLE: Final = "packed.jsonl"
"""The table's name beside the shards."""

INDEX: Final = "index.json"
"""The name of litdata's index, which is written last: without it a pack is not finished."""

LARGEST: Final = 2**30
"""Bytes of a table or index: two million pairs."""

FORMAT: Final = 1
"""Raise it when a reader of before would misread what is written."""

SHARD_NAME: Final = re.compile(r"chunk-\d{1,9}-\d{1,9}\.bin")
STAGES: Final = ("", "train", "val", "test")

_REMEDY: Final = "Get it anew from where it came, or pack the dataset again (`ivif data pack`)."


class PackError(DatasetError):
    """A packed dataset is not finished, not whole, or another one than it is read as."""


@dataclass(frozen=True)
class PackedPair:
    """One pair, with files by their paths in the dataset's folder.

    Args:
        name: As of `PairRecord`, as are `infrared` to `prompt`.
        origin: How the prompt was made, where somebody knows.
        sequence: Its sequence where an option said what that is; None where its key says it.
        splits: The official splits that have it.
    """

    name: str
    infrared: str
    visible: str
    label: str | None = None
    label_names: str = "visible"
    key: tuple[str, ...] = ()
    split: str = ""
    prompt: str | None = None
    origin: Origin | None = None
    sequence: str | None = None
    splits: tuple[str, ...] = ("all",)


@dataclass(frozen=True)
class Table:
    """A packed dataset.

    Args:
        dataset: Its name in samples.
        reader: The class that read its files.
        splits: Its official splits, as far as they were there.
        options: The reader's own options that decided which files are pairs.
        shards: The shards.
        places: Its files by their paths in the dataset's folder.
        pairs: Its pairs.
    """

    dataset: str
    reader: str
    splits: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    shards: tuple[Shard, ...] = ()
    places: Mapping[str, Place] = field(default_factory=dict)
    pairs: tuple[PackedPair, ...] = ()

    def encode(self) -> bytes:
        """The table as it is written."""
        body = "".join(f"{json.dumps(line, separators=(',', ':'))}\n" for line in self._lines()).encode()
        return json.dumps({"sha256": hashlib.sha256(body).hexdigest()}).encode() + b"\n" + body

    def _lines(self) -> Iterator[dict[str, Any]]:
        yield {
            "format": FORMAT,
            "dataset": self.dataset,
            "reader": self.reader,
            "splits": self.splits,
            "options": self.options,
            "shards": [[shard.name, shard.size, shard.records] for shard in self.shards],
            "files": len(self.places),
            "pairs": len(self.pairs),
        }
        for path, place in self.places.items():
            yield {
                "file": path,
                "at": [place.shard, place.offset, place.size],
                "digest": place.digest.hex(),
                **({"picture": place.picture} if place.picture else {}),
            }
        for pair in self.pairs:
            yield {name: value for name, value in vars(pair).items() if value is not None}


def decode_table(content: bytes, where: str) -> Table:
    """A table as `Table.encode` wrote it.

    Args:
        content: Bytes of the file.
        where: The file, for messages.

    Raises:
        PackError: If it is damaged, of another version, or says what cannot be.
    """
    first, _, body = content.partition(b"\n")
    try:
        if json.loads(first) != {"sha256": hashlib.sha256(body).hexdigest()}:
            raise ValueError("its content does not fit its checksum")
        lines = [json.loads(line) for line in body.decode().splitlines()]
        return _table(lines)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        reason = printable(f"{type(error).__name__}: {error}" if not isinstance(error, ValueError) else error)[:200]
        raise PackError(f"'{printable(where)}' is not what was written ({reason}). {_REMEDY}") from error


def check_index(content: bytes, table: Table, where: str) -> None:
    """Compares litdata's index with the table: a pack is read by the table, but both must be of the same shards.

    Args:
        content: Bytes of the index.
        table: The table.
        where: The index, for messages.

    Raises:
        PackError: If the index is damaged, of other shards, or of records that are not plain bytes.
    """
    try:
        index = json.loads(content)
        config = index["config"]
        chunks = [(each["filename"], each["chunk_bytes"], each["chunk_size"]) for each in index["chunks"]]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise PackError(f"'{printable(where)}' is no index of litdata ({type(error).__name__}). {_REMEDY}") from error
    form = [config.get("data_format"), config.get("compression"), config.get("encryption")]
    if form != [["bytes"], None, None]:
        raise PackError(
            f"'{printable(where)}': records are declared as {printable(json.dumps(form))[:100]}, and only plain bytes "
            f"are read, neither compressed nor encrypted. {_REMEDY}"
        )
    if chunks != [(shard.name, shard.size, shard.records) for shard in table.shards]:
        raise PackError(
            f"'{printable(where)}' lists other shards than '{TABLE}' beside it: one of the two is of another pack. "
            f"{_REMEDY}"
        )


def encode_record(about: Mapping[str, Any], contents: Sequence[bytes]) -> tuple[bytes, list[int]]:
    """One record of a shard: the length of a JSON header (4 bytes, the lowest first), that header, then contents.

    Args:
        about: What the header says of them.
        contents: Files, one after the other.

    Returns:
        The record, and where in it each content begins.
    """
    header = json.dumps(about).encode()
    head = len(header).to_bytes(4, "little") + header
    starts = [len(head)]
    for content in contents[:-1]:
        starts.append(starts[-1] + len(content))
    return b"".join((head, *contents)), starts


def _table(lines: Sequence[dict[str, Any]]) -> Table:
    head = lines[0]
    if head["format"] != FORMAT:
        raise ValueError(f"its format is {head['format']!r}, and {FORMAT} is read: update ivif, or pack again")
    shards = tuple(Shard(_shard_name(name), _count(size), _count(many)) for name, size, many in head["shards"])
    if len({shard.name for shard in shards}) != len(shards):
        raise ValueError("two of its shards have one name")
    count, pairs = _count(head["files"]), _count(head["pairs"])
    if len(lines) != 1 + count + pairs:
        raise ValueError(f"it has {len(lines)} lines for {count} files and {pairs} pairs")
    places = {_inner(line["file"]): _place(line, shards) for line in lines[1 : 1 + count]}
    splits = _texts(head["splits"])
    return Table(
        plain_name(_text(head["dataset"]), "the dataset's name"),
        _text(head["reader"]),
        splits,
        dict(head["options"]),
        shards,
        places,
        tuple(_pair(line, places, splits) for line in lines[1 + count :]),
    )


def _place(line: Mapping[str, Any], shards: Sequence[Shard]) -> Place:
    shard, offset, size = map(_count, line["at"])
    if offset + size > shards[shard].size:
        raise ValueError(f"'{line['file']}' ends beyond its shard")
    digest = bytes.fromhex(line["digest"])
    if len(digest) != DIGEST_BYTES:
        raise ValueError(f"the digest of '{line['file']}' has {len(digest)} bytes")
    picture = line.get("picture")
    if picture is not None:
        height, width, deep = picture
        picture = (_count(height, 1), _count(width, 1), _is(bool, deep))
    return Place(shard, offset, size, digest, picture)


def _pair(line: Mapping[str, Any], places: Mapping[str, Place], splits: Sequence[str]) -> PackedPair:
    for kind in ("infrared", "visible"):
        if places[line[kind]].picture is None:
            raise ValueError(f"'{line[kind]}' is no picture")
    label = line.get("label")
    if label is not None and label not in places:
        raise ValueError(f"the label '{label}' is not there")
    origin, prompt, sequence = (line.get(name) for name in ("origin", "prompt", "sequence"))
    return PackedPair(
        _name(line["name"]),
        line["infrared"],
        line["visible"],
        label,
        _one_of(("infrared", "visible"), line["label_names"]),
        _texts(line["key"]),
        _one_of(STAGES, line["split"]),
        None if prompt is None else _text(prompt),
        None if origin is None else cast("Origin", _one_of(ORIGINS, origin)),
        None if sequence is None else _text(sequence),
        tuple(_one_of(splits, each) for each in line["splits"]),
    )


def _is(kind: type[T], value: Any) -> T:
    if type(value) is not kind:
        raise ValueError(f"{value!r:.50} is no {kind.__name__}")
    return value


def _count(value: Any, least: int = 0) -> int:
    if _is(int, value) < least:
        raise ValueError(f"{value} is below {least}")
    return cast("int", value)


def _text(value: Any) -> str:
    if not is_utf8(_is(str, value)):
        raise ValueError(f"{value!r:.50} is no text")
    return cast("str", value)


def _texts(values: Any) -> tuple[str, ...]:
    return tuple(map(_text, _is(list, values)))


def _one_of(known: Sequence[str], value: Any) -> str:
    if _text(value) not in known:
        raise ValueError(f"{value!r:.50} is none of {', '.join(map(repr, known))}")
    return cast("str", value)


def _shard_name(value: Any) -> str:
    if not SHARD_NAME.fullmatch(_text(value)):
        raise ValueError(f"{value!r:.50} is no name of a shard")
    return cast("str", value)


def _name(value: Any) -> str:
    """A pair's name: results are stored under it."""
    name = _text(value)
    if not name or name in (".", "..") or "/" in name or "\0" in name or len(name.encode()) > LONGEST_FILE_NAME:
        raise ValueError(f"{name!r:.50} is no name of a pair")
    return name


def _inner(value: Any) -> str:
    """The path of a file in the dataset's folder."""
    path = PurePosixPath(_text(value))
    if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in value or str(path) != value:
        raise ValueError(f"{value!r:.50} is no path in the dataset's folder")
    return cast("str", value)
