"""YOLO txt: one file per picture, a line per object."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from ivif.datamodules.datasets.labels.formats.shared import (
    TOLD,
    Box,
    LabeledBox,
    LabeledPicture,
    enclosing_box,
    label_text,
    ordered_box,
    told,
)
from ivif.files.errors import LabelError
from ivif.files.names import printable

_LARGEST_NORMALISED: Final = 1.5


def parse_yolo(path: Path, names: Sequence[str], size: tuple[int, int]) -> LabeledPicture:
    """Reads a YOLO txt file: `id centre_x centre_y width height` per line, as fractions; an empty file has no objects.

    A line `id x1 y1 x2 y2 x3 y3 ...` is a polygon, which becomes the box around it.

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
        index, values = _numbers(words, where)
        left, top, right, bottom = _box(values, where)
        name = (names[index] if 0 <= index < len(names) else "") or f"id {told(index)}"
        box = (left * size[1], top * size[0], right * size[1], bottom * size[0])
        boxes.append(LabeledBox(name, box, enclosing=len(values) > 4))
    return LabeledPicture(tuple(boxes))


def _numbers(words: Sequence[str], where: str) -> tuple[int, list[float]]:
    """The id of a line, and its four numbers or the corners of its polygon."""
    line = printable(" ".join(words))[:TOLD]
    try:
        index, *values = (float(word) for word in words)
    except ValueError:
        values = []
    if len(values) != 4 and (len(values) < 6 or len(values) % 2):
        raise LabelError(
            f"{where}: expected five numbers (id centre_x centre_y width height), or an id and the corners of a "
            f"polygon, found '{line}'. {_remedy(words)}"
        )
    if not index.is_integer():
        raise LabelError(f"{where}: '{told(words[0])}' is no class id. Correct the line.")
    sizes = values[2:] if len(values) == 4 else []  # a negative one has a message of its own
    if max(*map(abs, values[: len(values) - len(sizes)]), *sizes) > _LARGEST_NORMALISED:
        raise LabelError(
            f"{where}: coordinates must be fractions of the image's size, found '{line}'. Divide them by width and "
            f"height."
        )
    return int(index), values


def _remedy(words: Sequence[str]) -> str:
    """What to do with a line of another format, where it is known."""
    if words[:2] == ["%", "bbGt"]:
        return "This is KAIST's text: give the folder of its xml files instead."
    if len(words) == 6:
        return "A sixth number is a detection's score: give the labels, not what a detector found."
    if len(words) in (9, 10) and not words[8].replace(".", "").isdigit():
        return "This is DOTA's text, in pixels and with names: export YOLO, VOC or COCO."
    return "Correct the line."


def _box(values: Sequence[float], where: str) -> Box:
    """xyxy, as fractions."""
    if len(values) > 4:
        return enclosing_box(list(zip(values[0::2], values[1::2], strict=True)), where)
    center_x, center_y, width, height = values
    box = (center_x - width / 2, center_y - height / 2, center_x + width / 2, center_y + height / 2)
    return ordered_box(box, where)
