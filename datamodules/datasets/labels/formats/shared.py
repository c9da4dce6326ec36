"""What every format shares: the box that a file tells of, the file's text, and how a fault in it is told."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ivif.files.errors import LabelError
from ivif.files.names import printable

FileState = tuple[int, int]
"""Size in bytes and time of change in nanoseconds."""

TOLD: Final = 200
"""Most characters of a value in a message."""


@dataclass(frozen=True)
class LabeledBox:
    """One object as its file tells it: class name and xyxy in pixels, neither clipped nor checked."""

    name: str
    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class LabeledPicture:
    """What a label file says of one picture.

    Args:
        boxes: Its objects.
        size: (height, width) of the picture that they are pixels of, where the file declares it.
        file_name: Name of that picture, where the file declares it.
        channels: How many that picture has, where the file declares it; else 0.
        classes: All names that the file, or a list beside it, knows: () where neither has a list.
    """

    boxes: tuple[LabeledBox, ...] = ()
    size: tuple[int, int] | None = None
    file_name: str = ""
    channels: int = 0
    classes: tuple[str, ...] = ()


def declared_size(height: Any, width: Any) -> tuple[int, int] | None:
    """The size that a file declares; None where it declares none, or has zeros there as some tools write them."""
    try:
        size = int(float(height)), int(float(width))
    except (TypeError, ValueError, OverflowError):
        return None
    return size if min(size) > 0 else None


def file_state(path: Path) -> FileState:
    """Size and time of change of a file: what is remembered of it holds as long as both stay.

    Raises:
        LabelError: If there is no such file.
    """
    try:
        status = path.stat()
        return status.st_size, status.st_mtime_ns
    except OSError as error:
        raise LabelError(f"Cannot read the label file '{printable(path)}': {error}. Restore or remove it.") from error


def label_text(path: Path) -> str:
    """The text of a label file.

    Raises:
        LabelError: If it is no regular file, cannot be read or is no text.
    """
    try:
        if path.exists() and not path.is_file():
            raise LabelError(f"The label '{printable(path)}' is no regular file. Remove it.")
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise LabelError(f"Cannot read the label file '{printable(path)}': {error}. Restore or remove it.") from error


def told(value: Any) -> str:
    """A value in a message: printable, and cut where it is long."""
    text = printable(value)
    return text if len(text) <= TOLD else f"{text[:20]}... ({len(text)} characters)"


def ordered_box(box: tuple[float, float, float, float], where: str) -> tuple[float, float, float, float]:
    """A box whose corners are in order.

    Raises:
        LabelError: If it is not finite, or ends before it starts.
    """
    problem = "ends before it starts" if box[2] < box[0] or box[3] < box[1] else ""
    if not all(math.isfinite(value) for value in box):
        problem = "is not finite"
    if problem:
        raise LabelError(f"{where}: the box {box} {problem}. Correct or remove it.")
    return box
