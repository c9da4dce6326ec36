"""Label files of every format: read exactly, left out with a word, or refused by file, place and remedy."""

import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from ivif.contracts.batch import Targets
from ivif.datamodules.datasets.folder import FolderDataset
from ivif.datamodules.datasets.labels import LabelReader
from ivif.files.errors import LabelError
from tests.fakes import write_folder
from tests.refusals import refusal

CLASSES: Final = ("person", "bicycle", "car")
SIZE: Final = (100, 200)
CAR: Final = [20.0, 10.0, 60.0, 50.0]
LINE: Final = "2 0.2 0.3 0.2 0.4"
OBJECT: Final = (
    "<object><name>car</name><bndbox><xmin>20</xmin><ymin>10</ymin><xmax>60</xmax><ymax>50</ymax></bndbox></object>"
)


def voc(inner: str = OBJECT) -> str:
    return f"<annotation>{inner}</annotation>"


def corners(left: str, top: str, right: str, bottom: str, name: str = "car") -> str:
    values = {"xmin": left, "ymin": top, "xmax": right, "ymax": bottom}
    box = "".join(f"<{key}>{value}</{key}>" for key, value in values.items())
    return voc(f"<object><name>{name}</name><bndbox>{box}</bndbox></object>")


def polygon(*values: float) -> str:
    """An object of DroneVehicle: x1, y1, x2, y2, ..."""
    tags = [f"{axis}{corner}" for corner in range(1, 9) for axis in "xy"]
    inner = "".join(f"<{tag}>{value}</{tag}>" for tag, value in zip(tags, values, strict=False))
    return voc(f"<object><name>car</name><polygon>{inner}</polygon></object>")


def turned(*values: float) -> str:
    """An object of HIT-UAV: centre, size and angle."""
    inner = "".join(
        f"<{tag}>{value}</{tag}>" for tag, value in zip(("cx", "cy", "w", "h", "angle"), values, strict=True)
    )
    return voc(f"<object><name>car</name><type>robndbox</type><robndbox>{inner}</robndbox></object>")


def labelme(kind: str, points: Any, name: str = "car") -> str:
    shape = {"label": name, "points": points, "group_id": None, "shape_type": kind, "flags": {}}
    return json.dumps({"version": "5.4.1", "flags": {}, "shapes": [shape], "imagePath": "a.png", "imageData": None})


def coco(**changes: Any) -> str:
    annotation = {"id": 5, "image_id": 1, "category_id": 9, "bbox": [20, 10, 40, 40]} | changes.pop("annotation", {})
    content: dict[str, Any] = {
        "images": [{"id": 1, "file_name": "vi/a.png"}],
        "categories": [{"id": 9, "name": "car"}],
        "annotations": [annotation],
    }
    return json.dumps(content | changes)


def bomb() -> str:
    levels = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 9))
    return f'<!DOCTYPE a [<!ENTITY l0 "boom">{levels}]>{corners("&l8;", "1", "2", "3")}'


READ: Final[dict[str, tuple[str | bytes, list[list[float]]]]] = {
    "plain.txt": (LINE, [CAR]),
    "nothing.txt": ("", []),
    "blank lines.txt": ("\n  \n\t\n", []),
    "byte order mark.txt": (f"\ufeff{LINE}", [CAR]),
    "windows line ends.txt": (f"{LINE}\r\n{LINE}\r\n", [CAR, CAR]),
    "tabs and spaces.txt": ("\t2\t0.2   0.3\t0.2 0.4  ", [CAR]),
    "the same line twice.txt": (f"{LINE}\n{LINE}", [CAR, CAR]),
    "exponents.txt": ("2 2e-1 3E-1 .2 0.4", [CAR]),
    "partly outside.txt": ("2 0.0 0.3 0.2 0.4", [[0, 10, 20, 50]]),
    "larger than the image.txt": ("2 0.5 0.5 1.2 1.2", [[0, 0, 200, 100]]),
    "utf-16.txt": (LINE.encode("utf-16"), [CAR]),
    "utf-32.txt": (LINE.encode("utf-32"), [CAR]),
    "plain.xml": (voc(), [CAR]),
    "utf-16.xml": (voc().encode("utf-16"), [CAR]),
    "utf-16 and declared.xml": (f'<?xml version="1.0" encoding="utf-16"?>{voc()}'.encode("utf-16"), [CAR]),
    "declared utf-16, stored as utf-8.xml": (f'<?xml version="1.0" encoding="utf-16"?>{voc()}', [CAR]),
    "gbk as declared.xml": (
        f'<?xml version="1.0" encoding="GB2312"?>{voc(f"<folder>图像</folder>{OBJECT}")}'.encode("gbk"),
        [CAR],
    ),
    "latin-1 as declared.xml": (
        f'<?xml version="1.0" encoding="iso-8859-1"?>{voc(f"<folder>été</folder>{OBJECT}")}'.encode("latin-1"),
        [CAR],
    ),
    "corner and size of kaist.xml": (
        voc("<object><name>car</name><bndbox><x>20</x><y>10</y><w>40</w><h>40</h></bndbox></object>"),
        [CAR],
    ),
    "no object.xml": (voc(""), []),
    "byte order mark.xml": (f"\ufeff{voc()}", [CAR]),
    "windows line ends.xml": (voc(OBJECT.replace("><", ">\r\n<")), [CAR]),
    "another declared encoding.xml": (f'<?xml version="1.0" encoding="gb2312"?>{voc()}', [CAR]),
    "blanks around values.xml": (corners(" 20 ", "\n10", "60.0", "5e1", " Car "), [CAR]),
    "parts with boxes of their own.xml": (
        voc(OBJECT.replace("</object>", "<part><name>wheel</name><bndbox><xmin>x</xmin></bndbox></part></object>")),
        [CAR],
    ),
    "partly outside.xml": (corners("-5", "10", "60", "1e308"), [[0, 10, 60, 100]]),
    "the same object twice.xml": (voc(OBJECT * 2), [CAR, CAR]),
    "a thousand levels.xml": (voc("<x>" * 1000 + "</x>" * 1000 + OBJECT), [CAR]),
    "plain.json": (coco(), [CAR]),
    "byte order mark.json": (f"\ufeff{coco()}", [CAR]),
    "a rectangle.json": (labelme("rectangle", [[60, 50], [20, 10]]), [CAR]),
    "utf-16.json": (coco().encode("utf-16"), [CAR]),
    "another image's.json": (coco(images=[{"id": 1, "file_name": "b.png"}]), []),
}
"""File name -> content, and the boxes of its cars."""


@pytest.mark.parametrize("name", READ)
def test_labels_are_read_exactly(name: str, place: Path, caplog: pytest.LogCaptureFixture) -> None:
    content, boxes = READ[name]
    targets = _read(place, name, content)
    assert targets["boxes"].tolist() == [pytest.approx(box, abs=1e-4) for box in boxes]
    assert targets["labels"].tolist() == [2] * len(boxes)
    assert not caplog.records


def _read(place: Path, name: str, content: str | bytes, reader: LabelReader | None = None) -> Targets:
    path = place / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return (reader or LabelReader(CLASSES, CLASSES)).read(path, "a", SIZE)


LEFT_OUT: Final = {
    "no area.txt": "2 0.5 0.5 0 0",
    "no width.txt": "2 0.5 0.5 0 0.3",
    "half a pixel.txt": "2 0.5 0.5 0.0025 0.5",
    "left of the image.txt": "2 -0.4 0.5 0.2 0.2",
    "below the image.txt": "2 0.5 1.4 0.2 0.2",
    "no area.xml": corners("20", "10", "20", "10"),
    "right of the image.xml": corners("250", "10", "300", "50"),
    "far away.xml": corners("1e300", "1e300", "1e308", "1e308"),
    "no area.json": coco(annotation={"bbox": [20, 10, 0, 0]}),
    "above the image.json": coco(annotation={"bbox": [20, -50, 10, 10]}),
}


@pytest.mark.parametrize("name", LEFT_OUT)
def test_boxes_outside_the_image_are_left_out_with_a_word(
    name: str, place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    reader = LabelReader(CLASSES, CLASSES)
    assert _read(place, name, LEFT_OUT[name], reader)["boxes"].shape == (0, 4)
    assert reader.tally.dropped == 1
    (record,) = caplog.records
    assert name in record.getMessage()
    assert "reading.minimum_box_side" in record.getMessage()
    assert record.levelno == logging.WARNING


REFUSED: Final[dict[str, tuple[str | bytes, tuple[str, ...]]]] = {
    "negative width.txt": (f"{LINE}\n2 0.5 0.5 -0.1 0.1", ("line 2", "ends before it starts", "Correct")),
    "pixels instead of fractions.txt": (f"{LINE}\n2 40 30 40 40", ("line 2", "fractions", "40 30", "Divide")),
    "just above.txt": ("2 1.6 0.5 0.1 0.1", ("line 1", "1.6")),
    "far below.txt": ("2 -7 0.5 0.1 0.1", ("line 1", "-7")),
    "no number.txt": ("2 nan 0.5 0.1 0.1", ("line 1", "not finite")),
    "no number as width.txt": ("2 0.5 0.5 nan 0.1", ("line 1", "not finite")),
    "infinite.txt": ("2 0.5 inf 0.1 0.1", ("line 1", "inf")),
    "minus infinite.txt": ("2 0.5 0.5 -inf 0.1", ("line 1",)),
    "gigantic.txt": ("2 0.5 0.5 1e308 0.1", ("line 1", "1e308")),
    "overflowing.txt": ("2 0.5 0.5 1e999 0.1", ("line 1", "1e999")),
    "negative id.txt": ("-1 0.5 0.5 0.1 0.1", ("id -1", "person, bicycle, car", "label_classes")),
    "unknown id.txt": ("3 0.5 0.5 0.1 0.1", ("id 3", "person, bicycle, car", "label_classes")),
    "gigantic id.txt": ("1e300 0.5 0.5 0.1 0.1", ("id 1", "person")),
    "fractional id.txt": ("0.5 0.5 0.5 0.1 0.1", ("line 1", "no class id", "Correct")),
    "id that is no number.txt": ("nan 0.5 0.5 0.1 0.1", ("line 1", "no class id")),
    "name instead of an id.txt": ("car 0.5 0.5 0.1 0.1", ("line 1", "five numbers", "car")),
    "decimal commas.txt": ("2 0,5 0,5 0,1 0,1", ("line 1", "five numbers", "0,5")),
    "comma-separated.txt": ("2,0.5,0.5,0.1,0.1", ("line 1", "five numbers")),
    "too few columns.txt": ("2 0.5 0.5 0.1", ("line 1", "five numbers")),
    "a column of confidences.txt": (f"{LINE}\n\n{LINE} 0.9", ("line 3", "five numbers", "0.9")),
    "half a polygon.txt": ("2 0.1 0.1 0.2 0.1 0.2", ("line 1", "polygon", "score")),
    "a corner too much.txt": ("2 0.1 0.1 0.2 0.1 0.2 0.2 0.1", ("line 1", "polygon", "Correct")),
    "pixels in a polygon.txt": ("2 10 0.1 0.2 0.1 0.2 0.2", ("line 1", "fractions", "Divide")),
    "no number in a polygon.txt": ("2 nan 0.1 0.2 0.1 0.2 0.2", ("line 1", "a corner is not finite")),
    "of kaist.txt": ("% bbGt version=3\nperson 470 225 40 87 0 0 0 0 0 0 0", ("line 1", "KAIST", "xml")),
    "of dota.txt": ("20 10 60 10 60 50 20 50 car 0", ("line 1", "DOTA", "export")),
    "a heading.txt": (f"id x y w h\n{LINE}", ("line 1", "five numbers")),
    "zeros.txt": (bytes(40), ("line 1", "five numbers")),
    "utf-16 without its mark.txt": (LINE.encode("utf-16-le"), ("may be UTF-16LE", "iconv")),
    "half a mark.txt": (LINE.encode("utf-16")[:-1], ("no text", "Restore")),
    "an image.txt": (b"\x89PNG\r\n\x1a\n\xff\xfe", ("no text", "Restore")),
    "nothing.xml": ("", ("line 1", "not valid xml", "Repair")),
    "cut.xml": (voc()[:-20], ("not valid xml", "Repair")),
    "text.xml": ("This is no xml.", ("not valid xml", "Repair")),
    "json.xml": (coco(), ("not valid xml", "Repair")),
    "zeros.xml": (bytes(40), ("not valid xml", "Repair")),
    "utf-16 without its mark.xml": (voc().encode("utf-16-be"), ("may be UTF-16BE", "iconv")),
    "gbk that declares nothing.xml": (corners("1", "1", "9", "9", "汽车").encode("gbk"), ("may be GBK", "iconv")),
    "gbk that declares utf-8.xml": (
        f'<?xml version="1.0" encoding="utf-8"?>{corners("1", "1", "9", "9", "汽车")}'.encode("gbk"),
        ("may be GBK", "iconv"),
    ),
    "an unknown encoding.xml": (b'<?xml version="1.0" encoding="rot-99"?><a>\xe9 </a>', ("may be WINDOWS-1252",)),
    "an encoding that runs code.xml": (b'<?xml version="1.0" encoding="zlib"?><a>\xe9 </a>', ("WINDOWS-1252",)),
    "two corners.xml": (polygon(1, 1, 9, 9), ("object 1", "polygon needs x1", "Correct")),
    "half a corner.xml": (polygon(1, 1, 9, 9, 5), ("object 1", "polygon needs x1")),
    "an infinite corner.xml": (polygon(1, 1, 9, 9, 5, float("inf")), ("object 1", "a corner is not finite")),
    "a turned box without its angle.xml": (
        voc("<object><name>car</name><robndbox><cx>1</cx></robndbox></object>"),
        ("object 1", "robndbox needs", "angle", "Correct"),
    ),
    "an infinite angle.xml": (turned(40, 30, 40, 40, float("inf")), ("object 1", "angle is not finite")),
    "crossed tags.xml": ("<a><object></a></object>", ("not valid xml", "Repair")),
    "entities that multiply.xml": (bomb(), ("entities", "Remove")),
    "entity of another file.xml": (
        f'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>{corners("&x;", "1", "2", "3")}',
        ("entities", "Remove"),
    ),
    "undefined entity.xml": (corners("&x;", "1", "2", "3"), ("not valid xml", "entity")),
    "no box.xml": (voc("<object><name>car</name></object>"), ("object 1", "bndbox", "xmin", "Correct")),
    "no corner.xml": (voc(OBJECT.replace("<ymax>50</ymax>", "")), ("object 1", "ymax", "None")),
    "empty corner.xml": (corners("", "1", "2", "3"), ("object 1", "xmin")),
    "decimal commas.xml": (corners("1,5", "1", "2", "3"), ("object 1", "1,5")),
    "no number.xml": (corners("nan", "1", "2", "3"), ("object 1", "not finite")),
    "infinite.xml": (corners("1", "1", "inf", "3"), ("object 1", "not finite")),
    "inverted corners.xml": (voc(OBJECT + OBJECT.replace("60", "5")), ("object 2", "ends before", "Correct")),
    "no name.xml": (voc(OBJECT.replace("<name>car</name>", "")), ("object 1", "no name", "Name its class")),
    "blank name.xml": (corners("1", "1", "2", "3", " "), ("object 1", "no name")),
    "unknown class.xml": (corners("1", "1", "9", "9", "zebra"), ("zebra", "person, bicycle, car", "ignore")),
    "a line.json": (labelme("line", [[20, 10], [60, 50]]), ("shape 1", "'line'", "encloses nothing", "remove")),
    "a point.json": (labelme("polygon", [[20, 10]]), ("shape 1", "1 point(s)", "encloses nothing")),
    "no points.json": (labelme("polygon", None), ("no LabelMe json", "Save it again")),
    "an infinite point.json": (labelme("polygon", [[1, 1], [float("inf"), 2]]), ("shape 1", "not finite")),
    "no class.json": (labelme("rectangle", [[1, 1], [9, 9]], ""), ("shape 1", "is empty")),
    "nothing.json": ("", ("no COCO json", "Export it again")),
    "cut.json": (coco()[:-9], ("no COCO json", "Export it again")),
    "a list.json": ("[]", ("no COCO json",)),
    "a number.json": ("7", ("no COCO json",)),
    "no annotations.json": ('{"images": [], "categories": []}', ("no COCO json", "annotations")),
    "a hundred thousand levels.json": ("[" * 100_000, ("no COCO json",)),
    "no number.json": (coco(annotation={"bbox": [float("nan"), 1, 2, 3]}), ("annotation 5", "not finite")),
    "negative width.json": (coco(annotation={"bbox": [1, 1, -2, 3]}), ("annotation 5", "ends before")),
    "three numbers.json": (coco(annotation={"bbox": [1, 2, 3]}), ("no COCO json", "values")),
    "words.json": (coco(annotation={"bbox": ["a", 2, 3, 4]}), ("no COCO json", "'a'")),
    "no box.json": (coco(annotation={"bbox": None}), ("no COCO json",)),
    "unknown image.json": (coco(annotation={"image_id": 77}), ("annotation 5", "77", "Correct")),
    "unknown category.json": (coco(annotation={"category_id": 77}), ("id 77", "person, bicycle, car")),
    "two images with one id.json": (
        coco(images=[{"id": 1, "file_name": "a.png"}, {"id": 1, "file_name": "b.png"}]),
        ("no COCO json", "one id"),
    ),
    "two images with one name.json": (
        coco(images=[{"id": 1, "file_name": "vi/a.png"}, {"id": 2, "file_name": "ir/A.jpg"}]),
        ("vi/a.png", "ir/A.jpg", "called alike"),
    ),
    "400 digits.json": (
        coco(annotation={"bbox": [10**400, 1, 2, 3]}),
        ("annotation 5", "401 characters", "not finite"),
    ),
    "minus 400 digits.json": (coco(annotation={"bbox": [1, 1, 2, -(10**400)]}), ("annotation 5", "not finite")),
    "5000 digits.json": (coco().replace("[20,", f"[{'9' * 5000},"), ("no COCO json", "5000 digits")),
    "overflowing.json": (coco().replace("[20,", "[1e999,"), ("annotation 5", "not finite")),
    "minus infinite.json": (coco().replace("[20,", "[-Infinity,"), ("annotation 5", "not finite")),
    "digits as a text.json": (coco(annotation={"bbox": ["9" * 5000, 1, 2, 3]}), ("annotation 5", "not finite")),
    "true for a number.json": (coco(annotation={"bbox": [True, 1, 2, 3]}), ("annotation 5", "'True'", "no number")),
    "a box in a box.json": (coco(annotation={"bbox": [[1], 1, 2, 3]}), ("no COCO json", "list")),
    "400 digits as image.json": (coco(annotation={"image_id": 10**400}), ("annotation 5", "401 characters", "Correct")),
    "400 digits as category.json": (coco(annotation={"category_id": 10**400}), ("401 characters", "person")),
    "a list as category.json": (coco(annotation={"category_id": [9]}), ("no COCO json", "unhashable")),
    "two categories with one id.json": (
        coco(categories=[{"id": 9, "name": "car"}, {"id": 9, "name": "person"}]),
        ("no COCO json", "categories", "one id"),
    ),
    "400 digits.txt": (f"2 {'9' * 400} 0.5 0.1 0.1", ("line 1", "fractions")),
    "5000 digits as id.txt": (f"{'9' * 5000} 0.5 0.5 0.1 0.1", ("line 1", "5000 characters", "no class id")),
    "301 digits as id.txt": (f"1{'0' * 300} 0.5 0.5 0.1 0.1", ("301 characters", "person, bicycle, car")),
    "400 digits.xml": (corners("9" * 400, "1", "2", "3"), ("object 1", "not finite")),
    "overflowing.xml": (corners("1", "1", "1e999", "3"), ("object 1", "not finite")),
    "of no format.csv": (LINE, ("known label formats", ".xml")),
}
"""File name -> content, and what the message must say beside the file's name."""


@pytest.mark.parametrize("name", REFUSED)
def test_hostile_labels_are_refused_by_name(name: str, place: Path) -> None:
    content, words = REFUSED[name]
    refusal(lambda: _read(place, name, content), LabelError, name, *words)


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to(path.name)])
@pytest.mark.parametrize("suffix", [".txt", ".xml", ".json"])
def test_labels_that_are_no_file_are_refused_at_once(suffix: str, make: Callable[[Path], None], place: Path) -> None:
    path = place / f"a{suffix}"
    make(path)
    refusal(lambda: LabelReader(CLASSES, CLASSES).read(path, "a", SIZE), LabelError, path.name, "emove it")


@pytest.mark.parametrize(
    ("names", "words"),
    [("car\n\nperson\n", ("line 2 is empty", "Give it a name")), ("zebra\n", ("zebra", "person, bicycle, car"))],
)
def test_class_lists_that_cannot_be_followed_are_refused(names: str, words: tuple[str, ...], place: Path) -> None:
    (place / "classes.txt").write_text(names)
    refusal(lambda: _read(place, "a.txt", "0 0.5 0.5 0.1 0.1"), LabelError, *words)


ODD_CLASSES: Final = {
    "terminal": ("car\x1b[2J", "'car\\x1b[2J'", "control"),
    "writing direction": ("\u202erac", "'\\u202erac'", "cannot be shown"),
    "line separator": ("car\u2028", "'car\\u2028", "cannot be shown"),
    "null": ("ca\0r", "'ca\\x00r'", "control"),
    "no text": ("car\udce9", "'car\\udce9'", "cannot be shown"),
    "long": ("x" * 101, "101 characters"),
}
"""Names of classes, and what their refusal says."""


def _of_class(kind: str, name: str) -> tuple[str, bytes]:
    """A label file of an object of that class."""
    if kind == "voc":
        return "a.xml", corners("1", "1", "9", "9", name).encode()
    return "a.json", coco(categories=[{"id": 9, "name": name}]).encode()


@pytest.mark.parametrize("kind", ["voc", "coco", "classes.txt", "option"])
@pytest.mark.parametrize("odd", ODD_CLASSES)
def test_class_names_that_cannot_be_shown_are_refused(odd: str, kind: str, place: Path) -> None:
    name, *words = ODD_CLASSES[odd]
    if kind == "option":
        root = write_folder(place, count=1, size=(24, 26))
        refusal(lambda: FolderDataset(root, classes=["car", name]), LabelError, "`classes`", *words, "Rename it")
        return
    if odd in ("no text", "null", "terminal") and kind != "coco":
        name = "car\x7f"  # the others are no UTF-8, or no XML
        words = ["'car\\x7f'", "control"]
    if odd == "line separator" and kind in ("voc", "classes.txt"):
        name = "ca\u2028r"  # blanks at the ends are taken away
        words = ["'ca\\u2028r'", "cannot be shown"]
    if kind == "classes.txt":
        (place / "classes.txt").write_text(f"person\n{name}\n", encoding="utf-8")
        refusal(lambda: _read(place, "a.txt", LINE), LabelError, "classes.txt", *words, "Rename it")
        return
    file, content = _of_class(kind, name)
    refusal(lambda: _read(place, file, content), LabelError, file, *words, "Rename it")


@pytest.mark.parametrize("name", ["[/]a", "[red]b", "$^$", "\\input{x}", "=1+1", "a|b`c", "图像 ü", "traffic/light"])
def test_odd_class_names_that_can_be_shown_are_read(name: str, place: Path) -> None:
    reader = LabelReader(("person", name), ("person", name))
    for kind in ("voc", "coco"):
        file, content = _of_class(kind, name)
        assert _read(place, file, content, reader)["labels"].tolist() == [1]
    (place / "classes.txt").write_text(f"{name}\nperson\n", encoding="utf-8")
    assert _read(place, "a.txt", "0 0.5 0.5 0.1 0.1", reader)["labels"].tolist() == [1]


def test_class_names_that_come_twice_or_are_empty_are_refused(place: Path) -> None:
    (place / "classes.txt").write_text("car\nperson\ncar\n", encoding="utf-8")
    refusal(lambda: _read(place, "a.txt", LINE), LabelError, "classes.txt", "'car' stands there twice", "Rename")
    root = write_folder(place, count=1, size=(24, 26))
    refusal(lambda: FolderDataset(root, classes=["car", "car"]), LabelError, "`classes`", "'car'", "twice")
    refusal(lambda: FolderDataset(root, classes=["car", " "]), LabelError, "`classes`", "is empty")
    content = coco(categories=[{"id": 9, "name": ""}])
    refusal(lambda: _read(place, "a.json", content), LabelError, "a.json", "is empty")


@pytest.mark.parametrize("names", ["person\r\ncar\r\n", "\ufeffperson\ncar\n\n\n"])
def test_class_lists_from_other_systems_are_followed(names: str, place: Path) -> None:
    (place / "classes.txt").write_bytes(names.encode())
    assert _read(place, "a.txt", "1 0.5 0.5 0.1 0.1")["labels"].tolist() == [2]
