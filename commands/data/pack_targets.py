"""Where `data pack` writes: a folder or an object store, in which the index comes last."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final, Protocol

from ivif.commands.errors import UsageError
from ivif.commands.train.run_folder import lock_run_folder, unlock_folder
from ivif.datamodules.datasets.packed.opening import UNFINISHED, open_table
from ivif.datamodules.datasets.packed.table import INDEX, SHARD_NAME, TABLE, Table
from ivif.files.inside import refuse_links_out
from ivif.files.names import printable
from ivif.files.object_store import ObjectStore, address_of
from ivif.files.packed import content_digest
from ivif.files.whole import missing_folders, remove_empty, remove_partial_files, write_whole

_SHARDS: Final = "shards"


class Target(Protocol):
    """A place for a pack."""

    kept: int
    """Shards that were there already, of a call that was stopped."""

    def finished(self) -> Table | None:
        """What is there, where it is a finished pack.

        Raises:
            UsageError: If something else is there.
        """

    def writing(self, size: int) -> AbstractContextManager[Path]:
        """Holds the place, and gives a folder for shards on their way.

        Args:
            size: Bytes of all that will be written.

        Raises:
            UsageError: If there is no room, or another process writes there.
        """

    def deliver(self, shard: Path) -> None:
        """Takes a whole shard."""

    def finish(self, table: bytes, index: bytes) -> None:
        """Takes table and index, after which the pack is finished."""


class FolderTarget:
    """A folder, which is empty or was begun by an earlier call; what that one left is removed.

    Args:
        out: The folder.
    """

    kept = 0

    def __init__(self, out: Path) -> None:
        self.out = out
        self._own = out / UNFINISHED

    def finished(self) -> Table | None:
        """As `Target.finished`."""
        if self.out.exists() and not self.out.is_dir():
            raise UsageError(f"--out {printable(self.out)} is no folder. Choose another one.")
        if self._own.exists() or not self.out.exists() or not any(self.out.iterdir()):
            return None
        if (table := open_table(self.out)) is None:
            raise UsageError(f"--out {printable(self.out)} holds other files. Choose an empty folder, or a new one.")
        return table

    @contextmanager
    def writing(self, size: int) -> Iterator[Path]:
        """As `Target.writing`; what was written is removed where it cannot be finished."""
        made = missing_folders(self.out)
        free = shutil.disk_usage(made[-1].parent if made else self.out).free
        if size > free:
            raise UsageError(
                f"The shards need {size / 1e6:.0f} MB, and {free / 1e6:.0f} MB are free at '{printable(self.out)}'. "
                f"Make room, or choose another --out."
            )
        if self.out.is_dir():
            refuse_links_out(self.out)
        lock_run_folder(self._own, "pack", "--out")
        try:
            self._clear()
            staging = self._own / _SHARDS
            staging.mkdir()
            yield staging
            unlock_folder(self._own)
            shutil.rmtree(self._own)
        except BaseException:
            if not (self.out / INDEX).exists():
                self._clear()
                unlock_folder(self._own)
                remove_empty([self._own, *made])
            raise
        finally:
            unlock_folder(self._own)

    def deliver(self, shard: Path) -> None:
        """As `Target.deliver`; it has reached the disk when it gets its place."""
        with shard.open("rb") as stream:
            os.fsync(stream.fileno())
        shard.replace(self.out / shard.name)

    def finish(self, table: bytes, index: bytes) -> None:
        """As `Target.finish`."""
        write_whole(self.out / TABLE, table)
        write_whole(self.out / INDEX, index)

    def _clear(self) -> None:
        """Removes what a call that did not finish has written, the index first."""
        for name in (INDEX, TABLE):
            (self.out / name).unlink(missing_ok=True)
        for path in self.out.iterdir():
            if SHARD_NAME.fullmatch(path.name):
                path.unlink()
        remove_partial_files(self.out, below=False)
        shutil.rmtree(self._own / _SHARDS, ignore_errors=True)


class StoreTarget:
    """An address in an object store; shards of an earlier call that did not finish stay where they are the same.

    Args:
        out: The address, as a path.
        store: Its objects.
    """

    def __init__(self, out: Path, store: ObjectStore) -> None:
        self.out, self.store = out, store
        self.kept = 0
        self._there: dict[str, int] = {}

    def finished(self) -> Table | None:
        """As `Target.finished`."""
        self._there = self.store.sizes()
        others = [name for name in self._there if name not in (INDEX, TABLE) and not SHARD_NAME.fullmatch(name)]
        if others:
            raise UsageError(
                f"--out {self.store.address} holds other objects, such as '{printable(others[0])}'. Choose a prefix "
                f"where nothing is."
            )
        return open_table(self.out) if INDEX in self._there else None

    @contextmanager
    def writing(self, size: int) -> Iterator[Path]:  # noqa: ARG002 - a store does not say what room it has
        """As `Target.writing`: one shard at a time is on this machine."""
        with tempfile.TemporaryDirectory(prefix="ivif-pack-") as folder:
            yield Path(folder)

    def deliver(self, shard: Path) -> None:
        """As `Target.deliver`."""
        content = shard.read_bytes()
        digest = content_digest(content).hex()
        if self._there.get(shard.name) == len(content) and self.store.noted_digest(shard.name) == digest:
            self.kept += 1
        else:
            self.store.put(shard.name, content, digest)
        shard.unlink()

    def finish(self, table: bytes, index: bytes) -> None:
        """As `Target.finish`."""
        self.store.put(TABLE, table)
        self.store.put(INDEX, index)


def target_of(out: str) -> Target:
    """The place that `--out` names.

    Raises:
        MissingLibraryError: If an object store needs a library that is not installed.
    """
    address = address_of(out)
    return StoreTarget(Path(out), ObjectStore(address)) if address else FolderTarget(Path(out))
