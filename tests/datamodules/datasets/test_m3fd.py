from pathlib import Path

import pytest

from ivif.datamodules.datasets.m3fd import M3FD
from tests.fakes import write_m3fd


def test_labels_follow_names_whatever_the_format(tmp_path: Path) -> None:
    voc = M3FD(write_m3fd(tmp_path / "voc", yolo=False))
    yolo = M3FD(write_m3fd(tmp_path / "yolo", folders=("ir", "vi", "")))
    assert [voc.load_targets(index)["labels"].item() for index in range(4)] == [0, 1, 2, 3]
    for index in range(4):
        assert voc.load_targets(index)["labels"].tolist() == yolo.load_targets(index)["labels"].tolist()
        expected = voc.load_targets(index)["boxes"].flatten().tolist()
        assert yolo.load_targets(index)["boxes"].flatten().tolist() == pytest.approx(expected, abs=1e-4)


def test_voc_comes_before_yolo(tmp_path: Path) -> None:
    dataset = M3FD(write_m3fd(tmp_path))
    assert {record.label.suffix for record in dataset.records if record.label} == {".xml"}


@pytest.mark.parametrize(
    "folders", [("ir", "vi", "Annotations"), ("IR", "VIS", "annotation"), ("infrared", "visible", "")]
)
def test_other_spellings(tmp_path: Path, folders: tuple[str, str, str]) -> None:
    dataset = M3FD(write_m3fd(tmp_path, folders=folders))
    assert len(dataset) == 4
    assert dataset[0]["targets"]["labels"].tolist() == [0]


def test_subsets_are_never_confused(tmp_path: Path) -> None:
    write_m3fd(tmp_path / "M3FD_Fusion", count=2, folders=("Ir", "Vis", ""), yolo=False)
    write_m3fd(tmp_path / "M3FD_Detection", count=3)
    fusion, detection = M3FD(tmp_path, subset="fusion"), M3FD(tmp_path)
    assert (len(fusion), fusion[0]["dataset"], fusion.has_labels) == (2, "m3fd_fusion", False)
    assert (len(detection), detection[0]["dataset"], detection.has_labels) == (3, "m3fd", True)
    nested = M3FD(tmp_path / "M3FD_Fusion", subset="fusion")
    assert nested.records == fusion.records
    with pytest.raises(ValueError, match="detection, fusion"):
        M3FD(tmp_path, subset="tracking")  # type: ignore[arg-type]


def test_detection_and_fusion_below_one_folder(tmp_path: Path) -> None:
    write_m3fd(tmp_path / "M3FD" / "M3FD_Detection", count=3)
    write_m3fd(tmp_path / "M3FD" / "M3FD_Fusion", count=2)
    assert len(M3FD(tmp_path)) == 3
    assert len(M3FD(tmp_path / "M3FD", subset="fusion")) == 2
