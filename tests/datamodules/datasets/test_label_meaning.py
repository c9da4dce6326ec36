"""Which picture a label means, what its file declares, what ids mean, and which classes are used."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ivif.datamodules.datasets.base import PairedDataset, ReadingConfig
from ivif.datamodules.datasets.folder import FolderDataset, FolderLayout
from ivif.datamodules.datasets.m3fd import M3FD
from ivif.datamodules.datasets.msrs import MSRS
from ivif.datamodules.m3fd import M3FDDataModule
from ivif.datamodules.roadscene import RoadSceneDataModule
from ivif.datamodules.tno import TNODataModule
from ivif.files.errors import LabelError
from tests.fakes import M3FD_CLASSES, write_folder, write_m3fd, write_msrs, write_roadscene
from tests.inputs import brings
from tests.refusals import refusal

CLASSES = ("person", "car")


def pair(root: Path, infrared: str, visible: str, sizes: tuple[tuple[int, int], tuple[int, int]]) -> Path:
    """One pair in `ir` and `vi`; sizes as (width, height) of infrared and visible."""
    for folder, name, size in zip(("ir", "vi"), (infrared, visible), sizes, strict=True):
        (root / folder).mkdir(parents=True)
        Image.new("L" if folder == "ir" else "RGB", size).save(root / folder / name)
    return root


def coco(path: Path, file_name: str, box: list[float], **image: Any) -> None:
    """One car in one picture."""
    content = {
        "images": [{"id": 7, "file_name": file_name, **image}],
        "annotations": [{"id": 1, "image_id": 7, "category_id": 3, "bbox": box}],
        "categories": [{"id": 3, "name": "car"}],
    }
    path.write_text(json.dumps(content))


def boxes(dataset: PairedDataset, index: int = 0) -> list[float]:
    """The boxes of one pair in one list, the same from a sample and alone."""
    found: list[float] = dataset.load_targets(index)["boxes"].flatten().tolist()
    assert dataset[index]["targets"]["boxes"].flatten().tolist() == found
    return found


def flir(root: Path, sizes: tuple[tuple[int, int], tuple[int, int]], labels: str = "coco.json") -> FolderDataset:
    """A pair as FLIR names it, whose visible and infrared names share a number alone."""
    pair(root, "FLIR_00006_PreviewData.jpeg", "FLIR_00006_RGB.jpg", sizes)
    coco(root / "coco.json", "FLIR_00006_PreviewData.jpeg", [20, 30, 40, 50])
    return FolderDataset(root, layout=FolderLayout(pattern=r"(\d{5})", labels=labels), classes=CLASSES)


@brings("labels", "COCO json that names the infrared picture", "works", "boxes are read by the name that fits")
def test_a_label_is_read_by_the_name_that_attached_it(tmp_path: Path) -> None:
    assert boxes(flir(tmp_path, ((160, 128), (160, 128)))) == [20, 30, 60, 80]


def test_a_listed_json_is_read_by_the_name_that_it_knows(tmp_path: Path) -> None:
    flir(tmp_path, ((160, 128), (320, 256)))
    table = "infrared,visible,label\nir/FLIR_00006_PreviewData.jpeg,vi/FLIR_00006_RGB.jpg,coco.json\n"
    (tmp_path / "pairs.csv").write_text(table)
    layout = FolderLayout(pairs="pairs.csv")
    assert boxes(FolderDataset(tmp_path, layout=layout, classes=CLASSES)) == [40, 60, 120, 160]
    coco(tmp_path / "coco.json", "other.jpg", [20, 30, 40, 50])
    refusal(
        lambda: FolderDataset(tmp_path, layout=layout, classes=CLASSES),
        LabelError, "coco.json", "FLIR_00006_RGB.jpg", "FLIR_00006_PreviewData.jpeg",
    )  # fmt: skip


@brings(
    "labels", "labels of infrared pictures smaller than the visible ones, of one shape", "works", "boxes are scaled"
)
def test_boxes_of_the_infrared_picture_are_scaled_to_the_sample(tmp_path: Path) -> None:
    dataset = flir(tmp_path, ((160, 128), (320, 256)))
    assert boxes(dataset) == [40, 60, 120, 160]
    assert "scaled to their pictures' size" in dataset.label_reader.tally.lines()[0]


@brings(
    "labels", "labels of infrared pictures of other proportions than the visible ones", "refused", "names both sizes"
)
def test_boxes_of_another_scene_are_refused(tmp_path: Path) -> None:
    dataset = flir(tmp_path, ((160, 128), (360, 320)))
    refusal(lambda: dataset.load_targets(0), LabelError, "coco.json", "160x128", "360x320", "proportions")


def test_fractions_of_the_infrared_picture_need_no_scaling(tmp_path: Path) -> None:
    pair(tmp_path, "7_ir.png", "7_vis.png", ((160, 128), (320, 256)))
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "7_ir.txt").write_text("0 0.5 0.5 0.5 0.25")
    layout = FolderLayout(pattern=r"(\d)", labels="labels")
    assert boxes(FolderDataset(tmp_path, layout=layout, classes=CLASSES)) == [80, 96, 240, 160]


VOC = (
    "<annotation><filename>{name}</filename><size><width>192</width><height>160</height><depth>3</depth></size><object>"
    "<name>car</name><bndbox><xmin>20</xmin><ymin>30</ymin><xmax>60</xmax><ymax>80</ymax></bndbox></object></annotation>"
)


def declaring(root: Path, kind: str, size: tuple[int, int], reading: ReadingConfig | None = None) -> FolderDataset:
    """A pair of that (width, height) whose label declares 192x160."""
    pair(root, "a.png", "a.png", (size, size))
    if kind == "voc":
        (root / "labels").mkdir()
        (root / "labels" / "a.xml").write_text(VOC.format(name="a.png"))
    else:
        coco(root / "labels", "a.png", [20, 30, 40, 50], width=192, height=160)
        (root / "labels").rename(root / "labels.json")
    layout = FolderLayout(labels="labels" if kind == "voc" else "labels.json")
    return FolderDataset(root, reading=reading or ReadingConfig(), layout=layout, classes=CLASSES)


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(
            "voc", marks=brings("labels", "VOC `<size>` unlike the picture's, of one shape", "reported", "boxes scaled")
        ),
        pytest.param(
            "coco", marks=brings("labels", "COCO width, height unlike the picture's", "reported", "boxes scaled")
        ),
    ],
)
def test_a_declared_size_of_one_shape_scales_the_boxes(kind: str, tmp_path: Path) -> None:
    dataset = declaring(tmp_path, kind, (576, 480))
    assert boxes(dataset) == [60, 90, 180, 240]
    assert "(from 192x160 to 576x480)" in dataset.label_reader.tally.lines()[0]
    assert boxes(declaring(tmp_path / "same", kind, (192, 160))) == [20, 30, 60, 80]
    ignoring = declaring(tmp_path / "ignoring", kind, (576, 480), ReadingConfig(declared_sizes="ignore"))
    assert boxes(ignoring) == [20, 30, 60, 80]


@pytest.mark.parametrize("kind", ["voc", "coco"])
@brings("labels", "a declared size of other proportions", "refused", "names the file and both sizes")
def test_a_declared_size_of_another_shape_is_refused(kind: str, tmp_path: Path) -> None:
    dataset = declaring(tmp_path, kind, (540, 500))
    refusal(lambda: dataset[0], LabelError, "labels", "192x160", "540x500", "reading.declared_sizes")
    with pytest.raises(ValueError, match="declared_sizes is 'crop'; known: scale, ignore"):
        ReadingConfig(declared_sizes="crop")  # type: ignore[arg-type]
    assert boxes(declaring(tmp_path / "b", kind, (540, 500), ReadingConfig(declared_sizes="ignore"))) == [
        20,
        30,
        60,
        80,
    ]


@brings("labels", "VOC `<size>` of zeros", "works", "counts as none")
def test_a_size_of_zeros_is_no_size(tmp_path: Path) -> None:
    dataset = declaring(tmp_path, "voc", (576, 480))
    label = tmp_path / "labels" / "a.xml"
    label.write_text(label.read_text().replace("192", "0").replace("160", "0"))
    assert boxes(dataset) == [20, 30, 60, 80]


@brings("labels", "VOC `<filename>` of another picture", "reported", "the first file is named")
def test_a_label_that_names_another_picture_is_told(tmp_path: Path) -> None:
    dataset = declaring(tmp_path, "voc", (192, 160))
    dataset.load_targets(0)
    assert dataset.label_reader.tally.lines() == []
    for name, told in (("C:\\mine\\a.jpg", 0), ("A", 0), ("b.png", 1)):
        (tmp_path / "labels" / "a.xml").write_text(VOC.format(name=name))
        dataset.load_targets(0)
        assert len(dataset.label_reader.tally.misnamed) == told
    assert "a.xml' ('b.png')" in dataset.label_reader.tally.lines()[0]


@brings("labels", "several COCO files in a folder (`instances_train.json`, `instances_val.json`)", "works", "merged")
def test_several_coco_files_are_one_set_of_labels(tmp_path: Path) -> None:
    root = write_folder(tmp_path)
    whole = json.loads((root / "coco.json").read_text())
    (root / "annotations").mkdir()
    for name, part in (("instances_train", slice(0, 3)), ("instances_val", slice(3, 4))):
        images = whole["images"][part]
        ids = {image["id"] for image in images}
        objects = [entry for entry in whole["annotations"] if entry["image_id"] in ids]
        content = {"images": images, "annotations": objects, "categories": whole["categories"]}
        (root / "annotations" / f"{name}.json").write_text(json.dumps(content))
    layout = FolderLayout(labels="annotations")
    dataset = FolderDataset(root, layout=layout, classes=CLASSES)
    assert [dataset.load_targets(index)["labels"].tolist() for index in range(4)] == [[0], [1], [0], [1]]
    assert dataset.pairing.unlabelled == ()
    assert dataset.pairing.stray_labels == ()
    (root / "annotations" / "copy.json").write_text((root / "annotations" / "instances_val.json").read_text())
    refusal(
        lambda: FolderDataset(root, layout=layout, classes=CLASSES),
        LabelError, "copy.json", "instances_val.json", "'003'", "layout.labels",
    )  # fmt: skip


@brings("labels", "a COCO json with two images of one name (`ir/1.png`, `vi/1.png`)", "refused", "names both")
def test_images_of_one_name_in_a_json_are_named(tmp_path: Path) -> None:
    root = write_folder(tmp_path)
    content = json.loads((root / "coco.json").read_text())
    content["images"][0]["file_name"] = "C:\\mine\\000.png"
    (root / "coco.json").write_text(json.dumps(content))
    layout = FolderLayout(labels="coco.json")
    assert FolderDataset(root, layout=layout, classes=CLASSES).pairing.unlabelled == ()
    content["images"].append({"id": 99, "file_name": "ir/000.bmp"})
    (root / "coco.json").write_text(json.dumps(content))
    refusal(
        lambda: FolderDataset(root, layout=layout, classes=CLASSES), LabelError, "coco.json", "000.png", "ir/000.bmp"
    )


def yolo(root: Path, *ids: int) -> Path:
    """Pairs with one object each, of these ids; nothing says what they mean."""
    write_folder(root, count=len(ids))
    (root / "yolo" / "classes.txt").unlink()
    for number, index in enumerate(ids):
        (root / "yolo" / f"{number:03d}.txt").write_text(f"{index} 0.5 0.5 0.5 0.5")
    return root


def labels(root: Path, classes: tuple[str, ...], label_classes: tuple[str, ...] = (), **reading: Any) -> list[Any]:
    layout = FolderLayout(labels="yolo")
    dataset = FolderDataset(
        root, reading=ReadingConfig(**reading), layout=layout, classes=classes, label_classes=label_classes
    )
    return [dataset.load_targets(index)["labels"].tolist() for index in range(len(dataset))]


@brings("labels", "YOLO ids with `label_classes`, and `classes` that chooses", "works", "ids keep their meaning")
def test_what_ids_mean_and_which_classes_are_used_are_two_options(tmp_path: Path) -> None:
    root = yolo(tmp_path, 0, 1, 0)
    assert labels(root, ("car",), ("person", "car")) == [[], [0], []]
    assert labels(root, ("car",), ("person", "car"), unknown_labels="ignore") == [[], [0], []]
    assert labels(root, (), ("car", "person")) == [[0], [1], [0]]
    assert labels(root, ("person", "car")) == [[0], [1], [0]]


@pytest.mark.parametrize("unknown", ["error", "ignore"])
@brings("labels", "YOLO ids without a list, `classes` names fewer", "refused", "asks for `label_classes`")
def test_ids_without_a_list_are_refused_where_a_subset_is_asked_for(unknown: str, tmp_path: Path) -> None:
    root = yolo(tmp_path, 0, 1)
    call = lambda: labels(root, ("car",), unknown_labels=unknown)  # noqa: E731 - an argument
    refusal(call, LabelError, "001.txt", "id 1", "label_classes", "classes.txt")


@pytest.mark.parametrize(
    ("place", "text"),
    [
        pytest.param(
            "data.yaml", "names: [person, car]\nnc: 2\n",
            marks=brings("labels", "`data.yaml`, `names` a list", "works", "its order counts")
        ),
        pytest.param(
            "data.yaml", "names:\n  1: car\n  0: person\n",
            marks=brings("labels", "`data.yaml`, `names` by id", "works", "its ids count"),
        ),
        ("yolo/classes.txt", "person\ncar\n"),
        ("yolo/obj.names", "person\ncar\n"),
    ],
)  # fmt: skip
def test_a_list_says_what_ids_mean(place: str, text: str, tmp_path: Path) -> None:
    root = yolo(tmp_path, 0, 1)
    (root / place).write_text(text)
    assert labels(root, ("car", "person")) == [[1], [0]]
    assert labels(root, ("car",)) == [[], [0]]
    refusal(lambda: labels(root, ("dog",)), LabelError, "000.txt", "'person'", "none of dog")


def test_a_yaml_list_may_have_gaps_and_lies_beside_the_folder_of_labels(tmp_path: Path) -> None:
    root = yolo(tmp_path, 4, 7)
    (root / "data.yaml").write_text("names: {4: car, 7: person}")
    assert labels(root, ("person", "car")) == [[1], [0]]
    (root / "labels").mkdir()
    (root / "yolo").rename(root / "labels" / "train")
    layout = FolderLayout(labels="labels/train")
    dataset = FolderDataset(root, layout=layout, classes=CLASSES)
    assert dataset.load_targets(0)["labels"].tolist() == [1]
    (root / "labels" / "train" / "000.txt").write_text("5 0.5 0.5 0.5 0.5")
    refusal(lambda: dataset.load_targets(0), LabelError, "id 5")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("names: [person, person]", ("person", "twice")),
        ("names: [person, [car]", ("YAML",)),
        ("names: !!python/object/apply:os.system ['true']", ("YAML",)),
        ("names: car", ("list of class names",)),
        ("names: {99999999: car}", ("list of class names",)),
        ("names: [car, person]", ("classes.txt", "differ", "label_classes")),
    ],
)
@brings("labels", "lists of class names that are broken or differ", "refused", "names the files")
def test_lists_that_cannot_be_followed_are_refused(text: str, words: tuple[str, ...], tmp_path: Path) -> None:
    root = yolo(tmp_path, 0, 1)
    (root / "yolo" / "classes.txt").write_text("person\ncar\n")
    (root / "yolo" / "data.yaml").write_text(text)
    refusal(lambda: labels(root, CLASSES), LabelError, "data.yaml", *words)
    assert labels(root, CLASSES, CLASSES) == [[0], [1]]


@brings("labels", "a part of a dataset's classes (M3FD without Lamp, MSRS cars only)", "works", "others are left out")
def test_every_dataset_can_be_read_with_some_of_its_classes(tmp_path: Path) -> None:
    root = write_m3fd(tmp_path / "m3fd", count=6)
    without = [name for name in M3FD_CLASSES if name != "Lamp"]
    for folder in ("Annotation", "labels"):
        m3fd = M3FD(root, classes=without)
        found = [m3fd.load_targets(index)["labels"].tolist() for index in range(6)]
        assert found == [[0], [1], [2], [], [3], [4]], folder
        assert m3fd.label_reader.tally.lines() == [
            "objects of classes that `classes` does not choose, left out (Lamp: 1)"
        ]
        if folder == "Annotation":
            for file in (root / folder).iterdir():
                file.unlink()
    msrs = MSRS(write_msrs(tmp_path / "msrs"), classes=["cars"])
    assert [msrs.load_targets(index)["labels"].tolist() for index in range(3)] == [[], [], [0]]
    assert M3FDDataModule(root=root, classes=["person", "Bus"]).classes == ("person", "Bus")
    refusal(lambda: M3FD(root, classes=["zebra"]), LabelError, "'zebra'", "People, Car", "Choose")
    refusal(lambda: M3FDDataModule(root=root, classes=["zebra"]).classes, LabelError, "'zebra'")
    refusal(lambda: FolderDataset(root, classes=["car", "Car"]), LabelError, "(car, Car) names one class", "twice")
    refusal(lambda: M3FD(root, classes=["person", "People"]), LabelError, "twice")
    refusal(lambda: TNODataModule(root=root, classes=["car"]).classes, LabelError, "tno has no boxes")
    raw = RoadSceneDataModule(root=write_roadscene(tmp_path), classes=["car"], reading=ReadingConfig(labels=False))
    assert len(raw.stage_readers("all")[0]) == 4  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "lines", "told"),
    [
        pytest.param(
            "yolo", ["0 0.1 0.1 0.5 0.4", "0 0.7 0.4 0.9 0.9", "0 0.2 0.5 0.3 0.9", "0 0.6 0.6 0.8 0.8"],
            "two corners", marks=brings("labels", "YOLO lines of two corners", "reported", "asks for centre and size"),
        ),
        ("yolo", ["0 0.3 0.3 0.2 0.2", "0 0.5 0.5 0.9 0.9", "0 0.7 0.7 0.2 0.2", "0 0.4 0.4 0.8 0.8"], ""),
        pytest.param(
            "yolo", ["0 0.3 0.3 0.2 0.2", "0 0.9 0.5 0.5 0.2", "0 0.7 0.7 0.2 0.2"],
            "reach beyond", marks=brings("labels", "boxes that reach beyond their pictures", "reported", "how many"),
        ),
        pytest.param(
            "coco", [[10, 10, 30, 30], [20, 5, 40, 30], [15, 20, 47, 39]],
            "two corners", marks=brings("labels", "COCO boxes of two corners", "reported", "asks for width and height"),
        ),
        ("coco", [[10, 10, 20, 20], [20, 5, 20, 25], [1, 2, 40, 30]], ""),
    ],
)  # fmt: skip
def test_boxes_that_look_wrong_are_told(kind: str, lines: list[Any], told: str, tmp_path: Path) -> None:
    root = write_folder(tmp_path, count=1)
    (root / "yolo" / "000.txt").write_text("\n".join(map(str, lines)))
    content = json.loads((root / "coco.json").read_text())
    content["annotations"] = [
        {"id": number, "image_id": 0, "category_id": 5, "bbox": box} for number, box in enumerate(lines)
    ]
    if kind == "coco":
        (root / "coco.json").write_text(json.dumps(content))
    layout = FolderLayout(labels="coco.json" if kind == "coco" else kind)
    dataset = FolderDataset(root, layout=layout, classes=CLASSES)
    dataset.load_targets(0)
    found = dataset.label_reader.tally.lines()
    assert (len(found), told in "".join(found)) == (bool(told), True)
