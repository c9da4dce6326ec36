"""YOLO txt: one file per picture, a line per object."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from ivif.datamodules.datasets.labels.formats.shared import (
    TOLD,
    LabeledBox,
    LabeledPicture,
    label_text,
    ordered_box,
    told,
)
from ivif.files.errors import LabelError
from ivif.files.names import printable

_LARGEST_NORMALISED: Final = 1.5


def parse_yolo(path: Path, names: Sequence[str], size: tuple[int, int]) -> LabeledPicture:
    """Reads a YOLO txt file: `id centre_x centre_y width height` per line, as fractions; an empty file has no objects.

    Args:
        path: The file.
        names: Class names in the order of the ids; an empty one stands for an id without a name.
        size: (height, width) of the image.

    Raises:
        LabelError: If a line has not five numbers, is not normalised or has a negative extent; names file and line.
            An id beyond the names becomes the class name `id N`, which the caller treats as unknown.
    """
    boxes = []
    for number, line in enumerate(label_text(path).splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        where = f"'{printable(path)}', line {number}"
        index, center_x, center_y, width, height = _yolo_numbers(words, where)
        box = (center_x - width / 2, center_y - height / 2, center_x + width / 2, center_y + height / 2)
        left, top, right, bottom = ordered_box(box, where)
        name = (names[index] if 0 <= index < len(names) else "") or f"id {told(index)}"
        boxes.append(LabeledBox(name, (left * size[1], top * size[0], right * size[1], bottom * size[0])))
    return LabeledPicture(tuple(boxes))


def _yolo_numbers(words: Sequence[str], where: str) -> tuple[int, float, float, float, float]:
    line = printable(" ".join(words))[:TOLD]
    try:
        index, center_x, center_y, width, height = (float(word) for word in words)
    except ValueError:
        raise LabelError(
            f"{where}: expected five numbers (id centre_x centre_y width height), found '{line}'. Correct the line."
        ) from None
    if not index.is_integer():
        raise LabelError(f"{where}: '{told(words[0])}' is no class id. Correct the line.")
    if max(abs(center_x), abs(center_y), width, height) > _LARGEST_NORMALISED:
        raise LabelError(
            f"{where}: coordinates must be fractions of the image's size, found '{line}'. Divide them by width and "
            f"height."
        )
    return int(index), center_x, center_y, width, height
