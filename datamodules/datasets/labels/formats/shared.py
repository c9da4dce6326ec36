"""What every format shares: the box that a file tells of, the file's text, and how a fault in it is told."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ivif.files.errors import LabelError
from ivif.files.names import printable
from ivif.files.text_files import EncodingError, read_text

FileState = tuple[int, int]
"""Size in bytes and time of change in nanoseconds."""

TOLD: Final = 200
"""Most characters of a value in a message."""


Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class LabeledBox:
    """One object as its file tells it.

    Args:
        name: Its class.
        box: xyxy in pixels, neither clipped nor checked against the image.
        ignored: Whether it is a region where finding something is neither right nor wrong (a crowd, hard to see).
        enclosing: Whether the file has another shape, a polygon or a turned box, which this box encloses.
    """

    name: str
    box: Box
    ignored: bool = False
    enclosing: bool = False


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
        return read_text(path)
    except EncodingError as error:
        raise LabelError(f"Cannot read the label file '{printable(path)}': {error}") from error
    except OSError as error:
        raise LabelError(f"Cannot read the label file '{printable(path)}': {error}. Restore or remove it.") from error


def told(value: Any) -> str:
    """A value in a message: printable, and cut where it is long."""
    text = printable(value)
    return text if len(text) <= TOLD else f"{text[:20]}... ({len(text)} characters)"


def ordered_box(box: Box, where: str) -> Box:
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


def enclosing_box(points: Sequence[tuple[float, float]], where: str) -> Box:
    """The box around points (x, y).

    Raises:
        LabelError: If one is not finite.
    """
    across, down = [x for x, _ in points], [y for _, y in points]
    if not all(math.isfinite(value) for value in (*across, *down)):  # min and max may pass over what is no number
        raise LabelError(f"{where}: a corner is not finite. Correct or remove it.")
    return min(across), min(down), max(across), max(down)
