import json
import os
import pickle
from collections.abc import Callable
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

import pytest

from ivif.datamodules.datasets.labels import LabelReader, formats
from ivif.datamodules.datasets.labels.class_names import class_index
from ivif.datamodules.datasets.labels.formats import parse_coco, parse_voc, parse_yolo
from ivif.files.errors import LabelError

CLASSES = ("person", "bicycle", "car")
SIZE = (100, 200)


def voc(*objects: tuple[str, int, int, int, int]) -> str:
    body = "".join(
        f"<object><name>{name}</name><bndbox><xmin>{left}</xmin><ymin>{top}</ymin><xmax>{right}</xmax>"
        f"<ymax>{bottom}</ymax></bndbox></object>"
        for name, left, top, right, bottom in objects
    )
    return f"<annotation>{body}</annotation>"


@pytest.mark.parametrize(
    ("name", "index"),
    [("person", 0), ("People", 0), ("PEDESTRIAN", 0), ("bike", 1), (" Car ", 2), ("traffic light", None), ("", None)],
)
def test_classes_are_found_by_name(name: str, index: int | None) -> None:
    assert class_index(name, CLASSES) == index


def test_synonyms_do_not_mix_classes() -> None:
    assert class_index("motorbike", ("Motorcycle", "Bicycle")) == 0
    assert class_index("street_lamp", ("People", "Lamp")) == 1


def test_three_formats_give_the_same_boxes(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(voc(("car", 20, 10, 60, 50)))
    (tmp_path / "a.txt").write_text("2  0.2  0.3  0.2  0.4  \n\n")
    coco = {
        "images": [{"id": 3, "file_name": "vi/A.png"}, {"id": 4, "file_name": "b.png"}],
        "categories": [{"id": 9, "name": "Car"}],
        "annotations": [
            {"id": 1, "image_id": 3, "category_id": 9, "bbox": [20, 10, 40, 40]},
            {"id": 2, "image_id": 3, "category_id": 9, "bbox": [0, 0, 90, 90], "iscrowd": 1},
        ],
    }
    (tmp_path / "all.json").write_text(json.dumps(coco))
    reader = LabelReader(CLASSES, CLASSES)
    for file in ("a.xml", "a.txt", "all.json"):
        targets = reader.read(tmp_path / file, "a", SIZE)
        assert targets["labels"].tolist() == [2]
        assert targets["boxes"].flatten().tolist() == pytest.approx([20, 10, 60, 50], abs=1e-4)
    assert parse_coco(tmp_path / "all.json", "b").boxes == ()


def test_empty_files_are_images_without_objects(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(" \n")
    targets = LabelReader(CLASSES, CLASSES).read(tmp_path / "a.txt", "a", SIZE)
    assert targets["boxes"].shape == (0, 4)
    assert targets["labels"].shape == (0,)


def test_class_list_beside_the_labels_wins(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("0 0.5 0.5 0.1 0.1")
    (tmp_path / "classes.txt").write_text("Car\nPerson\n")
    assert formats.listed_classes(formats.class_lists(tmp_path)) == ("Car", "Person")
    assert LabelReader(CLASSES, CLASSES).read(tmp_path / "a.txt", "a", SIZE)["labels"].tolist() == [2]


def test_boxes_are_clipped_and_tiny_ones_dropped(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(
        voc(("car", -5, 90, 30, 120), ("car", 198, 0, 250, 50), ("car", 50, 50, 50, 60), ("car", 10, 10, 14, 14))
    )
    kept = LabelReader(CLASSES, CLASSES, minimum_side=3).read(tmp_path / "a.xml", "a", SIZE)
    assert kept["boxes"].tolist() == [[0, 90, 30, 100], [10, 10, 14, 14]]


def test_unknown_classes_stop_or_are_counted(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(voc(("zebra", 1, 1, 9, 9), ("car", 1, 1, 9, 9)))
    with pytest.raises(LabelError, match=r"a\.xml.*'zebra'.*person, bicycle, car"):
        LabelReader(CLASSES, CLASSES).read(tmp_path / "a.xml", "a", SIZE)
    lenient = LabelReader(CLASSES, CLASSES, unknown="ignore")
    assert lenient.read(tmp_path / "a.xml", "a", SIZE)["labels"].tolist() == [2]
    assert lenient.tally.ignored == {"zebra": 1}
    (tmp_path / "b.txt").write_text("7 0.5 0.5 0.1 0.1")
    with pytest.raises(LabelError, match=r"b\.txt.*'id 7'"):
        LabelReader(CLASSES, CLASSES).read(tmp_path / "b.txt", "b", SIZE)


@pytest.mark.parametrize(
    "line",
    ["0 0.5 0.5 0.1", "0 0.5 0.5 0.1 x", "0.5 0.5 0.5 0.1 0.1", "0 50 50 10 10", "0 .5 .5 -.1 0", "0 nan 0 0 0"],
)
def test_malformed_yolo_lines_are_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "a.txt").write_text(f"0 0.5 0.5 0.1 0.1\n{line}\n")
    with pytest.raises(LabelError, match=r"a\.txt', line 2"):
        parse_yolo(tmp_path / "a.txt", CLASSES, SIZE)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<annotation>\n<object>", "line 2"),
        ("<a><object><name>car</name></object></a>", "object 1.*bndbox"),
        (voc(("car", 9, 1, 2, 5)), "object 1.*ends before"),
        (voc(("", 1, 1, 2, 5)), "no name"),
    ],
)
def test_malformed_xml_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.xml").write_text(text)
    with pytest.raises(LabelError, match=rf"(?s)a\.xml.*{message}"):
        parse_voc(tmp_path / "a.xml")


@pytest.mark.parametrize("text", ["[]", "{", '{"images": [{"id": 1}]}'])
def test_malformed_json_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "all.json").write_text(text)
    with pytest.raises(LabelError, match=r"all\.json"):
        parse_coco(tmp_path / "all.json", "a")


def test_wrong_policy_and_format_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="error, ignore"):
        LabelReader(CLASSES, CLASSES, unknown="skip")  # type: ignore[arg-type]
    with pytest.raises(LabelError, match=r"a\.csv"):
        LabelReader(CLASSES, CLASSES).read(tmp_path / "a.csv", "a", SIZE)
    with pytest.raises(LabelError, match=r"gone\.xml"):
        parse_voc(tmp_path / "gone.xml")


def test_parsed_files_do_not_go_to_processes_that_are_not_forked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.multiprocessing.reductions.reduce_storage", lambda _: pytest.fail("a descriptor"))
    path = tmp_path / "a.xml"
    path.write_text(voc(("car", 1, 1, 9, 9)))
    reader = LabelReader(CLASSES, CLASSES)
    before = reader.read(path, "a", SIZE)
    after = pickle.loads(ForkingPickler.dumps(reader)).read(path, "a", SIZE)
    assert after["boxes"].tolist() == before["boxes"].tolist()


def test_an_unchanged_file_is_parsed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.xml"
    path.write_text(voc(("car", 1, 1, 9, 9)))
    reader = LabelReader(CLASSES, CLASSES)
    first = reader.read(path, "a", SIZE)
    with monkeypatch.context() as patch:
        patch.setattr("ivif.datamodules.datasets.labels.reading.parse_voc", lambda _: pytest.fail("parsed again"))
        first["boxes"].zero_()  # the caller's own
        assert reader.read(path, "a", SIZE)["boxes"].tolist() == [[1, 1, 9, 9]]
    path.write_text(voc(("car", 1, 1, 9, 9), ("car", 11, 11, 19, 19)))
    assert len(reader.read(path, "a", SIZE)["labels"]) == 2
    path.unlink()
    with pytest.raises(LabelError, match=r"a\.xml"):
        reader.read(path, "a", SIZE)


def _rewrite_label(folder: Path) -> None:
    (folder / "labels" / "a.txt").write_text("1 0.5 0.5 0.5 0.5")


def _touch_label(folder: Path) -> None:
    """Other content of the same size: only the time of change tells."""
    (folder / "labels" / "a.txt").write_text("2 0.5 0.5 0.1 0.1")
    os.utime(folder / "labels" / "a.txt", ns=(5, 5))


def _add_class_list(folder: Path) -> None:
    (folder / "labels" / "classes.txt").write_text("person\nbicycle\ncar\n")


def _rewrite_class_list(folder: Path) -> None:
    (folder / "obj.names").write_text("bicycle\nperson\n")


def _touch_class_list(folder: Path) -> None:
    (folder / "obj.names").write_text("bicycle\nperson\ncar\n")
    os.utime(folder / "obj.names", ns=(5, 5))


def _remove_class_list(folder: Path) -> None:
    (folder / "obj.names").unlink()


@pytest.mark.parametrize(
    "change",
    [_rewrite_label, _touch_label, _add_class_list, _rewrite_class_list, _touch_class_list, _remove_class_list],
)
def test_what_is_remembered_of_a_file_is_what_a_new_reader_reads(
    change: Callable[[Path], None], tmp_path: Path
) -> None:
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_text("0 0.5 0.5 0.1 0.1")
    (tmp_path / "obj.names").write_text("car\nbicycle\nperson\n")
    reader, path = LabelReader(CLASSES, CLASSES), tmp_path / "labels" / "a.txt"
    before = reader.read(path, "a", SIZE)
    assert before["labels"].tolist() == [2]
    change(tmp_path)
    after, fresh = reader.read(path, "a", SIZE), _uncached(path)
    assert [after["labels"].tolist(), after["boxes"].tolist()] == fresh
    assert fresh != [before["labels"].tolist(), before["boxes"].tolist()]


def _uncached(path: Path) -> list[Any]:
    """What a process that starts now reads."""
    formats.listed_classes.cache_clear()
    targets = LabelReader(CLASSES, CLASSES).read(path, "a", SIZE)
    return [targets["labels"].tolist(), targets["boxes"].tolist()]


def test_one_file_has_boxes_for_each_size_and_stem(tmp_path: Path) -> None:
    images = [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "b.png"}]
    boxes = [{"id": i, "image_id": i, "category_id": 1, "bbox": [10 * i, 10, 40, 40]} for i in (1, 2)]
    coco = {"images": images, "categories": [{"id": 1, "name": "car"}], "annotations": boxes}
    (tmp_path / "all.json").write_text(json.dumps(coco))
    (tmp_path / "a.txt").write_text("2 0.5 0.5 0.5 0.5")
    reader = LabelReader(CLASSES, CLASSES)
    assert reader.read(tmp_path / "all.json", "a", SIZE)["boxes"].tolist() == [[10, 10, 50, 50]]
    assert reader.read(tmp_path / "all.json", "b", SIZE)["boxes"].tolist() == [[20, 10, 60, 50]]
    assert reader.read(tmp_path / "all.json", "a", (20, 30))["boxes"].tolist() == [[10, 10, 30, 20]]
    assert reader.read(tmp_path / "a.txt", "a", SIZE)["boxes"].tolist() == [[50, 25, 150, 75]]
    boxes[0]["bbox"] = [30, 10, 40, 40]
    (tmp_path / "all.json").write_text(json.dumps(coco))
    os.utime(tmp_path / "all.json", ns=(5, 5))
    assert reader.read(tmp_path / "all.json", "a", SIZE)["boxes"].tolist() == [[30, 10, 70, 50]]
