"""Errors that a user can meet: each says what is wrong, where, and what to do."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from ivif.files.names import printable

LONGEST_PLAIN_NAME: Final = 100
"""Bytes of a plain name: those of files are built of it."""


class UserError(Exception):
    """Base of errors whose message tells a user all there is to know: commands print it without a traceback."""


class NotFiniteError(UserError):
    """Base of errors that tell of NaN or infinity where training has led: no fault of files or of the machine."""


class DatasetError(UserError):
    """Base of all dataset errors: a user's data is missing, damaged or does not fit; the message carries the remedy.

    A field of the datamodule stands in backticks (`reading.strict`): the command line names the option that sets it.
    """


class DatasetNotFoundError(DatasetError):
    """The dataset's folders are not where they were looked for."""

    def __init__(
        self, dataset: str, root: Path, looked_for: Sequence[str], url: str = "", remedy: str | None = None
    ) -> None:
        """Builds the message.

        Args:
            dataset: Name of the dataset.
            root: The folder that the user gave.
            looked_for: The layouts tried, relative to `root`.
            url: Where the dataset is released.
            remedy: What to do; default: download it from there.
        """
        tried = "\n".join(f"  - {entry}" for entry in looked_for)
        state = "" if root.is_dir() else ", which is no folder" if root.exists() else ", which does not exist"
        remedy = remedy or (
            f"Download the dataset from {url} (`ivif data download` can get some), unpack it, and point `root` at the "
            f"folder that holds these (DATASETS.md shows the expected layout)."
        )
        super().__init__(f"No {dataset} pairs under '{root}'{state}. Looked for:\n{tried}\n{remedy}")


class UnreadableFileError(DatasetError):
    """A file exists but cannot be read as what it should be (truncated, wrong format, empty)."""

    def __init__(
        self, path: Path, reason: str, remedy: str = "Replace the file, or remove its pair from the dataset."
    ) -> None:
        """Builds the message from the file's path, what is wrong with it, and what to do."""
        self.reason = reason
        super().__init__(f"Cannot read '{printable(path)}': {reason}. {remedy}")


class PairingError(DatasetError):
    """Infrared and visible files do not pair up."""


class LabelError(DatasetError):
    """A label file holds something that cannot be used: an unknown class, a malformed line, a box without extent."""


class SplitError(DatasetError):
    """A split or manifest is unknown, or asks for pairs that are not on disk."""


class CacheError(DatasetError):
    """Decoded pairs cannot be kept: memory or disk space is short, or the folder cannot be written."""


def plain_name(name: str, option: str) -> str:
    """A name that results are stored under, in folders or as files.

    Raises:
        ValueError: If a path could not be built from it, or would lead elsewhere.
    """
    if name != Path(name).name or name.startswith(".") or not name.strip() or not name.isprintable() or "\\" in name:
        raise ValueError(f"{option} is {name!r}; it must be a plain name, without '/', as results are stored under it.")
    if len(name.encode()) > LONGEST_PLAIN_NAME:
        raise ValueError(f"{option} is {name!r}; it must not be longer than {LONGEST_PLAIN_NAME} bytes.")
    return name
