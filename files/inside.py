"""What lies in a folder that somebody else may have made: links in it must not lead out of it."""

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ivif.files.packed import PackedFile

LARGEST_RECORD: Final = 64 * 2**20
"""Bytes of the largest record that is read whole; a list of a million names has half of them."""


class OutsideFileError(ValueError):
    """Something in a folder is a link out of it, or no file that could be read; the message carries the remedy."""


def refuse_links_out(folder: Path) -> None:
    """Refuses a folder that holds links out of it, pipes or devices; call it before anything is written or recorded.

    Links to elsewhere in the folder are fine, and so is the one that W&B makes to its own log. The folder itself may be
    reached through links: its user named it.

    Args:
        folder: It may be missing.

    Raises:
        OutsideFileError: Names the first of them.
        OSError: If a folder in it cannot be read.
    """
    home = folder.resolve()
    for entry in _entries(home):
        if entry.is_symlink():
            target = Path(entry.path).resolve()
            if not target.is_relative_to(home) and not _is_log_of_wandb(Path(entry.path).relative_to(home)):
                raise OutsideFileError(
                    f"'{entry.path}' is a link to '{target}', outside of the folder '{folder}'. Nothing is written, "
                    f"recorded or removed through such links: put what it points to in its place, or remove it."
                )
        elif not (entry.is_dir(follow_symlinks=False) or entry.is_file(follow_symlinks=False)):
            raise OutsideFileError(f"'{entry.path}' is a pipe, socket or device. Remove it, or choose another folder.")


def read_inside(path: Path, folder: Path, largest: int = LARGEST_RECORD) -> bytes:
    """The content of a record that lies in a folder.

    Args:
        path: The file.
        folder: Where it must lie, links followed.
        largest: Most bytes that it may have.

    Raises:
        OutsideFileError: If it lies elsewhere, is no regular file, or is too large.
        OSError: If it cannot be read.
    """
    if isinstance(path, PackedFile):
        content = path.read_bytes()
        if len(content) > largest:
            raise OutsideFileError(_too_long(path, largest))
        return content
    place = path.resolve()
    if not place.is_relative_to(folder.resolve()):
        raise OutsideFileError(
            f"'{path}' is a link to '{place}', outside of the folder '{folder}'. Put the file itself there, or "
            f"remove it."
        )
    try:
        descriptor = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise OutsideFileError(f"'{path}' is a link that leads nowhere. Remove it.") from error
    with os.fdopen(descriptor, "rb") as stream:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OutsideFileError(f"'{path}' is no regular file. Remove it.")
        content = stream.read(largest + 1)
    if len(content) > largest:
        raise OutsideFileError(_too_long(path, largest))
    return content


def _too_long(path: Path, largest: int) -> str:
    return f"'{path}' has more than {largest} bytes, too many for what it should be. Remove it."


def _is_log_of_wandb(path: Path) -> bool:
    """Whether W&B itself makes a link there, in the folder of one run of its own; nothing of ours opens it."""
    return len(path.parts) == 4 and path.match("wandb/*run-*/logs/debug-core.log")


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Everything below a folder, without following links."""
    left = [str(folder)] if folder.is_dir() else []
    while left:
        with os.scandir(left.pop()) as found:
            for entry in found:
                yield entry
                if entry.is_dir(follow_symlinks=False):
                    left.append(entry.path)
