"""What a process remembers of the files that it has read."""

from pathlib import Path
from typing import Final, TypeVar

from ivif.files.pictures import file_status

Found = TypeVar("Found")
FileKey = tuple[str, int, int]

MOST: Final = 2**18
"""Files of which something is remembered, the last ones: a prediction of millions must not grow."""


class Remembered(dict[FileKey, Found]):
    """What was found out about files, by `file_key`; beyond `MOST` the first of them is forgotten."""

    def __setitem__(self, key: FileKey, found: Found) -> None:
        super().__setitem__(key, found)
        if len(self) > MOST:
            del self[next(iter(self))]


def file_key(path: Path, max_pixels: int) -> FileKey:
    """Path, size and time of change.

    Raises:
        UnreadableFileError: If the file is missing, empty or too large.
    """
    status = file_status(path, max_pixels)
    return str(path), status.st_size, status.st_mtime_ns
