"""Files that lie in shards, as paths like all others: whoever reads a picture or a label need not know of it."""

import hashlib
import io
import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Protocol

from ivif.files.errors import UnreadableFileError

DIGEST_BYTES: Final = 16
"""Of BLAKE2b: the digests that samples' `content_id` is made of, so that a file is hashed once for both."""

REMEDY: Final = "Get that shard anew from where it came, or pack the dataset again (`ivif data pack`)."

if TYPE_CHECKING:
    _Plain = Path
else:
    _Plain = type(Path())  # a plain Path chooses its class by the system; only that class can be a base


def content_digest(content: bytes) -> bytes:
    """What a file's content is known by."""
    return hashlib.blake2b(content, digest_size=DIGEST_BYTES).digest()


@dataclass(frozen=True, slots=True)
class Place:
    """Where a file lies.

    Args:
        shard: Number of the shard.
        offset: Of its first byte in the shard.
        size: Bytes.
        digest: Of its content (`content_digest`).
        picture: (height, width, whether it has more than 8 bits) of a picture, upright.
    """

    shard: int
    offset: int
    size: int
    digest: bytes
    picture: tuple[int, int, bool] | None = None


class Shards(Protocol):
    """Where the bytes of shards come from."""

    def read(self, shard: int, offset: int, size: int, is_new: bool) -> bytes:
        """Some bytes of a shard, with a word whether this process reads them for the first time."""

    def lasts(self, shard: int) -> bool:
        """Whether bytes come from a file on this machine: what was whole once is then not compared again."""

    def name(self, shard: int) -> str:
        """What a shard is called in messages."""

    def renew(self, shard: int) -> bool:
        """Forgets a copy of a shard that turned out to be damaged; whether another one can be had."""


@dataclass(frozen=True)
class Pack:
    """The files of a packed dataset.

    Args:
        root: Where it lies.
        shards: Its shards.
        places: Its files, by their paths (with `/`) in the dataset's folder.
        seen: Files that this process has compared with their digests.
    """

    root: Path
    shards: Shards
    places: Mapping[str, Place]
    seen: set[str] = field(default_factory=set, compare=False)

    def __getstate__(self) -> dict[str, Any]:
        """A process that gets a copy compares for itself."""
        return {**vars(self), "seen": set()}

    def file(self, inner: str) -> "PackedFile":
        """A file, or folder, by its path in the dataset's folder."""
        path = PackedFile(self.root, *PurePosixPath(inner).parts)
        path.pack, path.inner = self, inner
        return path


class PackedFile(_Plain):
    """The path of a file in a pack, below the pack's root, where nothing lies on a disk.

    What reads files of datasets works with it: `stat`, `read_bytes`, `open("rb")`, neighbours and folders. Its time of
    change is made of its content, so that what is remembered by path, size and time is of this content alone.
    """

    pack: Pack
    inner: str

    @property
    def place(self) -> Place:
        """Where it lies.

        Raises:
            FileNotFoundError: If the pack has no such file.
        """
        if (place := self.pack.places.get(self.inner)) is None:
            raise FileNotFoundError(2, "No such file in the pack", str(self))
        return place

    def read_bytes(self) -> bytes:
        """Its content, compared with its digest: once in each process where it lies on a disk, as files are hashed.

        Raises:
            UnreadableFileError: If the bytes are not those that were packed; names the shard and the file.
            FileNotFoundError: If the pack has no such file.
        """
        place, shards = self.place, self.pack.shards
        for _ in range(2):
            known = self.inner in self.pack.seen and shards.lasts(place.shard)
            content = shards.read(place.shard, place.offset, place.size, not known)
            if len(content) == place.size and (known or content_digest(content) == place.digest):
                self.pack.seen.add(self.inner)
                return content
            self.pack.seen.discard(self.inner)
            if not shards.renew(place.shard):
                break
        end = place.offset + place.size
        where = f"bytes {place.offset} to {end} of the shard '{shards.name(place.shard)}'"
        raise UnreadableFileError(self, f"{where} are not what was packed", REMEDY)

    def stat(self, **_: Any) -> os.stat_result:
        """As of a file that everybody may read."""
        place = self.place
        changed = int.from_bytes(place.digest[:7], "little")
        numbers = (stat.S_IFREG | 0o444, 0, 0, 1, 0, 0, place.size, 0, changed // 10**9, 0)
        return os.stat_result(numbers, {"st_mtime_ns": changed})

    def is_file(self, **_: Any) -> bool:
        """Whether the pack has it."""
        return self.inner in self.pack.places

    def exists(self, **_: Any) -> bool:
        """Whether the pack has it."""
        return self.is_file()

    def open(self, mode: str = "r", *_: Any, **__: Any) -> BinaryIO:  # type: ignore[override]
        """Its content to read, as bytes alone."""
        if mode != "rb":
            raise ValueError(f"files of a pack are opened as 'rb', not as '{mode}'")
        return io.BytesIO(self.read_bytes())

    @property
    def parent(self) -> Path:  # type: ignore[override]
        """The folder; above the pack's root is one without files, whatever lies there on the disk."""
        if self.inner in ("", "."):
            return self.pack.file("..")
        return self.pack.file(str(PurePosixPath(self.inner).parent))

    def with_name(self, name: str) -> "PackedFile":
        """A neighbour."""
        return self.pack.file(str(PurePosixPath(self.inner).with_name(name)))

    def __truediv__(self, key: Any) -> "PackedFile":
        return self.pack.file(str(PurePosixPath(self.inner) / key))

    def resolve(self, *_: Any) -> Path:  # type: ignore[override]
        """Where it would lie on a disk, as a plain path."""
        return Path(str(self)).resolve()

    def absolute(self) -> Path:  # type: ignore[override]
        """The same without following links."""
        return Path(str(self)).absolute()

    def __reduce__(self) -> tuple[Callable[..., "PackedFile"], tuple[Pack, str]]:
        return Pack.file, (self.pack, self.inner)
