"""Files of torch, and released weights, with the checksums that they carry."""

import zipfile
from pathlib import Path
from typing import Any, Final

import torch

from ivif.files.released import read_released

_FOLDER: Final = 0x10
"""The mark of a folder in an entry's attributes; torch takes unset memory for the values of an entry that has it."""


def load_checked(path: Path, mmap: bool = False) -> Any:
    """What `torch.save` wrote, onto the CPU, without running code from it, and only if it is what was written.

    Args:
        path: The file.
        mmap: Whether tensors stay in the file until they are used.

    Raises:
        Exception: Of a dozen kinds, as zipfile and torch have them for damaged files and for code.
    """
    compare_checksums(path)
    return load_plain(path, mmap)


def load_plain(path: Path, mmap: bool = True) -> Any:
    """As `load_checked`, for a file that was checked before; released weights are checked again.

    Raises:
        Exception: As `load_checked`.
    """
    if path.suffix == ".safetensors":
        return read_released(path)
    return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)


def compare_checksums(path: Path) -> None:
    """Refuses an archive that is not what was written (0.2 s for 200 MB).

    Torch writes a checksum for every entry and never looks at it: a damaged weight would load as another number. Files
    of releases before 1.6 are no archives and have none.

    Raises:
        Exception: Of several kinds, as zipfile has them for damaged files.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            folders = [entry.filename for entry in archive.infolist() if entry.external_attr & _FOLDER]
            if damaged := archive.testzip() or next(iter(folders), None):
                raise zipfile.BadZipFile(f"its entry '{damaged}' is not what was written")
