"""Which picture files lie in a folder, or below it."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ivif.datamodules.datasets.io import IMAGE_SUFFIXES
from ivif.datamodules.datasets.pairs.names import Picture
from ivif.files.errors import PairingError
from ivif.files.names import UTF8_REMEDY, is_utf8, printable

OTHER_SUFFIXES: Final = ("", ".txt", ".xml", ".json", ".csv", ".md", ".db", ".ini")
"""Endings of what lies beside images and is none: labels, notes, what systems leave behind."""

DEEPEST: Final = 8
"""Levels of folders that are looked into: KAIST has three."""

MOST_ENTRIES: Final = 2_000_000
"""Files and folders below a place: more are no dataset, but a whole disk."""


@dataclass
class Listing:
    """What lies in a place.

    Attributes:
        place: The folder, or a single file.
        pictures: Its pictures, sorted by path.
        others: Files of other endings, but hidden ones.
        passed_over: Folders with pictures that were not looked into, because pictures lie beside them.
        nameless: Pictures whose names are no text.
    """

    place: Path
    pictures: list[Picture] = field(default_factory=list)
    others: list[Path] = field(default_factory=list)
    passed_over: list[Path] = field(default_factory=list)
    nameless: list[Path] = field(default_factory=list)

    @property
    def unread(self) -> list[Path]:
        """Files that may be pictures of a format that is not read."""
        return [path for path in self.others if path.suffix.lower() not in OTHER_SUFFIXES]

    def refuse_nameless(self) -> None:
        """Refuses names that are no text: nothing could be written of them.

        Raises:
            PairingError: Names the first of them.
        """
        if self.nameless:
            raise PairingError(f"'{printable(self.nameless[0])}': the file's name is not UTF-8. {UTF8_REMEDY}")


def list_files(folder: Path, suffixes: Sequence[str] = IMAGE_SUFFIXES) -> list[Path]:
    """Files with one of `suffixes` (any case) in `folder`, sorted; hidden files are left out.

    Raises:
        PairingError: If the name of one is no text.
    """
    files = sorted(
        entry for entry in folder.iterdir() if entry.suffix.lower() in suffixes and not entry.name.startswith(".")
    )
    for file in files:
        if not is_utf8(file.name):
            raise PairingError(f"'{printable(file)}': the file's name is not UTF-8. {UTF8_REMEDY}")
    return files


def list_folders(folder: Path) -> list[Path]:
    """The folders in a folder, sorted; files are not looked at one by one."""
    with os.scandir(folder) as entries:
        return [folder / name for name in sorted(entry.name for entry in entries if _is(entry.is_dir))]


def list_pictures(place: Path, below: bool | None = None, suffixes: Sequence[str] = IMAGE_SUFFIXES) -> Listing:
    """The pictures of a place, or other files.

    Args:
        place: A folder, or one file, which is then the only picture.
        below: Whether pictures in folders below count; None: only where none lies directly in the folder.
        suffixes: Endings that count, in lower case.

    Raises:
        PairingError: If there are more entries than a dataset has.
    """
    listing = Listing(place)
    if not place.is_dir():
        listing.pictures.append(Picture(place, (), place.stat().st_ino, place.is_symlink()))
        return listing
    folders = _enter(place, (), listing, suffixes)
    if below is None and listing.pictures:
        listing.passed_over = sorted(folder for folder, _ in folders if _holds(folder, suffixes))
    if not (below or (below is None and not listing.pictures)):
        folders = []
    seen, entries = {_identity(place)}, 0
    while folders:
        folder, parts = folders.pop()
        if len(parts) > DEEPEST or (identity := _identity(folder)) in seen:  # links may lead in circles
            continue
        seen.add(identity)
        before = len(listing.pictures) + len(listing.others)
        folders += _enter(folder, parts, listing, suffixes)
        entries += len(listing.pictures) + len(listing.others) - before + 1
        if entries > MOST_ENTRIES:
            raise PairingError(f"More than {MOST_ENTRIES} files lie below '{place}'. Point `root` at the dataset.")
    listing.pictures.sort(key=lambda picture: str(picture.path))  # paths take ten times as long to compare
    listing.others.sort(key=str)
    return listing


def _enter(
    folder: Path, parts: tuple[str, ...], listing: Listing, suffixes: Sequence[str]
) -> list[tuple[Path, tuple[str, ...]]]:
    """Adds the files of one folder to the listing; returns its folders, each with its parts below the place."""
    folders = []
    for entry in _entries(folder):
        path, suffix = Path(entry.path), _ending(entry.name)
        if suffix in suffixes:
            if is_utf8(entry.name):
                listing.pictures.append(Picture(path, parts, entry.inode(), entry.is_symlink()))
            else:
                listing.nameless.append(path)
        elif _is(entry.is_file):
            listing.others.append(path)
        elif _is(entry.is_dir) and is_utf8(entry.name):
            folders.append((path, (*parts, entry.name)))
    return folders


def _ending(name: str) -> str:
    """As `Path.suffix` in lower case, in a tenth of the time."""
    stem, dot, ending = name.rpartition(".")
    return f".{ending.lower()}" if stem and ending and dot else ""


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not entry.name.startswith(".")]
    except PermissionError as error:
        raise PairingError(f"'{folder}' cannot be read: {error.strerror}. Change its rights (chmod).") from error


def _is(kind: Callable[[], bool]) -> bool:
    try:
        return kind()
    except OSError:  # a link to itself
        return False


def _holds(folder: Path, suffixes: Sequence[str]) -> bool:
    return any(_ending(entry.name) in suffixes for entry in _entries(folder))


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino
