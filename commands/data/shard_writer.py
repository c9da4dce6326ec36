"""Records become shards of litdata, one file after the other, and where each record begins in them is told."""

import json
import struct
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from ivif.datamodules.datasets.packed.table import SHARD_NAME
from ivif.files.libraries import needed
from ivif.files.shards import Shard

_NUMBER: Final = struct.Struct("<I")


@dataclass
class ShardWriter:
    """Writes shards with litdata.

    Args:
        folder: An empty folder for a shard on its way: one at a time, if `deliver` takes it away.
        size: Bytes of a shard, roughly.
        deliver: Gets every shard when it is whole.

    Attributes:
        shards: What was delivered.
        starts: Of every record its shard's number and where in the shard it begins.
    """

    folder: Path
    size: int
    deliver: Callable[[Path], None]
    shards: list[Shard] = field(default_factory=list)
    starts: list[tuple[int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        needed("litdata", "Packing", "pip install 'ivif-lightning[streaming]'")
        from litdata.streaming.writer import BinaryWriter

        self._writer: Any = BinaryWriter(str(self.folder), chunk_bytes=self.size)
        self._lengths: list[int] = []

    def add(self, record: bytes) -> None:
        """Adds a record.

        Raises:
            OSError: If it cannot be written.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of one record that is larger than a shard should be
            path = self._writer.add_item(len(self._lengths), record)
        self._lengths.append(len(record))
        if path:
            self._deliver(Path(path))

    def close(self) -> bytes:
        """Writes what is left; returns litdata's index of all shards.

        Raises:
            OSError: If it cannot be written.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            for path in self._writer.done():
                self._deliver(Path(path))
        (made,) = self.folder.glob("*index.json")
        index = made.read_bytes()
        made.unlink()
        if json.loads(index)["config"]["data_format"] != ["bytes"]:
            raise RuntimeError("litdata has not taken the records for plain bytes")
        return index

    def _deliver(self, path: Path) -> None:
        begin = len(self.starts)
        with path.open("rb") as stream:
            (count,) = _NUMBER.unpack(stream.read(_NUMBER.size))
            ends = struct.unpack(f"<{count + 1}I", stream.read(_NUMBER.size * (count + 1)))
            lengths = self._lengths[begin : begin + count]
            stored = [after - before - _NUMBER.size for before, after in pairwise(ends)]
        if stored != lengths or not SHARD_NAME.fullmatch(path.name):  # each record after its length, as in 0.2
            raise RuntimeError(f"litdata has written '{path.name}' in a form that is not known")
        self.starts += [(len(self.shards), end + _NUMBER.size) for end in ends[:-1]]
        self.shards.append(Shard(path.name, path.stat().st_size, count))
        self.deliver(path)
