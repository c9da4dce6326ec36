"""The parts of a JPEG before its pixels, where thermal cameras put what they measured."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ivif.files.errors import UnreadableFileError
from ivif.files.pictures import file_status, reason

JPEG_BEGIN: Final = b"\xff\xd8"
APP1: Final = 0xE1
APP3: Final = 0xE3

_ALONE: Final = (0x01, *range(0xD0, 0xD9))
"""Markers without content."""

_LAST: Final = (0xD9, 0xDA)
"""End of the picture, and the beginning of its pixels."""


def jpeg_parts(path: Path) -> Iterator[tuple[int, bytes]]:
    """The marker and the content of each part before the pixels.

    Raises:
        UnreadableFileError: If the file cannot be read, or a part ends behind its end.
    """
    file_status(path)
    try:
        with path.open("rb") as stream:
            if stream.read(2) != JPEG_BEGIN:
                return
            while (marker := _marker(stream.read(1), stream.read(1))) is not None:
                if marker == 0xFF:  # filling
                    stream.seek(-1, 1)
                elif marker in _LAST:
                    return
                elif marker not in _ALONE:
                    (length,) = struct.unpack(">H", stream.read(2))
                    content = stream.read(max(0, length - 2))
                    if len(content) != length - 2:
                        raise UnreadableFileError(path, "it is cut off before its pixels")
                    yield marker, content
    except (OSError, struct.error) as error:
        why = reason(error) if isinstance(error, OSError) else "it is cut off before its pixels"
        raise UnreadableFileError(path, why) from error


def _marker(first: bytes, second: bytes) -> int | None:
    return second[0] if first == b"\xff" and second else None
