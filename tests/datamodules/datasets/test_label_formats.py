"""Label files as other tools and datasets write them: shapes that are no boxes, regions that are no objects."""

import json
from pathlib import Path
from typing import Any

import pytest

from ivif.datamodules.datasets.labels import LabelReader
from ivif.files.errors import LabelError
from tests.inputs import brings

CLASSES = ("person", "bicycle", "car")
SIZE = (100, 200)


def _voc(inner: str) -> str:
    return f"<annotation><object><name>car</name>{inner}</object></annotation>"


def _labelme(kind: str, points: list[list[float]]) -> str:
    shape: dict[str, Any] = {"label": "car", "points": points, "group_id": None, "shape_type": kind, "flags": {}}
    return json.dumps({"version": "5.4.1", "shapes": [shape], "imagePath": "../vi/a.png", "imageData": None})


ENCLOSED = [
    pytest.param(
        "a.xml",
        _voc(
            "<polygon><x1>54</x1><y1>59</y1><x2>56</x2><y2>21</y2><x3>79</x3><y3>18</y3><x4>75</x4><y4>58</y4></polygon>"
        ),
        [54, 18, 79, 59],
        id="voc polygon",
        marks=brings(
            "labels", "DroneVehicle's xml (`polygon` with x1, y1, ... y4)", "works", "the box around it, said once"
        ),
    ),
    pytest.param(
        "a.xml",
        _voc("<robndbox><cx>100</cx><cy>50</cy><w>40</w><h>20</h><angle>1.5707963267948966</angle></robndbox>"),
        [90, 30, 110, 70],
        id="turned box",
        marks=brings(
            "labels", "roLabelImg's xml (`robndbox`), as HIT-UAV has it", "works", "the box around it, said once"
        ),
    ),
    pytest.param(
        "a.txt",
        "2 0.1 0.2 0.3 0.1 0.5 0.4 0.2 0.6",
        [20, 10, 100, 60],
        id="yolo polygon",
        marks=brings("labels", "YOLO lines with polygons or four corners", "works", "the box around it, said once"),
    ),
    pytest.param(
        "a.json",
        _labelme("polygon", [[30, 40], [60, 10], [90, 45]]),
        [30, 10, 90, 45],
        id="labelme polygon",
        marks=brings("labels", "LabelMe json: polygon", "works", "the box around it, said once"),
    ),
    pytest.param("a.json", _labelme("circle", [[50, 50], [53, 54]]), [45, 45, 55, 55], id="labelme circle"),
]


@pytest.mark.parametrize(("name", "text", "box"), ENCLOSED)
def test_other_shapes_become_the_boxes_around_them_and_that_is_said_once(
    name: str, text: str, box: list[float], tmp_path: Path
) -> None:
    (tmp_path / name).write_text(text)
    (tmp_path / f"b{name}").write_text(text)
    reader = LabelReader(CLASSES, CLASSES)
    targets = reader.read(tmp_path / name, "a", SIZE)
    assert targets["boxes"].tolist() == [pytest.approx(box, abs=1e-4)]
    assert targets["labels"].tolist() == [2]
    reader.read(tmp_path / f"b{name}", "ba", SIZE)
    (line,) = [line for line in reader.tally.lines() if "polygons" in line]
    assert line.startswith("the polygons or turned boxes of 2 label file(s) are read as the upright boxes around them")
    assert line.endswith(f"{name}'")


@brings(
    "labels",
    "LabelMe json: rectangle, one file per picture",
    "works",
    "its box; found by content, or by `label_format`",
)
def test_labelme_rectangles_are_boxes(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(_labelme("rectangle", [[60, 50], [20, 10]]))
    reader = LabelReader(CLASSES, CLASSES)
    assert reader.read(tmp_path / "a.json", "a", SIZE)["boxes"].tolist() == [[20, 10, 60, 50]]
    assert not reader.tally.lines()


@pytest.mark.parametrize(
    ("encoding", "outcome"),
    [
        pytest.param(
            "utf-16", "", marks=brings("labels", "UTF-16 with its byte order mark", "works", "as if it were UTF-8")
        ),
        pytest.param(
            "utf-16-le",
            "UTF-16LE",
            marks=brings("labels", "UTF-16 without its mark", "refused", "named, with a command"),
        ),
        pytest.param(
            "gbk",
            "GBK",
            marks=brings("labels", "GBK, Latin-1 and others, undeclared", "refused", "named, with a command"),
        ),
    ],
)
def test_encodings_are_followed_or_named(encoding: str, outcome: str, tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_bytes(
        _voc("<pose>汽车</pose><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>30</xmax><ymax>40</ymax></bndbox>").encode(
            encoding
        )
    )
    reader = LabelReader(CLASSES, CLASSES)
    if not outcome:
        assert reader.read(tmp_path / "a.xml", "a", SIZE)["boxes"].tolist() == [[1, 2, 30, 40]]
        return
    with pytest.raises(LabelError, match=rf"a\.xml': it is not UTF-8, but may be {outcome}.*iconv -f {outcome}"):
        reader.read(tmp_path / "a.xml", "a", SIZE)


def _coco(**mark: int) -> str:
    common = {"image_id": 1, "category_id": 9}
    return json.dumps(
        {
            "images": [{"id": 1, "file_name": "a.png"}],
            "categories": [{"id": 9, "name": "person"}],
            "annotations": [
                {"id": 1, **common, "bbox": [20, 10, 40, 40]},
                {"id": 2, **common, "bbox": [100, 10, 50, 60], **mark},
            ],
        }
    )


@pytest.mark.parametrize(
    ("name", "text"),
    [
        pytest.param(
            "a.json",
            _coco(iscrowd=1),
            marks=brings("labels", "COCO's `iscrowd` (or `ignore`)", "works", "out of loss and mAP"),
        ),
        pytest.param("a.json", _coco(ignore=1), id="ignore"),
        pytest.param(
            "a.xml",
            "<a><object><name>person</name><difficult>0</difficult><bndbox><xmin>20</xmin><ymin>10</ymin><xmax>60</xmax>"
            "<ymax>50</ymax></bndbox></object><object><name>person</name><difficult>1</difficult><bndbox><xmin>100</xmin>"
            "<ymin>10</ymin><xmax>150</xmax><ymax>70</ymax></bndbox></object></a>",
            marks=brings("labels", "VOC's `difficult`", "works", "out of loss and mAP"),
        ),
    ],
)
def test_crowds_and_hard_objects_are_ignored_regions(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    reader = LabelReader(CLASSES, CLASSES)
    targets = reader.read(tmp_path / name, "a", SIZE)
    assert targets["boxes"].tolist() == [[20, 10, 60, 50]]
    assert targets["ignored"]["boxes"].tolist() == [[100, 10, 150, 70]]
    assert targets["ignored"]["labels"].tolist() == [0]
    assert reader.tally.regions == 1


@brings(
    "labels",
    "KAIST's xml with `people`, `person?`",
    "works",
    "`reading.ignored_classes` keeps them out of loss and mAP",
)
def test_classes_that_are_to_be_ignored_are_so_for_every_class(tmp_path: Path) -> None:
    objects = "".join(
        f"<object><name>{name}</name><bndbox><x>{left}</x><y>10</y><w>20</w><h>30</h></bndbox></object>"
        for name, left in (("person", 10), ("people", 50), ("person?", 90), ("person?a", 190))
    )
    (tmp_path / "I01216.xml").write_text(f"<annotation>{objects.replace('person?a', 'person?')}</annotation>")
    reader = LabelReader(CLASSES, CLASSES, minimum_side=15, ignored_classes=["people", "Person?"])
    targets = reader.read(tmp_path / "I01216.xml", "I01216", SIZE)
    assert targets["boxes"].tolist() == [[10, 10, 30, 40]]
    assert targets["ignored"]["boxes"].tolist() == [[50, 10, 70, 40]] * 3 + [[90, 10, 110, 40]] * 3
    assert targets["ignored"]["labels"].tolist() == [0, 1, 2] * 2
    assert (reader.tally.regions, reader.tally.dropped) == (2, 1)
    alone = LabelReader(("person",), ("person",), ignored_classes=["people", "person?"])
    assert len(alone.read(tmp_path / "I01216.xml", "I01216", SIZE)["labels"]) == 1
    with pytest.raises(LabelError, match="'person\\?'"):
        LabelReader(CLASSES, CLASSES).read(tmp_path / "I01216.xml", "I01216", SIZE)
