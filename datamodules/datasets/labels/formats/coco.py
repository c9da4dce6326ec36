"""COCO json: one file for many pictures, boxes as left, top, width, height in pixels."""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path, PureWindowsPath
from typing import Any

from ivif.datamodules.datasets.labels.class_names import checked_class_name
from ivif.datamodules.datasets.labels.formats.shared import (
    TOLD,
    FileState,
    LabeledBox,
    LabeledPicture,
    declared_size,
    file_state,
    label_text,
    ordered_box,
    told,
)
from ivif.files.errors import LabelError
from ivif.files.names import printable


def parse_coco(path: Path, stem: str) -> LabeledPicture:
    """The objects of one image in a COCO json file, found by the stem of its `file_name`; a crowd is ignored.

    Raises:
        LabelError: If the file is no COCO json.
    """
    return _coco_index(path, file_state(path)).get(stem.casefold(), LabeledPicture())


def coco_stems(path: Path) -> frozenset[str]:
    """Stems (lower case) of the images that a COCO json file knows, with objects or without."""
    return frozenset(_coco_index(path, file_state(path)))


def _number(value: Any, where: str) -> float:
    """A number of a JSON file; `float` would take true and false too, and has no room for the largest integers."""
    if isinstance(value, bool):
        raise LabelError(f"{where}: the box holds '{value}', which is no number. Correct or remove it.")
    try:
        return float(value)
    except OverflowError:
        raise LabelError(f"{where}: the box holds {told(value)}, which is not finite. Correct or remove it.") from None


@lru_cache(maxsize=1024)  # one for each video, say, whose pictures alternate
def _coco_index(path: Path, _state: FileState) -> dict[str, LabeledPicture]:
    """Pictures by image stem; cached, as one file labels many images (`_state` renews it)."""
    try:
        content: Any = json.loads(label_text(path))
        categories = content.get("categories", [])
        names = {entry["id"]: checked_class_name(str(entry["name"]), f"'{printable(path)}'") for entry in categories}
        if len(names) != len(categories):
            raise ValueError("two of its categories have one id")
        stems = _image_stems(content["images"], path)
        boxes: dict[str, list[LabeledBox]] = {stem: [] for stem in stems.values()}
        for annotation in content["annotations"]:
            where = f"'{printable(path)}', annotation {annotation.get('id')}"
            stem, found = _coco_object(annotation, names, stems, where)
            boxes[stem].append(found)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        problem = printable(f"{type(error).__name__}: {error}")[:TOLD]
        raise LabelError(
            f"'{printable(path)}' is no COCO json ({problem}); it needs images, annotations, categories. "
            f"Export it again, or set `layout.label_format` to another format."
        ) from error
    listed = tuple(names.values())
    sizes = [declared_size(image.get("height"), image.get("width")) for image in content["images"]]
    return {
        stem: LabeledPicture(tuple(boxes[stem]), size, classes=listed)
        for stem, size in zip(stems.values(), sizes, strict=True)
    }


def _image_stems(images: Sequence[Mapping[str, Any]], path: Path) -> dict[Any, str]:
    """Id -> stem in lower case, whichever system's folders stand before it."""
    stems: dict[Any, str] = {}
    files: dict[str, str] = {}
    for image in images:
        stem = PureWindowsPath(image["file_name"]).stem.casefold()
        if image["id"] in stems:
            raise ValueError(f"two of its images have the id {told(image['id'])}")
        if stem in files:
            raise LabelError(
                f"'{printable(path)}' labels '{told(files[stem])}' and '{told(image['file_name'])}', which are called "
                f"alike without folder and ending. Leave one of them out."
            )
        stems[image["id"]] = stem
        files[stem] = image["file_name"]
    return stems


def _coco_object(
    annotation: Mapping[str, Any], names: Mapping[Any, str], stems: Mapping[Any, str], where: str
) -> tuple[str, LabeledBox]:
    if annotation["image_id"] not in stems:
        raise LabelError(
            f"{where}: there is no image with the id {told(annotation['image_id'])}. Correct or remove it."
        )
    left, top, width, height = (_number(value, where) for value in annotation["bbox"])
    box = ordered_box((left, top, left + width, top + height), where)
    name = names.get(annotation["category_id"], f"id {told(annotation['category_id'])}")
    is_ignored = any(annotation.get(mark) for mark in ("iscrowd", "ignore", "difficult"))
    return stems[annotation["image_id"]], LabeledBox(name, box, ignored=is_ignored)
