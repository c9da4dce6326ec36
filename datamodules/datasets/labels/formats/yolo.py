"""YOLO txt: one file per picture, a line per object; and the class list that names its ids."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final

from ivif.datamodules.datasets.labels.class_names import checked_class_names
from ivif.datamodules.datasets.labels.formats.shared import (
    TOLD,
    FileState,
    LabeledBox,
    file_state,
    label_text,
    ordered_box,
    told,
)
from ivif.files.errors import LabelError
from ivif.files.names import printable

CLASS_LIST_FILES: Final = ("classes.txt", "obj.names")

_LARGEST_NORMALISED: Final = 1.5


def parse_yolo(path: Path, names: Sequence[str], size: tuple[int, int]) -> list[LabeledBox]:
    """Reads a YOLO txt file: `id centre_x centre_y width height` per line, as fractions; an empty file has no objects.

    Args:
        path: The file; a `classes.txt` in its folder replaces `names`.
        names: Class names in the order of the ids.
        size: (height, width) of the image.

    Raises:
        LabelError: If a line has not five numbers, is not normalised or has a negative extent; names file and line.
            An id beyond the names becomes the class name `id N`, which the caller treats as unknown.
    """
    names = _class_list(*class_list(path.parent)) or names
    boxes = []
    for number, line in enumerate(label_text(path).splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        where = f"'{printable(path)}', line {number}"
        index, center_x, center_y, width, height = _yolo_numbers(words, where)
        box = (center_x - width / 2, center_y - height / 2, center_x + width / 2, center_y + height / 2)
        left, top, right, bottom = ordered_box(box, where)
        name = names[index] if 0 <= index < len(names) else f"id {told(index)}"
        boxes.append(LabeledBox(name, (left * size[1], top * size[0], right * size[1], bottom * size[0])))
    return boxes


def class_list(folder: Path) -> tuple[Path | None, FileState | None]:
    """The class list that names the ids of the YOLO files in a folder, and its state; nothing where there is none."""
    for place in (folder, folder.parent):
        for file in CLASS_LIST_FILES:
            if (place / file).is_file():
                return place / file, file_state(place / file)
    return None, None


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


@lru_cache(maxsize=64)
def _class_list(path: Path | None, _state: FileState | None) -> tuple[str, ...]:
    """The names of a class list, in order; cached, as it serves many files (`_state` renews it).

    Raises:
        LabelError: If a line between two names is empty (nobody could say whether it counts as an id), or a name
            cannot be shown or comes twice.
    """
    names = [] if path is None else [line.strip() for line in label_text(path).rstrip().split("\n")]
    if "" in names:
        raise LabelError(f"'{printable(path)}', line {names.index('') + 1} is empty. Give it a name.")
    return checked_class_names(names, f"'{printable(path)}'")
