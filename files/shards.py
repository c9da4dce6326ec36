"""Where the bytes of shards come from: a folder, or an object store with a folder that keeps what was fetched."""

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, Final

from ivif.files.errors import UnreadableFileError
from ivif.files.locks import made_once
from ivif.files.names import printable
from ivif.files.object_store import ObjectStore, StoreError
from ivif.files.packed import REMEDY
from ivif.files.whole import whole_file

_SMALL: Final = 1 << 16
_TOGETHER: Final = 1 << 18
"""Bytes around a small picture that the kernel is asked to read with it: its neighbours are wanted soon."""


@dataclass(frozen=True)
class Shard:
    """One shard: the name of its file, its bytes and how many records it has."""

    name: str
    size: int
    records: int


class LocalShards:
    """Shards that lie in a folder.

    Args:
        folder: The folder.
        shards: What it should hold.

    Raises:
        UnreadableFileError: If a shard is missing, has another size or is a link out of the folder.
    """

    def __init__(self, folder: Path, shards: Sequence[Shard]) -> None:
        self.folder = folder
        self.shards = tuple(shards)
        home = folder.resolve()
        for shard in shards:
            path = folder / shard.name
            if not path.resolve().is_relative_to(home):
                raise UnreadableFileError(path, "it is a link out of its folder", REMEDY)
            try:
                status = path.stat()
            except OSError as error:
                reason = "it is missing" if isinstance(error, FileNotFoundError) else str(error.strerror or error)
                raise UnreadableFileError(path, f"{reason}, with {shard.records} records", REMEDY) from error
            if not stat.S_ISREG(status.st_mode):
                raise UnreadableFileError(path, "it is no regular file", REMEDY)
            if status.st_size != shard.size:
                raise UnreadableFileError(path, f"it has {status.st_size} bytes, not {shard.size}", REMEDY)

    def lasts(self, shard: int) -> bool:  # noqa: ARG002 - as of `Shards`
        """They all lie on a disk."""
        return True

    def name(self, shard: int) -> str:
        """Its path."""
        return str(self.folder / self.shards[shard].name)

    def read(self, shard: int, offset: int, size: int, is_new: bool) -> bytes:
        """Some bytes of a shard.

        Raises:
            UnreadableFileError: If it cannot be read.
        """
        return read_part(self.folder / self.shards[shard].name, offset, size, is_new)

    def renew(self, shard: int) -> bool:  # noqa: ARG002 - as of `Shards`
        """There is no other copy."""
        return False


class RemoteShards:
    """Shards in an object store.

    The first shards, as many as fit, are fetched whole when something of them is first read, once for all processes of
    a machine, and kept. Of the others each file is fetched when it is read: nothing is ever thrown away to make room.

    Args:
        store: Where they are.
        shards: What is there.
        folder: Where those that were fetched are kept.
        limit: Bytes of what is kept.

    Raises:
        StoreError: If a shard is missing or has another size.
    """

    def __init__(self, store: ObjectStore, shards: Sequence[Shard], folder: Path, limit: float) -> None:
        self.store, self.folder = store, folder
        self.shards = tuple(shards)
        self._kept = sum(total <= limit for total in accumulate(shard.size for shard in shards))
        self._here: set[int] = set()
        sizes = store.sizes()
        for shard in shards:
            found = sizes.get(shard.name)
            if found != shard.size:
                what = "is missing" if found is None else f"has {found} bytes, not {shard.size}"
                raise StoreError(f"The shard '{store.address}/{shard.name}' {what}. {REMEDY}")

    def __getstate__(self) -> dict[str, Any]:
        """What a process that is not forked gets looks for itself what is there."""
        return {**vars(self), "_here": set()}

    def lasts(self, shard: int) -> bool:
        """Whether it is kept here."""
        return shard < self._kept

    def name(self, shard: int) -> str:
        """Its address."""
        return f"{self.store.address}/{self.shards[shard].name}"

    def read(self, shard: int, offset: int, size: int, is_new: bool) -> bytes:
        """Some bytes of a shard.

        Raises:
            StoreError: If it cannot be fetched, or not be kept.
        """
        if shard >= self._kept:
            return self.store.read(self.shards[shard].name, offset, size)
        return read_part(self._fetched(shard), offset, size, is_new)

    def renew(self, shard: int) -> bool:
        """Removes what was kept, so that it is fetched again."""
        self._here.discard(shard)
        (self.folder / self.shards[shard].name).unlink(missing_ok=True)
        return True

    def _fetched(self, shard: int) -> Path:
        wanted = self.shards[shard]
        path = self.folder / wanted.name
        if shard in self._here and path.exists():
            return path
        try:
            with made_once(path):
                if not path.is_file() or path.stat().st_size != wanted.size:
                    with whole_file(path, durable=False) as stream:
                        self.store.copy_to(wanted.name, stream)
        except OSError as error:
            raise StoreError(
                f"Cannot keep the shard '{wanted.name}' in '{printable(self.folder)}': {error.strerror or error}. Set "
                f"`reading.shards.folder` to a disk with room, or lower `reading.shards.gigabytes` (0 keeps none)."
            ) from error
        self._here.add(shard)
        return path


def read_part(path: Path, offset: int, size: int, is_new: bool) -> bytes:
    """Some bytes of a file, fewer where it ends; it is opened anew, so that processes share no position.

    Args:
        path: The file.
        offset: Of the first byte.
        size: How many.
        is_new: Whether the kernel may not have them yet.

    Raises:
        UnreadableFileError: If it cannot be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if is_new and size < _SMALL and hasattr(os, "posix_fadvise"):
                begin = offset // _TOGETHER * _TOGETHER
                os.posix_fadvise(descriptor, begin, offset + size - begin + _TOGETHER, os.POSIX_FADV_WILLNEED)
            return os.pread(descriptor, size, offset)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise UnreadableFileError(path, str(error.strerror or error), REMEDY) from error
