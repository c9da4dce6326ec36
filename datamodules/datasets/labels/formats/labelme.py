"""LabelMe json: one file per picture, a shape per object, in pixels."""

import json
import math
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from ivif.datamodules.datasets.labels.class_names import checked_class_name
from ivif.datamodules.datasets.labels.formats.shared import (
    TOLD,
    Box,
    FileState,
    LabeledBox,
    LabeledPicture,
    declared_size,
    enclosing_box,
    file_state,
    label_text,
    told,
)
from ivif.files.errors import LabelError
from ivif.files.names import printable

_CORNERS: Final = ("rectangle", "polygon", "mask")
"""Shapes whose points are corners."""


def is_labelme(path: Path) -> bool:
    """Whether a json file is LabelMe's."""
    return _is_labelme(path, file_state(path))


@lru_cache(maxsize=16)
def _is_labelme(path: Path, _state: FileState) -> bool:
    text = label_text(path)
    return '"shapes"' in text and '"imagePath"' in text


def parse_labelme(path: Path) -> LabeledPicture:
    """The shapes of a LabelMe file, each as the box around it.

    Raises:
        LabelError: If the file is no LabelMe json, or a shape encloses nothing; names file and shape.
    """
    try:
        content = json.loads(label_text(path))
        shapes = enumerate(content["shapes"], start=1)
        boxes = tuple(_shape(shape, f"'{printable(path)}', shape {number}") for number, shape in shapes)
        size = declared_size(content.get("imageHeight"), content.get("imageWidth"))
        return LabeledPicture(boxes, size, str(content.get("imagePath") or ""))
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        problem = printable(f"{type(error).__name__}: {error}")[:TOLD]
        raise LabelError(
            f"'{printable(path)}' is no LabelMe json ({problem}); each of its shapes needs label, points and "
            f"shape_type. Save it again with LabelMe."
        ) from error


def _shape(shape: Any, where: str) -> LabeledBox:
    kind = shape.get("shape_type") or "polygon"
    points = [(float(x), float(y)) for x, y in shape["points"]]
    box = _around(kind, points, where)
    return LabeledBox(checked_class_name(str(shape["label"]), where), box, enclosing=kind != "rectangle")


def _around(kind: str, points: list[tuple[float, float]], where: str) -> Box:
    if kind == "circle" and len(points) == 2:
        (center_x, center_y), (x, y) = points
        radius = math.hypot(x - center_x, y - center_y)
        points = [(center_x - radius, center_y - radius), (center_x + radius, center_y + radius)]
    elif kind not in _CORNERS or len(points) < 2:
        raise LabelError(
            f"{where}: a '{told(kind)}' of {len(points)} point(s) encloses nothing. Draw a rectangle or a polygon, or "
            f"remove it."
        )
    return enclosing_box(points, where)
