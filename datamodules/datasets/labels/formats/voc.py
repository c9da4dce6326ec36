"""VOC xml: one file per picture, corners in pixels."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

from ivif.datamodules.datasets.labels.class_names import checked_class_name
from ivif.datamodules.datasets.labels.formats.shared import (
    LabeledBox,
    LabeledPicture,
    declared_size,
    label_text,
    ordered_box,
    told,
)
from ivif.files.errors import LabelError
from ivif.files.names import printable


def parse_voc(path: Path) -> LabeledPicture:
    """Reads a VOC xml file; its corners are taken as they stand (neither M3FD nor LLVIP count from 1).

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
    corners = [element.findtext(f"bndbox/{corner}") for corner in ("xmin", "ymin", "xmax", "ymax")]
    try:
        left, top, right, bottom = (float(corner or "") for corner in corners)
    except ValueError:
        raise LabelError(
            f"{where}: bndbox needs xmin, ymin, xmax, ymax, not {told(corners)}. Correct or remove the object."
        ) from None
    if not name:
        raise LabelError(f"{where}: it has no name. Name its class, or remove the object.")
    checked_class_name(name, where)
    return LabeledBox(name, ordered_box((left, top, right, bottom), where))
