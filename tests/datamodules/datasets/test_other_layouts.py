"""Public datasets that the folder reader takes as they are released, with the options that DATASETS.md gives."""

import io
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest
from PIL import Image
from rich.console import Console

from ivif.commands.data.check import check
from ivif.datamodules.datasets.folder import FolderDataset, FolderLayout
from ivif.datamodules.datasets.llvip import LLVIP
from ivif.datamodules.datasets.msrs import MSRS
from ivif.datamodules.datasets.reading_config import ReadingConfig
from ivif.datamodules.folder import FolderDataModule
from ivif.datamodules.start_checks import look_over
from ivif.files.errors import LabelError, PairingError
from tests import other_layouts
from tests.fakes import Box, scene, write_folder, write_llvip, write_msrs
from tests.inputs import brings

PAGE: Final = Path(__file__).parents[3] / "DATASETS.md"


def _box(number: int, border: int = 0) -> list[int]:
    return [value + border for value in scene(number, other_layouts.SIZE)[2][1:]]


def _documented(dataset: str, root: Path) -> FolderDataset:
    """The reader of a dataset, with the options that its row in DATASETS.md names."""
    (row,) = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith(f"| {dataset} |")]
    (options,) = re.findall(r"`(--data\.[^`]*)`", row)
    words = shlex.split(options)
    given = {name.removeprefix("--data."): value for name, value in zip(words[0::2], words[1::2], strict=True)}
    layout = {name.removeprefix("layout."): value for name, value in given.items() if name.startswith("layout.")}
    reading: dict[str, Any] = {
        name.removeprefix("reading."): _listed(value) for name, value in given.items() if name.startswith("reading.")
    }
    names = _listed(given["classes"])
    return FolderDataset(root, layout=FolderLayout(**layout), reading=ReadingConfig(**reading), classes=names)


def _listed(value: str) -> Any:
    return tuple(name.strip(' "') for name in value[1:-1].split(",")) if value.startswith("[") else value


def _boxes(reader: FolderDataset) -> list[list[list[float]]]:
    return [reader.load_targets(index)["boxes"].tolist() for index in range(len(reader))]


@brings(
    "labels",
    "FLIR ADAS 1.3, thermal names in its COCO json",
    "works",
    "boxes of the thermal pictures; not aligned: DATASETS.md",
)
def test_flir_1_3_is_labelled_by_its_thermal_names(tmp_path: Path) -> None:
    reader = _documented("FLIR ADAS 1.3", other_layouts.write_flir_v1(tmp_path))
    assert reader.names == ["FLIR_00001", "FLIR_00002"]
    assert _boxes(reader) == [[_box(0)], [_box(1)]]
    assert [reader.load_targets(index)["labels"].tolist() for index in range(2)] == [[0], [2]]


@brings(
    "labels", "FLIR ADAS at its real sizes: boxes of infrared, other proportions", "refused", "to cut both to one scene"
)
def test_thermal_boxes_that_do_not_fit_the_visible_picture_are_called_so(tmp_path: Path) -> None:
    root = other_layouts.write_flir_v1(tmp_path, size=(64, 80))
    for file in (root / "train" / "RGB").iterdir():
        Image.open(file).resize((180, 160)).save(file)
    with pytest.raises(LabelError, match=r"labels an infrared picture of 80x64.* visible one of 180x160.*Cut both"):
        _boxes(_documented("FLIR ADAS 1.3", root))


@brings("labels", "the aligned part of FLIR (`JPEGImages`, `Annotations/..._PreviewData.xml`)", "works", "its boxes")
def test_flir_aligned_is_labelled_by_its_thermal_names(tmp_path: Path) -> None:
    reader = _documented("FLIR aligned", other_layouts.write_flir_aligned(tmp_path))
    assert _boxes(reader) == [[_box(0)], [_box(1)]]


@brings(
    "labels",
    "FLIR ADAS v2, test videos, through a list of pairs",
    "works",
    "its boxes; DATASETS.md has the command for the list",
)
def test_flir_v2_is_read_by_the_list_that_the_command_makes(tmp_path: Path) -> None:
    root = other_layouts.write_flir_v2(tmp_path)
    with pytest.raises(PairingError, match=r"This is FLIR ADAS v2.*DATASETS\.md \(FLIR ADAS\)"):
        FolderDataset(root)
    (command,) = re.findall(r"^python (-c .*pairs\.csv)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    subprocess.run(["/bin/sh", "-c", f"{shlex.quote(sys.executable)} {command}"], check=True, cwd=root)
    reader = _documented("FLIR ADAS v2", root)
    assert _boxes(reader) == [[_box(0)], [_box(1)]]


@brings("labels", "FLIR ADAS v2 without a list", "refused", "named, with what pairs and how")
@pytest.mark.parametrize("below", ["", "video_thermal_test"])
def test_flir_v2_alone_is_named(below: str, tmp_path: Path) -> None:
    with pytest.raises(PairingError, match="This is FLIR ADAS v2"):
        FolderDataset(other_layouts.write_flir_v2(tmp_path) / below)


@brings(
    "labels", "DroneVehicle, one label set per modality", "works", "the boxes around its polygons, in the white border"
)
def test_drone_vehicle_has_the_labels_of_the_modality_that_is_chosen(tmp_path: Path) -> None:
    root = other_layouts.write_drone_vehicle(tmp_path)
    reader = _documented("DroneVehicle", root)
    assert _boxes(reader) == [[_box(0, 10)] * 2, [_box(1, 10)] * 2]
    assert reader.load_targets(0)["labels"].tolist() == [4, 0]
    assert [line for line in reader.label_reader.tally.lines() if "polygons or turned boxes of 2 label file(s)" in line]
    visible = FolderLayout("train/trainimgr", "train/trainimg", labels="train/trainlabel")
    assert _boxes(FolderDataset(root, layout=visible, classes=["car"])) == [[], []]


@brings("labels", "KAIST's tree and its `annotations-xml`", "works", "persons, and crowds as ignored regions")
def test_kaist_has_persons_and_ignores_crowds(tmp_path: Path) -> None:
    reader = _documented("KAIST", other_layouts.write_kaist(tmp_path) / "images")
    assert _boxes(reader) == [[_box(0)], [_box(1)]]
    for index in range(2):
        regions = reader.load_targets(index)["ignored"]
        assert regions["boxes"].tolist() == [[30, 20, 45, 38]]
        assert regions["labels"].tolist() == [0]


@brings("labels", "HIT-UAV", "refused", "named: it has infrared pictures alone")
@pytest.mark.parametrize("below", ["", "normal_xml"])
def test_hit_uav_is_named(below: str, tmp_path: Path) -> None:
    with pytest.raises(PairingError, match="This is HIT-UAV, which has infrared pictures alone: there is nothing"):
        FolderDataset(other_layouts.write_hit_uav(tmp_path) / below)


@brings("labels", "the official `detection` folder of MSRS", "works", "80 labelled pairs, through `folder.yaml`")
def test_the_detection_folder_of_msrs_is_read_by_the_command_that_is_given(tmp_path: Path) -> None:
    root = other_layouts.write_msrs_detection(tmp_path / "MSRS")
    (options,) = re.findall(r"--data\.root (MSRS/detection .*)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    folder, _, labels, _, classes = shlex.split(options)
    reader = FolderDataset(root.parent / folder, layout=FolderLayout(labels=labels), classes=_listed(classes))
    assert reader.classes == ("person", "bicycle", "car")
    assert _boxes(reader) == [[pytest.approx(_box(0), abs=1e-3)], [pytest.approx(_box(1), abs=1e-3)]]
    assert [reader.load_targets(index)["labels"].tolist() for index in range(2)] == [[0], [2]]


@pytest.mark.parametrize("by_split", [False, True])
@brings(
    "labels",
    "LLVIP with `labels` as YOLO in place of `Annotations`",
    "works",
    "its boxes, by split or all in one folder",
)
def test_llvip_converted_to_yolo_has_the_same_boxes(by_split: bool, tmp_path: Path) -> None:
    root = write_llvip(tmp_path)
    before = {split: LLVIP(root, split) for split in ("train", "test", "all")}
    wanted = {split: [reader.load_targets(index) for index in range(len(reader))] for split, reader in before.items()}
    height, width = before["all"].image_size(0)
    for name, targets in zip(before["all"].names, wanted["all"], strict=True):
        left, top, right, bottom = targets["boxes"][0].tolist()
        values = (
            (left + right) / 2 / width,
            (top + bottom) / 2 / height,
            (right - left) / width,
            (bottom - top) / height,
        )
        folder = root / "labels" / (("train" if name in before["train"].names else "test") if by_split else "")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.txt").write_text(f"0 {' '.join(map(str, values))}\n")
    (root / "Annotations").rename(root / "official")
    for split, all_targets in wanted.items():
        reader = LLVIP(root, split)
        assert not reader.pairing.stray_labels
        for index, expected in enumerate(all_targets):
            found = reader.load_targets(index)
            assert found["boxes"].tolist() == [pytest.approx(box, abs=1e-3) for box in expected["boxes"].tolist()]
            assert found["labels"].tolist() == expected["labels"].tolist()


@pytest.mark.parametrize("label_format", ["", "labelme"])
@brings("labels", "a folder of LabelMe json files", "works", "one file per picture, by its name")
def test_a_folder_of_labelme_files_labels_its_pairs(label_format: str, tmp_path: Path) -> None:
    root = write_folder(tmp_path, size=other_layouts.SIZE, count=3)
    corners = [scene(number, other_layouts.SIZE)[2] for number in range(3)]
    boxes: dict[str, list[Box]] = {
        f"{number:03d}": [("car", *box[1:]), ("person", 1, 2, 9, 9)] for number, box in enumerate(corners)
    }
    other_layouts.write_labelme(root / "labelme", boxes)
    layout = FolderLayout(labels="labelme", label_format=label_format)
    reader = FolderDataset(root, layout=layout, classes=["person", "car"])
    assert _boxes(reader) == [[_box(number), [1, 2, 9, 9]] for number in range(3)]
    assert reader.load_targets(1)["labels"].tolist() == [1, 0]
    assert FolderDataModule(root=root, layout=layout, classes=["person", "car"]).has_labels("train")


@pytest.mark.parametrize("place", ["all", "train"])
def test_labelme_files_are_found_as_other_files_of_one_picture_are(place: str, tmp_path: Path) -> None:
    names = ("ir/train/0.png", "vi/train/0.png") if place == "train" else ("0_ir.png", "0_vis.png")
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (64, 48), 7).save(tmp_path / name)
    folder = tmp_path / "boxes" / ("train" if place == "train" else "")
    other_layouts.write_labelme(folder, {"0": [("car", 3, 4, 20, 30)]}, (48, 64))
    reader = FolderDataset(tmp_path, layout=FolderLayout(labels="boxes"), classes=["car"])
    assert _boxes(reader) == [[[3, 4, 20, 30]]]
    assert not reader.label_reader.tally.misnamed


def test_a_list_of_classes_above_folders_of_labels_hides_none(tmp_path: Path) -> None:
    for name in ("ir/train/0.png", "vi/train/0.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (64, 48), 7).save(tmp_path / name)
    (tmp_path / "labels" / "train").mkdir(parents=True)
    (tmp_path / "labels" / "train" / "0.txt").write_text("1 0.5 0.5 0.5 0.5\n")
    (tmp_path / "labels" / "classes.txt").write_text("person\ncar\n")
    reader = FolderDataset(tmp_path, layout=FolderLayout(labels="labels"), classes=["car"])
    assert _boxes(reader) == [[[16, 12, 48, 36]]]


def test_one_file_of_boxes_is_no_place_of_labels(tmp_path: Path) -> None:
    root = write_folder(tmp_path)
    layout = FolderLayout(labels="yolo/000.txt")
    with pytest.raises(LabelError, match=r"000\.txt' is no COCO json\. Give the folder of the label files"):
        FolderDataset(root, layout=layout, classes=["person", "car"])


@brings("labels", "a label folder in which no file is of any pair", "refused", "where and for what names it was looked")
def test_where_boxes_were_looked_for_is_said(tmp_path: Path) -> None:
    root = write_folder(tmp_path)
    (root / "voc").rename(root / "mine")
    for file in (root / "mine").iterdir():
        file.rename(file.with_name(f"label_{file.name}"))
    layout = FolderLayout(labels="mine", label_format="voc")
    with pytest.raises(LabelError, match=r"No label in '.*mine' belongs to any of the 4 pairs.* 000\.xml.*Correct"):
        FolderDataset(root, layout=layout, classes=["person", "car"])


@brings(
    "labels",
    "a dataset without its label folder",
    "refused",
    "a detector's `fit` and `data check` say where it was looked for",
)
def test_the_places_of_boxes_are_named_where_there_are_none(tmp_path: Path) -> None:
    root = write_msrs(tmp_path / "MSRS")
    shutil.rmtree(root / "detection_labels")
    reader = MSRS(root, "train")
    places = r"no pair has a label file\. Boxes were looked for in detection_labels/.*, .*labels/\*\.txt under '.*MSRS'"
    with pytest.raises(LabelError, match=f"cannot learn from msrs: {places}"):
        look_over([reader], "train", detects=True)
    look_over([reader], "train", detects=False)
    stream = io.StringIO()
    assert check({"train": [reader]}, tmp_path / "out", Console(file=stream, width=140)) == 0
    assert re.search(places, " ".join(stream.getvalue().split()))
