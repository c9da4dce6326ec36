"""`ivif data download`: a dataset from where its owners have it, whole and checked, or a word on where to click."""

import fcntl
import os
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from ivif.commands.data.places import PLACES, Place
from ivif.commands.errors import UsageError
from ivif.commands.program import program
from ivif.files.downloads import DownloadError, PlaceError, fetch
from ivif.files.errors import DatasetError
from ivif.files.names import printable
from ivif.files.unpacking import UnpackError, commit_of, unpack
from ivif.files.whole import missing_folders, remove_empty

_COMMIT_DIGITS: Final = 40
_NO_ROOM: Final = "Make room, or choose another --out."


def download(name: str, out: Path, accept_terms: bool = False, archive: Path | None = None) -> int:
    """Fetches a dataset into a folder of its own, unless it is there already; returns the exit code.

    The folder takes its name when the reader has found all pairs in it. What was fetched before a break is used again.

    Args:
        name: Of `PLACES`.
        out: Where its folder goes.
        accept_terms: Whether the user has accepted the owners' terms; otherwise they are asked for.
        archive: A zip archive that the user has fetched; it stays.

    Raises:
        UsageError: If it cannot be had by a program, the terms are not accepted, or other files are in its place.
        DownloadError: If it cannot be fetched.
        UnpackError: If the archive is damaged or not safe to unpack.
    """
    place = PLACES[name]
    target = out / place.folder
    again = f"{program()} data download {name}" + ("" if out == Path("data") else f" --out {shlex.quote(str(out))}")
    fetched = out / f".{place.folder}-{(place.commit or place.drive)[:8]}.zip"
    if target.is_symlink() or (target.exists() and not _is_empty(target)):
        _refuse_another(place, target)
        fetched.unlink(missing_ok=True)  # of a process that was killed when all was done
        print(f"{target} is there already, with all pairs. Look at them:\n  {_check(name, target)}")
        return 0
    if archive is not None and not archive.is_file():
        problem = "it is a folder; give the zip archive itself" if archive.is_dir() else "no such file"
        raise UsageError(f"--archive {printable(archive)}: {problem}.")
    if archive is None and not (place.address or place.drive):
        raise UsageError(
            f"{place.folder} has no address that a program could use. Its page, {place.page}, {place.by_hand}.",
            f"Then type: {again} --archive FILE.zip",
        )
    if not _accepted(place, f"{again} --accept_terms", accept_terms, archive):
        print("Nothing was fetched.")
        return 1
    if archive is None:
        _fetch(place, fetched, again)
    count = _install(place, archive or fetched, target, again, keeps=archive is not None)
    print(f"{count} pairs in {target}. Look at them:\n  {_check(name, target)}")
    return 0


def _refuse_another(place: Place, target: Path) -> None:
    """Refuses to go on where something else is in a dataset's place.

    Raises:
        UsageError: If what is there is no whole copy.
    """
    if problem := _missing_pairs(place, target):
        raise UsageError(
            f"'{printable(target)}' is there already, and is left as it is, though {problem}.",
            "Move it away, or choose another --out.",
        )


def _check(name: str, target: Path) -> str:
    return f"{program()} data check --data {name}.yaml --data.root {shlex.quote(str(target))}"


def _accepted(place: Place, line: str, accept_terms: bool, archive: Path | None) -> bool:
    """Shows the owners' terms, and whether the user accepts them.

    Raises:
        UsageError: If nobody is there to be asked.
    """
    if archive is not None:
        return True  # who has the archive has met them
    print(f"{place.folder}: {place.page}\n{place.terms}")
    if accept_terms:
        return True
    if not sys.stdin.isatty():
        raise UsageError(f"The terms of {place.folder} must be accepted first. If you do, type: {line}")
    try:
        return input("Do you accept these terms? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False


def _in_browser(place: Place, again: str) -> str:
    return f"or fetch it in a browser from {place.link} and type: {again} --archive FILE.zip"


def _fetch(place: Place, archive: Path, again: str) -> None:
    """Fetches the archive, unless it is there.

    Raises:
        UsageError: If a package for it is missing.
        DownloadError: If it cannot be fetched.
    """
    if place.drive:
        if not archive.exists():
            _fetch_from_drive(place, archive, again)
        return
    try:
        fetch(place.address, archive, remedy=_NO_ROOM)
    except PlaceError:
        raise
    except DownloadError as error:
        message = f"{place.address}: {error}. Type the same line again, {_in_browser(place, again)}"
        raise DownloadError(message) from error


def _fetch_from_drive(place: Place, archive: Path, again: str) -> None:
    by_hand = _in_browser(place, again)
    try:
        drive: Any = import_module("gdown")
    except ImportError as error:
        raise UsageError(
            f"{place.folder} lies on Google Drive, where the package gdown can fetch it: pip install gdown, {by_hand}"
        ) from error
    archive.parent.mkdir(parents=True, exist_ok=True)
    reason = "no file came"
    try:
        drive.download(id=place.drive, output=str(archive), resume=True)
    except Exception as error:  # of requests, of its own, of the disk
        reason = getattr(error, "strerror", None) or type(error).__name__
    if not archive.is_file():
        raise DownloadError(f"Google Drive did not give {place.folder} ({reason}). Try again later, {by_hand}")


def _install(place: Place, archive: Path, target: Path, again: str, keeps: bool) -> int:
    """Unpacks and counts beside the place, and then gives the folder its name; returns the number of pairs.

    Raises:
        UnpackError: If the archive is damaged, not safe, or of another dataset; one that was fetched is removed then.
    """
    with _own_folder(target.with_name(f".{place.folder}.unpacking")) as folder:
        try:
            commit = commit_of(archive)
            if not keeps and place.commit and len(commit) == _COMMIT_DIGITS and commit != place.commit:
                raise UnpackError(f"'{printable(archive)}' is of commit {commit}, not of {place.commit}.")
            unpack(archive, folder)
            if problem := _missing_pairs(place, folder):
                raise UnpackError(f"'{printable(archive)}' is not {place.folder} as its owners have it: {problem}.")
        except UnpackError as error:
            if keeps:
                raise UnpackError(f"{error} It is left as it is: fetch the right one from {place.link}") from error
            archive.unlink()
            message = f"{error} What was fetched was removed: type the same line again, {_in_browser(place, again)}"
            raise UnpackError(message) from error
        folder.rename(target)
    if not keeps:
        archive.unlink(missing_ok=True)
    return sum(_counts(place, target).values())


@contextmanager
def _own_folder(folder: Path) -> Iterator[Path]:
    """An empty folder for this process alone, removed at the end unless it has another name by then.

    Those around it that were made for it go too, where nothing is in them.

    Raises:
        UsageError: If another process has it.
    """
    made = missing_folders(folder.parent)
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(f"Another process is unpacking into '{printable(folder)}'. Wait for it to end.") from error
        except OSError:
            pass  # a filesystem without locks
        _empty(folder)
        try:
            yield folder
        finally:
            if folder.is_dir():
                shutil.rmtree(folder)
    finally:
        os.close(descriptor)
        remove_empty(made)


def _empty(folder: Path) -> None:
    """Removes what a killed process left half unpacked."""
    for entry in folder.iterdir():
        shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()


def _is_empty(folder: Path) -> bool:
    return folder.is_dir() and not any(folder.iterdir())


def _counts(place: Place, folder: Path) -> dict[str, int]:
    """How many pairs the reader finds, by split."""
    module, _, name = place.reader.rpartition(".")
    reader = getattr(import_module(module), name)
    return {split: len(reader(folder, split).records) for split in place.pairs or ("all",)}


def _missing_pairs(place: Place, folder: Path) -> str:
    """What a folder lacks of the dataset, in words; empty where it is all there."""
    try:
        found = _counts(place, folder)
    except DatasetError:
        return f"it has no pairs of {place.folder}"
    if not place.pairs or found == place.pairs:
        return ""
    return f"it has {_listed(found)} pairs and not {_listed(place.pairs)}"


def _listed(counts: Mapping[str, int]) -> str:
    return " + ".join(str(count) for count in counts.values())
