"""VOC xml: one file per picture, corners in pixels; and what DroneVehicle, HIT-UAV and KAIST make of it."""

import math
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from ivif.datamodules.datasets.labels.class_names import checked_class_name
from ivif.datamodules.datasets.labels.formats.shared import (
    Box,
    LabeledBox,
    LabeledPicture,
    declared_size,
    enclosing_box,
    label_text,
    ordered_box,
    told,
)
from ivif.files.errors import LabelError
from ivif.files.names import printable


def parse_voc(path: Path) -> LabeledPicture:
    """Reads a VOC xml file; its corners are taken as they stand (neither M3FD nor LLVIP count from 1).

    A polygon or a turned box becomes the box around it, and a `difficult` object is ignored.

    Raises:
        LabelError: If the file is no xml, or an object lacks its name or a corner; names file and object.
    """
    text = label_text(path)
    if "<!ENTITY" in text:  # ten lines of them can stand for gigabytes
        raise LabelError(f"'{printable(path)}' defines entities, which no VOC file needs. Remove its <!DOCTYPE ...>.")
    try:
        root = ElementTree.fromstring(text)  # noqa: S314 - entities, its one danger, are refused above
    except ElementTree.ParseError as error:
        where = f"'{printable(path)}', line {error.position[0]}"
        raise LabelError(f"{where}: not valid xml ({error}). Repair or remove the file.") from error
    objects = enumerate(root.iter("object"), start=1)
    boxes = tuple(_object(element, f"'{printable(path)}', object {number}") for number, element in objects)
    size = declared_size(root.findtext("size/height"), root.findtext("size/width"))
    depth = (root.findtext("size/depth") or "").strip()
    file_name = (root.findtext("filename") or "").strip()
    return LabeledPicture(boxes, size, file_name, int(depth) if depth in ("1", "3") else 0)


def _object(element: ElementTree.Element, where: str) -> LabeledBox:
    name = (element.findtext("name") or "").strip()
    upright, polygon, turned = (element.find(tag) for tag in ("bndbox", "polygon", "robndbox"))
    if upright is None and polygon is not None:
        box = _around_polygon(polygon, where)
    elif upright is None and turned is not None:
        box = _around_turned(turned, where)
    else:
        box = _upright(element, where)
    if not name:
        raise LabelError(f"{where}: it has no name. Name its class, or remove the object.")
    checked_class_name(name, where)
    is_hard = (element.findtext("difficult") or "").strip().casefold() in ("1", "true")
    return LabeledBox(name, box, ignored=is_hard, enclosing=upright is None)


def _upright(element: ElementTree.Element, where: str) -> Box:
    """The corners of `bndbox`; KAIST's has a corner and the size instead."""
    corners = [element.findtext(f"bndbox/{corner}") for corner in ("xmin", "ymin", "xmax", "ymax")]
    sizes = [element.findtext(f"bndbox/{value}") for value in ("x", "y", "w", "h")]
    try:
        if corners == [None] * 4 and None not in sizes:
            left, top, width, height = (float(value or "") for value in sizes)
            return ordered_box((left, top, left + width, top + height), where)
        left, top, right, bottom = (float(corner or "") for corner in corners)
    except ValueError:
        raise LabelError(
            f"{where}: bndbox needs xmin, ymin, xmax, ymax, not {told(corners)}. Correct or remove the object."
        ) from None
    return ordered_box((left, top, right, bottom), where)


def _around_polygon(polygon: ElementTree.Element, where: str) -> Box:
    """The box around DroneVehicle's `x1`, `y1`, ... `x4`, `y4`, or any other number of corners."""
    across, down = ([child.text for child in polygon if child.tag.startswith(axis)] for axis in "xy")
    try:
        points = [(float(x or ""), float(y or "")) for x, y in zip(across, down, strict=True)]
    except ValueError:
        points = []
    if len(points) < 3:
        raise LabelError(
            f"{where}: polygon needs x1, y1, x2, y2, x3, y3, ..., not {told(across + down)}. Correct or remove the "
            f"object."
        )
    return enclosing_box(points, where)


def _around_turned(turned: ElementTree.Element, where: str) -> Box:
    """The box around HIT-UAV's (roLabelImg's) centre, size and angle in radians."""
    texts = [turned.findtext(value) for value in ("cx", "cy", "w", "h", "angle")]
    try:
        center_x, center_y, width, height, angle = (float(text or "") for text in texts)
    except ValueError:
        raise LabelError(
            f"{where}: robndbox needs cx, cy, w, h, angle, not {told(texts)}. Correct or remove the object."
        ) from None
    if not math.isfinite(angle):
        raise LabelError(f"{where}: the angle is not finite. Correct or remove the object.")
    cosine, sine = abs(math.cos(angle)), abs(math.sin(angle))
    across, down = (width * cosine + height * sine) / 2, (width * sine + height * cosine) / 2
    return ordered_box((center_x - across, center_y - down, center_x + across, center_y + down), where)
