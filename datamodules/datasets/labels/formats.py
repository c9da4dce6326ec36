"""VOC xml, YOLO txt and COCO json as class names and boxes.

Sources disagree on class ids, so an id never leaves this module: a YOLO id becomes a name through the order that its
source declares (`classes.txt` beside the labels wins), a COCO id through its categories, and only the name decides.
"""

import json
import math
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from ivif.datamodules.datasets.labels.class_names import checked_class_name, checked_class_names
from ivif.files.errors import LabelError
from ivif.files.names import printable

LABEL_FORMATS: Final = {"voc": ".xml", "yolo": ".txt", "coco": ".json"}
"""Formats and the endings of their files, the best format first."""

CLASS_LIST_FILES: Final = ("classes.txt", "obj.names")

FileState = tuple[int, int]
"""Size in bytes and time of change in nanoseconds."""

_LARGEST_NORMALISED: Final = 1.5
_TOLD: Final = 200
"""Most characters of a value in a message."""


@dataclass(frozen=True)
class LabeledBox:
    """One object as its file tells it: class name and xyxy in pixels, neither clipped nor checked."""

    name: str
    box: tuple[float, float, float, float]


def parse_voc(path: Path) -> list[LabeledBox]:
    """Reads a VOC xml file; its corners are taken as they stand (neither M3FD nor LLVIP count from 1).

    Raises:
        LabelError: If the file is no xml, or an object lacks its name or a corner; names file and object.
    """
    text = _text(path)
    if "<!ENTITY" in text:  # ten lines of them can stand for gigabytes
        raise LabelError(f"'{printable(path)}' defines entities, which no VOC file needs. Remove its <!DOCTYPE ...>.")
    try:
        root = ElementTree.fromstring(text)  # noqa: S314 - entities, its one danger, are refused above
    except ElementTree.ParseError as error:
        where = f"'{printable(path)}', line {error.position[0]}"
        raise LabelError(f"{where}: not valid xml ({error}). Repair or remove the file.") from error
    boxes = []
    for number, element in enumerate(root.iter("object"), start=1):
        where = f"'{printable(path)}', object {number}"
        name = (element.findtext("name") or "").strip()
        corners = [element.findtext(f"bndbox/{corner}") for corner in ("xmin", "ymin", "xmax", "ymax")]
        try:
            left, top, right, bottom = (float(corner or "") for corner in corners)
        except ValueError:
            raise LabelError(
                f"{where}: bndbox needs xmin, ymin, xmax, ymax, not {_told(corners)}. Correct or remove the object."
            ) from None
        if not name:
            raise LabelError(f"{where}: it has no name. Name its class, or remove the object.")
        checked_class_name(name, where)
        boxes.append(LabeledBox(name, _ordered((left, top, right, bottom), where)))
    return boxes


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
    for number, line in enumerate(_text(path).splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        where = f"'{printable(path)}', line {number}"
        index, center_x, center_y, width, height = _yolo_numbers(words, where)
        box = (center_x - width / 2, center_y - height / 2, center_x + width / 2, center_y + height / 2)
        left, top, right, bottom = _ordered(box, where)
        name = names[index] if 0 <= index < len(names) else f"id {_told(index)}"
        boxes.append(LabeledBox(name, (left * size[1], top * size[0], right * size[1], bottom * size[0])))
    return boxes


def parse_coco(path: Path, stem: str) -> list[LabeledBox]:
    """The objects of one image in a COCO json file, found by the stem of its `file_name`; crowd regions are left out.

    Raises:
        LabelError: If the file is no COCO json.
    """
    return _coco_index(path, file_state(path)).get(stem.casefold(), [])


def coco_stems(path: Path) -> frozenset[str]:
    """Stems (lower case) of the images that a COCO json file knows, with objects or without."""
    return frozenset(_coco_index(path, file_state(path)))


def class_list(folder: Path) -> tuple[Path | None, FileState | None]:
    """The class list that names the ids of the YOLO files in a folder, and its state; nothing where there is none."""
    for place in (folder, folder.parent):
        for file in CLASS_LIST_FILES:
            if (place / file).is_file():
                return place / file, file_state(place / file)
    return None, None


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


def _text(path: Path) -> str:
    try:
        if path.exists() and not path.is_file():
            raise LabelError(f"The label '{printable(path)}' is no regular file. Remove it.")
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise LabelError(f"Cannot read the label file '{printable(path)}': {error}. Restore or remove it.") from error


def _number(value: Any, where: str) -> float:
    """A number of a JSON file; `float` would take true and false too, and has no room for the largest integers."""
    if isinstance(value, bool):
        raise LabelError(f"{where}: the box holds '{value}', which is no number. Correct or remove it.")
    try:
        return float(value)
    except OverflowError:
        raise LabelError(f"{where}: the box holds {_told(value)}, which is not finite. Correct or remove it.") from None


def _told(value: Any) -> str:
    text = printable(value)
    return text if len(text) <= _TOLD else f"{text[:20]}... ({len(text)} characters)"


def _ordered(box: tuple[float, float, float, float], where: str) -> tuple[float, float, float, float]:
    problem = "ends before it starts" if box[2] < box[0] or box[3] < box[1] else ""
    if not all(math.isfinite(value) for value in box):
        problem = "is not finite"
    if problem:
        raise LabelError(f"{where}: the box {box} {problem}. Correct or remove it.")
    return box


def _yolo_numbers(words: Sequence[str], where: str) -> tuple[int, float, float, float, float]:
    line = printable(" ".join(words))[:_TOLD]
    try:
        index, center_x, center_y, width, height = (float(word) for word in words)
    except ValueError:
        raise LabelError(
            f"{where}: expected five numbers (id centre_x centre_y width height), found '{line}'. Correct the line."
        ) from None
    if not index.is_integer():
        raise LabelError(f"{where}: '{_told(words[0])}' is no class id. Correct the line.")
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
    names = [] if path is None else [line.strip() for line in _text(path).rstrip().split("\n")]
    if "" in names:
        raise LabelError(f"'{printable(path)}', line {names.index('') + 1} is empty. Give it a name.")
    return checked_class_names(names, f"'{printable(path)}'")


@lru_cache(maxsize=16)
def _coco_index(path: Path, _state: FileState) -> dict[str, list[LabeledBox]]:
    """Objects by image stem; cached, as one file labels many images (`_state` renews it)."""
    try:
        content: Any = json.loads(_text(path))
        categories = content.get("categories", [])
        names = {entry["id"]: checked_class_name(str(entry["name"]), f"'{printable(path)}'") for entry in categories}
        if len(names) != len(categories):
            raise ValueError("two of its categories have one id")
        stems = {image["id"]: Path(image["file_name"]).stem.casefold() for image in content["images"]}
        if len(stems) != len(content["images"]) or len(set(stems.values())) != len(stems):
            raise ValueError("two of its images have one id, or one name without folder and ending")
        index: dict[str, list[LabeledBox]] = {stem: [] for stem in stems.values()}
        for annotation in content["annotations"]:
            if not annotation.get("iscrowd"):
                stem, found = _coco_object(
                    annotation, names, stems, f"'{printable(path)}', annotation {annotation.get('id')}"
                )
                index[stem].append(found)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        told = printable(f"{type(error).__name__}: {error}")[:_TOLD]
        raise LabelError(
            f"'{printable(path)}' is no COCO json ({told}); it needs images, annotations, categories. "
            f"Export it again, or set `layout.label_format` to another format."
        ) from error
    return index


def _coco_object(
    annotation: Mapping[str, Any], names: Mapping[Any, str], stems: Mapping[Any, str], where: str
) -> tuple[str, LabeledBox]:
    if annotation["image_id"] not in stems:
        raise LabelError(
            f"{where}: there is no image with the id {_told(annotation['image_id'])}. Correct or remove it."
        )
    left, top, width, height = (_number(value, where) for value in annotation["bbox"])
    box = _ordered((left, top, left + width, top + height), where)
    name = names.get(annotation["category_id"], f"id {_told(annotation['category_id'])}")
    return stems[annotation["image_id"]], LabeledBox(name, box)
