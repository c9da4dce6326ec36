"""Zip archives from the web: what they hold is data, so that no name leads out and nothing unfolds without end."""

import shutil
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import Final

from rich.console import Console
from rich.progress import track

from ivif.files.downloads import PlaceError
from ivif.files.errors import UserError
from ivif.files.names import printable

MOST_FILES: Final = 200_000
"""More than five times the files of the largest dataset."""

MOST_TIMES_LARGER: Final = 10
_SMALL: Final = 100 * 2**20
"""Pictures are compressed already: an archive of them unfolds to little more than it has, a bomb to much more."""

_NO_DATA: Final = ("__MACOSX", ".DS_Store", "Thumbs.db")
"""What systems leave behind in archives."""


class UnpackError(UserError):
    """An archive is damaged, or holds what no dataset does; the message names it and the entry."""


def unpack(archive: Path, folder: Path) -> None:
    """Unpacks a zip archive into an empty folder, every file compared with its checksum.

    One folder that holds everything else, as repositories' archives have it, is left out of the paths.

    Raises:
        UnpackError: If it is none, is damaged, encrypted or too large, or has links, the same name twice or names that
            lead out of the folder; only of a damaged one files are there then.
        PlaceError: If it cannot be written.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            files = _files(opened, archive)
            size = sum(entry.file_size for entry in files.values())
            if size > (free := shutil.disk_usage(folder).free):
                raise PlaceError(
                    f"'{printable(archive)}' unfolds to {size / 1e6:.0f} MB, and {free / 1e6:.0f} MB are free in "
                    f"'{printable(folder)}'. Make room, or choose another place."
                )
            common = _common_folder(files)
            console = Console(stderr=True)
            for path in track(files, f"unpacking {len(files)} files", console=console, transient=True):
                place = folder.joinpath(*path.parts[common:])
                place.parent.mkdir(parents=True, exist_ok=True)
                with opened.open(files[path]) as source, place.open("xb") as target:
                    shutil.copyfileobj(source, target, 1 << 20)
    except (zipfile.BadZipFile, zlib.error, EOFError, UnicodeDecodeError) as error:
        raise UnpackError(f"'{printable(archive)}' is no whole zip archive ({printable(error)}).") from error
    except OSError as error:
        raise PlaceError(
            f"Cannot unpack into '{printable(folder)}': {error.strerror}. Make room, or choose another place."
        ) from error


def commit_of(archive: Path) -> str:
    """The commit that the archive of a repository says it is of; empty for others.

    Raises:
        UnpackError: If it is no zip archive.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            return opened.comment.decode("ascii", errors="replace")
    except zipfile.BadZipFile as error:
        raise UnpackError(f"'{printable(archive)}' is no whole zip archive ({printable(error)}).") from error


def _files(opened: zipfile.ZipFile, archive: Path) -> dict[PurePosixPath, zipfile.ZipInfo]:
    """Its files by path, all of them fit to be written."""
    entries = opened.infolist()
    size = sum(entry.file_size for entry in entries)
    most = MOST_TIMES_LARGER * archive.stat().st_size + _SMALL
    if len(entries) > MOST_FILES or size > most:
        raise UnpackError(
            f"'{printable(archive)}' holds {len(entries)} files of {size / 1e6:.0f} MB in all, more than an archive of "
            f"pictures of its size can hold."
        )
    files: dict[PurePosixPath, zipfile.ZipInfo] = {}
    for entry in entries:
        path = PurePosixPath(entry.filename)
        if problem := _problem(entry, path) or ("a name that it has twice" if path in files else ""):
            raise UnpackError(f"'{printable(archive)}' holds '{printable(entry.filename)}': {problem}.")
        if not entry.is_dir() and not set(path.parts) & set(_NO_DATA):
            files[path] = entry
    return files


def _problem(entry: zipfile.ZipInfo, path: PurePosixPath) -> str:
    """What is wrong with an entry; empty where nothing is."""
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "a link, pipe or device"
    if path.is_absolute() or ".." in path.parts or not path.parts or "\\" in entry.filename or ":" in path.parts[0]:
        return "a name that leads out of the folder"
    if entry.flag_bits & 1:
        return "encrypted, and no password is known"
    return "" if entry.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) else "compressed in an unusual way"


def _common_folder(files: dict[PurePosixPath, zipfile.ZipInfo]) -> int:
    """1 where all files lie in one folder, 0 otherwise."""
    return int(len({path.parts[0] for path in files}) == 1 and all(len(path.parts) > 1 for path in files))
