from pathlib import Path

import pytest

from ivif.datamodules.datasets.folder import FolderDataset, FolderLayout
from ivif.files.errors import DatasetNotFoundError, LabelError
from tests.fakes import scene, write_folder

CLASSES = ("car", "person")


@pytest.mark.parametrize(("labels", "label_format"), [("voc", "voc"), ("yolo", ""), ("coco.json", "coco"), ("voc", "")])
def test_labels_in_three_formats(tmp_path: Path, labels: str, label_format: str) -> None:
    root = write_folder(tmp_path)
    dataset = FolderDataset(root, layout=FolderLayout(labels=labels, label_format=label_format), classes=CLASSES)
    assert [dataset[index]["targets"]["labels"].tolist() for index in range(3)] == [[1], [0], [1]]
    expected = list(scene(0, (40, 48))[2][1:])
    assert dataset[0]["targets"]["boxes"].flatten().tolist() == pytest.approx(expected, abs=1e-4)


def test_coco_json_inside_the_label_folder(tmp_path: Path) -> None:
    root = write_folder(tmp_path)
    (root / "annotations").mkdir()
    (root / "coco.json").rename(root / "annotations" / "instances.json")
    dataset = FolderDataset(root, layout=FolderLayout(labels="annotations"), classes=CLASSES)
    assert dataset[1]["targets"]["labels"].tolist() == [0]


def test_any_two_folders_paired_by_pattern(tmp_path: Path) -> None:
    root = write_folder(tmp_path, templates=("thermal_{:04d}", "cam-{:04d}-color"))
    layout = FolderLayout(str(root / "ir"), "vi", pattern=r"(\d{4})", labels="voc", name="drone")
    dataset = FolderDataset(root, layout=layout, classes=CLASSES)
    assert dataset.names == ["0000", "0001", "0002", "0003"]
    assert dataset[2]["dataset"] == "drone"
    assert dataset[0]["targets"]["labels"].tolist() == [1]


def test_labels_are_optional(tmp_path: Path) -> None:
    assert "targets" not in FolderDataset(write_folder(tmp_path))[0]


def test_mistakes_are_explained(tmp_path: Path) -> None:
    root = write_folder(tmp_path)
    with pytest.raises(DatasetNotFoundError, match="Folder"):
        FolderDataset(root, layout=FolderLayout(infrared="nowhere"))
    with pytest.raises(LabelError, match="does not exist"):
        FolderDataset(root, layout=FolderLayout(labels="nowhere"), classes=CLASSES)
    with pytest.raises(LabelError, match="classes"):
        FolderDataset(root, layout=FolderLayout(labels="voc"))
    with pytest.raises(LabelError, match="belongs to any"):
        FolderDataset(root, layout=FolderLayout(labels="voc", label_format="yolo"), classes=CLASSES)
    with pytest.raises(ValueError, match="voc, yolo, coco"):
        FolderLayout(label_format="csv")
