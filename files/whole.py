"""Files that are whole at every moment: written beside their place, and then given their name in one step."""

import glob
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

from ivif.files.names import file_name

PARTIAL: Final = ".partial"
"""Ending of a file that is still being written, or was when its process was killed; its name begins with a dot."""

_SHOWN: Final = 80
"""Bytes for a file's name in that of its temporary file, which must not be too long for the filesystem."""

_RANDOM: Final = 8
"""Random bytes in that name, so that nobody can have prepared a file or a link there."""


@contextmanager
def whole_file(path: Path, durable: bool = True) -> Iterator[BinaryIO]:
    """A file to write that takes its name when it is complete, or not at all; missing folders are made.

    Until then it lies beside its place, under a name that nobody can have prepared. The umask decides who may read it.
    A link of that name is replaced, not followed.

    Args:
        path: The file.
        durable: Whether its content must have reached the disk first; pictures that can be made again need not.

    Raises:
        OSError: If it cannot be written; names `path`, which is then as before, and nothing lies beside it. Folders
            that were made for it go too.
    """
    made = missing_folders(path.parent)
    partial = path.with_name(f"{_beginning(path.name)}{secrets.token_hex(_RANDOM)}{PARTIAL}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                yield stream
                stream.flush()
                if durable:
                    os.fsync(stream.fileno())
            partial.replace(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            remove_empty(made)
            raise
    except OSError as error:
        remove_empty(made)
        if error.errno is None or error.filename not in (None, str(partial)):
            raise
        # a full disk names no file, and no user knows `partial`
        raise OSError(error.errno, error.strerror, str(path)) from error
    if durable:
        _flush_folder(path.parent)


def missing_folders(folder: Path) -> list[Path]:
    """A folder and those around it, as far as they are not there, the innermost first."""
    missing = []
    while not os.path.lexists(folder):
        missing.append(folder)
        folder = folder.parent
    return missing


def remove_empty(made: Sequence[Path]) -> None:
    """Removes folders that a process made, the innermost first, as far as nothing is in them."""
    with suppress(OSError):
        for folder in made:
            if folder.exists():
                folder.rmdir()


def write_whole(path: Path, content: str | bytes | memoryview, durable: bool = True) -> None:
    """Replaces a file in one step by other content, text as UTF-8; arguments and errors are those of `whole_file`."""
    data = content.encode() if isinstance(content, str) else content
    with whole_file(path, durable) as stream:
        stream.write(data)


def remove_partial_files(folder: Path, below: bool = True, of: str | None = None) -> list[Path]:
    """Removes what killed processes left half written, and says what; only for the process that holds the folder.

    Args:
        folder: It may be missing.
        below: Whether its folders are looked through as well.
        of: Name of the one file that the process holds, where others may be writing others there.
    """
    names = ".*" if of is None else f"{glob.escape(_beginning(of))}{'?' * 2 * _RANDOM}"
    left = sorted((folder.rglob if below else folder.glob)(f"{names}{PARTIAL}"))
    for path in left:
        path.unlink(missing_ok=True)
    return left


def _beginning(name: str) -> str:
    return f".{file_name(name, longest=_SHOWN)}-"


def _flush_folder(folder: Path) -> None:
    """Makes the new name durable; where folders cannot be opened, the filesystem decides."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError:
        pass
    finally:
        os.close(descriptor)
