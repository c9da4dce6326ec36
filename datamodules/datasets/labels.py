"""Boxes from VOC xml, YOLO txt and COCO json, mapped to a dataset's classes by name.

Sources disagree on class ids, so an id never leaves this module: a YOLO id becomes a name through the order that its
source declares (`classes.txt` beside the labels wins), a COCO id through its categories, and only the name decides.
"""

import json
import math
import re
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Literal

import torch

from datamodules.datasets.batch import Targets, empty_targets
from datamodules.datasets.errors import LabelError

LABEL_SUFFIXES: Final = (".xml", ".txt", ".json")
CLASS_LIST_FILES: Final = ("classes.txt", "obj.names")

SYNONYMS: Final = (
    frozenset({"person", "people", "persons", "pedestrian", "pedestrians"}),
    frozenset({"bicycle", "bicycles", "bike", "cyclist"}),
    frozenset({"motorcycle", "motorcycles", "motorbike"}),
    frozenset({"car", "cars"}),
    frozenset({"bus", "buses"}),
    frozenset({"truck", "trucks"}),
    frozenset({"lamp", "lamps", "streetlamp", "trafficlight"}),
)
"""Names that mean one class; compared without case, blanks, hyphens and underscores."""

_LARGEST_NORMALISED: Final = 1.5


@dataclass(frozen=True)
class LabeledBox:
    """One object as its file tells it: class name and xyxy in pixels, neither clipped nor checked."""

    name: str
    box: tuple[float, float, float, float]


@lru_cache(maxsize=1024)
def class_index(name: str, classes: tuple[str, ...]) -> int | None:
    """The position in `classes` of the class called `name`, in any case or as a synonym; None if there is none."""
    wanted = _plain(name)
    plain = [_plain(entry) for entry in classes]
    if wanted in plain:
        return plain.index(wanted)
    group: frozenset[str] = next((synonyms for synonyms in SYNONYMS if wanted in synonyms), frozenset())
    return next((index for index, entry in enumerate(plain) if entry in group), None)


def parse_voc(path: Path) -> list[LabeledBox]:
    """Reads a VOC xml file; its corners are taken as they stand (neither M3FD nor LLVIP count from 1).

    Raises:
        LabelError: If the file is no xml, or an object lacks its name or a corner; names file and object.
    """
    try:
        root = ElementTree.fromstring(_text(path))
    except ElementTree.ParseError as error:
        where = f"'{path}', line {error.position[0]}"
        raise LabelError(f"{where}: not valid xml ({error}). Repair or remove the file.") from error
    boxes = []
    for number, element in enumerate(root.iter("object"), start=1):
        where = f"'{path}', object {number}"
        name = (element.findtext("name") or "").strip()
        corners = [element.findtext(f"bndbox/{corner}") for corner in ("xmin", "ymin", "xmax", "ymax")]
        try:
            left, top, right, bottom = (float(corner or "") for corner in corners)
        except ValueError:
            raise LabelError(f"{where}: bndbox needs xmin, ymin, xmax, ymax, not {corners}.") from None
        if not name:
            raise LabelError(f"{where}: it has no name.")
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
        An id
            beyond the names becomes the class name `id N`, which the caller treats as unknown.
    """
    names = _class_list(path.parent) or names
    boxes = []
    for number, line in enumerate(_text(path).splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        where = f"'{path}', line {number}"
        index, center_x, center_y, width, height = _yolo_numbers(words, where)
        box = (center_x - width / 2, center_y - height / 2, center_x + width / 2, center_y + height / 2)
        left, top, right, bottom = _ordered(box, where)
        name = names[index] if 0 <= index < len(names) else f"id {index}"
        boxes.append(LabeledBox(name, (left * size[1], top * size[0], right * size[1], bottom * size[0])))
    return boxes


def parse_coco(path: Path, stem: str) -> list[LabeledBox]:
    """The objects of one image in a COCO json file, found by the stem of its `file_name`; crowd regions are left out.

    Raises:
        LabelError: If the file is no COCO json.
    """
    return _coco_index(path, path.stat().st_mtime_ns).get(stem.casefold(), [])


def coco_stems(path: Path) -> frozenset[str]:
    """Stems (lower case) of the images that a COCO json file knows, with objects or without."""
    return frozenset(_coco_index(path, path.stat().st_mtime_ns))


class LabelReader:
    """Reads one pair's boxes from whatever format its label file has.

    Boxes are clipped to the image; those whose shorter side is then below `minimum_side` pixels are dropped.

    Args:
        classes: The dataset's classes; labels are positions in it.
        yolo_names: Order of the ids in this dataset's YOLO files (a `classes.txt` beside them wins).
        unknown: `error` stops at a class that `classes` lacks; `ignore` leaves the object out and counts it in
            `ignored`.
        minimum_side: In pixels of the image.
    """

    def __init__(
        self,
        classes: Sequence[str],
        yolo_names: Sequence[str],
        unknown: Literal["error", "ignore"] = "error",
        minimum_side: float = 1.0,
    ) -> None:
        if unknown not in ("error", "ignore"):
            raise ValueError(f"unknown_labels is '{unknown}'; known: error, ignore.")
        self.classes = tuple(classes)
        self.yolo_names = tuple(yolo_names)
        self.unknown = unknown
        self.minimum_side = minimum_side
        self.ignored: Counter[str] = Counter()

    def read(self, path: Path, stem: str, size: tuple[int, int]) -> Targets:
        """The objects of one image.

        Args:
            path: The label file (xml, txt or json).
            stem: The image's stem, for files that label many images.
            size: (height, width) of the image.

        Returns:
            Boxes (N, 4) xyxy in pixels within the image, labels (N,).

        Raises:
            LabelError: If the file is malformed, or holds an unknown class and `unknown` is `error`.
        """
        kept = []
        labels = []
        for entry in self._parse(path, stem, size):
            label = class_index(entry.name, self.classes)
            if label is None:
                self._refuse(path, entry.name)
                continue
            left, right = (min(max(value, 0.0), float(size[1])) for value in entry.box[::2])
            top, bottom = (min(max(value, 0.0), float(size[0])) for value in entry.box[1::2])
            if min(right - left, bottom - top) >= max(self.minimum_side, 1e-6):
                kept.append((left, top, right, bottom))
                labels.append(label)
        if not kept:
            return empty_targets()
        return {"boxes": torch.tensor(kept, dtype=torch.float32), "labels": torch.tensor(labels, dtype=torch.int64)}

    def _parse(self, path: Path, stem: str, size: tuple[int, int]) -> list[LabeledBox]:
        suffix = path.suffix.lower()
        if suffix == ".xml":
            return parse_voc(path)
        if suffix == ".txt":
            return parse_yolo(path, self.yolo_names, size)
        if suffix == ".json":
            return parse_coco(path, stem)
        raise LabelError(f"'{path}' is none of the known label formats ({' '.join(LABEL_SUFFIXES)}).")

    def _refuse(self, path: Path, name: str) -> None:
        if self.unknown == "error":
            raise LabelError(
                f"'{path}' holds an object of class '{name}', which is none of {', '.join(self.classes)}. Correct the "
                f"label, or set reading.unknown_labels to 'ignore' to leave such objects out."
            )
        self.ignored[name] += 1


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]", "", name).casefold()


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise LabelError(f"Cannot read the label file '{path}': {error}. Restore or remove it.") from error


def _ordered(box: tuple[float, float, float, float], where: str) -> tuple[float, float, float, float]:
    if not all(math.isfinite(value) for value in box) or box[2] < box[0] or box[3] < box[1]:
        raise LabelError(f"{where}: the box {box} ends before it starts. Correct or remove it.")
    return box


def _yolo_numbers(words: Sequence[str], where: str) -> tuple[int, float, float, float, float]:
    try:
        index, center_x, center_y, width, height = (float(word) for word in words)
    except ValueError:
        raise LabelError(
            f"{where}: expected five numbers (id centre_x centre_y width height), found '{' '.join(words)}'."
        ) from None
    if not index.is_integer():
        raise LabelError(f"{where}: '{words[0]}' is no class id.")
    if max(abs(center_x), abs(center_y), width, height) > _LARGEST_NORMALISED:
        raise LabelError(f"{where}: coordinates must be fractions of the image's size, found '{' '.join(words[1:])}'.")
    return int(index), center_x, center_y, width, height


@lru_cache(maxsize=64)
def _class_list(folder: Path) -> tuple[str, ...]:
    """Names from a class list beside YOLO files, or in the folder above; none: empty."""
    for place in (folder, folder.parent):
        for file in CLASS_LIST_FILES:
            if (place / file).is_file():
                return tuple(line.strip() for line in _text(place / file).splitlines() if line.strip())
    return ()


@lru_cache(maxsize=16)
def _coco_index(path: Path, _changed: int) -> dict[str, list[LabeledBox]]:
    """Objects by image stem; cached, as one file labels many images (`_changed` renews it)."""
    try:
        content: Any = json.loads(_text(path))
        names = {category["id"]: str(category["name"]) for category in content.get("categories", [])}
        stems = {image["id"]: Path(image["file_name"]).stem.casefold() for image in content["images"]}
        index: dict[str, list[LabeledBox]] = {stem: [] for stem in stems.values()}
        for annotation in content["annotations"]:
            if annotation.get("iscrowd"):
                continue
            left, top, width, height = (float(value) for value in annotation["bbox"])
            box = _ordered((left, top, left + width, top + height), f"'{path}', annotation {annotation.get('id')}")
            name = names.get(annotation["category_id"], f"id {annotation['category_id']}")
            index[stems[annotation["image_id"]]].append(LabeledBox(name, box))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise LabelError(
            f"'{path}' is no COCO json ({type(error).__name__}: {error}); it needs images, annotations, categories."
        ) from error
    return index
